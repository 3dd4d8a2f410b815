package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// DefaultPartitions suits one process on a few cores, and leaves room for more.
	DefaultPartitions = 8
	// DefaultRetention of the changes topic: an audit of last month is possible.
	DefaultRetention = 30 * 24 * time.Hour
	// MeasuredRetention of the measured topic: longer than the longest window of a gate.
	MeasuredRetention = 100 * 24 * time.Hour
	// DefaultMaxRecordBytes is the largest record of a topic that Open creates: a wide
	// row with both images, not a document store.
	DefaultMaxRecordBytes = 4 << 20

	// maxDecompressBytes bounds what one batch of records may grow to when it is read,
	// so that a hostile or broken batch cannot take the memory.
	maxDecompressBytes = 64 << 20
	// maxFetchBytes bounds one answer of a broker, and so what a reader holds of it.
	maxFetchBytes = 16 << 20
	// maxFetchPartitionBytes bounds one partition's part of it.
	maxFetchPartitionBytes = 4 << 20
	// minFetchPartitionBytes is what it is at least, however many partitions are read at a time.
	minFetchPartitionBytes = 64 << 10
	// maxWholeFetchBytes is above what the partitions of any answer come to, and below what the client reads at all.
	maxWholeFetchBytes = 96 << 20
	// groupFetchBytes and groupFetchPartitionBytes are the same for members of a group.
	// An answer is being read while another one is worked on and what it compared stays
	// at hand: about a batch of records each, decompressed.
	groupFetchBytes          = 4 << 20
	groupFetchPartitionBytes = 1 << 20
)

// Config says where a migration's log is. The zero value of a field other than
// Migration is workable if DataDir or Brokers is set.
type Config struct {
	Migration string
	// Rollouts says that the log is that of a registry of rollouts, which Migration names: one topic with one partition.
	Rollouts bool

	// Brokers are host:port addresses of Kafka brokers. Empty: the embedded broker
	// below DataDir.
	Brokers []string
	// DataDir holds the embedded broker's files. Used only without Brokers.
	DataDir string
	// Port is the embedded broker's port on the loopback interface; 0: a free one.
	Port int
	// MinFree is the free space, in bytes, below which the embedded broker takes no
	// more records; 0: DefaultMinFree.
	MinFree int64

	// Changelog says that the migration has a changelog of the comparator's state, one
	// partition for each of the changes topic.
	Changelog bool

	// Only names the migration's topics that Connect needs, such as those of events, for who has no right to the
	// others; empty: all of them.
	Only []string

	// ValuePrefix is put before the values that are written to a topic, by its name: what a Schema Registry's wire format
	// wants there. It counts as part of the value, and readers see it.
	ValuePrefix map[string][]byte

	// Partitions of each topic. 0: DefaultPartitions when topics are created, whatever
	// is there when they exist.
	Partitions int
	// Retention of the changes topic; 0: DefaultRetention; negative: for ever. The
	// measured topic has MeasuredRetention; the others are small and kept for ever.
	Retention time.Duration
	// RetentionBytes of each partition of the changes topic; 0: no limit.
	RetentionBytes int64
	// MaxRecordBytes of a topic that is created; 0: DefaultMaxRecordBytes. On topics
	// that exist, their own max.message.bytes counts.
	MaxRecordBytes int

	// ClientID is what brokers log; empty: "trueup".
	ClientID string
	TLS      TLS
	SASL     SASL

	Log *slog.Logger // nil: nothing is logged
}

// Validate returns everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	if err := validMigration(c.Migration); err != nil {
		errs = append(errs, err)
	}
	if len(c.Brokers) == 0 && c.DataDir == "" {
		errs = append(errs, errors.New("neither brokers nor a data directory is set: name the brokers, or a directory for the embedded broker"))
	}
	for _, topic := range c.Only {
		if !slices.Contains(c.topics().All(), topic) {
			errs = append(errs, fmt.Errorf("topic %q is none of migration %q", topic, c.Migration))
		}
	}
	if c.Partitions < 0 || c.Partitions > 10_000 {
		errs = append(errs, fmt.Errorf("%d partitions: use 1 to 10000", c.Partitions))
	}
	if c.Port < 0 || c.Port > 65_535 {
		errs = append(errs, fmt.Errorf("port %d: use 0 to 65535", c.Port))
	}
	if c.MaxRecordBytes < 0 || c.MaxRecordBytes > 64<<20 {
		errs = append(errs, fmt.Errorf("max record bytes %d: use up to %d", c.MaxRecordBytes, 64<<20))
	}
	if c.MinFree < 0 {
		errs = append(errs, fmt.Errorf("free space to keep %d is negative", c.MinFree))
	}
	if len(c.Brokers) == 0 && (c.TLS.Enabled || c.SASL.Mechanism != "") {
		errs = append(errs, errors.New("TLS and SASL need brokers: the embedded broker listens on the loopback interface only, without them"))
	}
	if err := c.SASL.validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Config) topics() Topics {
	if c.Rollouts {
		return RolloutTopicsOf(c.Migration)
	}
	t := TopicsOf(c.Migration)
	if c.Changelog {
		t.Changelog = ChangelogOf(c.Migration)
	}
	return t
}

func (c *Config) setDefaults() {
	if c.Rollouts {
		c.Partitions = 1 // what stands is decided by the order of the events, of which there is one
	}
	if c.Retention == 0 {
		c.Retention = DefaultRetention
	}
	if c.MaxRecordBytes == 0 {
		c.MaxRecordBytes = DefaultMaxRecordBytes
	}
	if c.MinFree == 0 {
		c.MinFree = DefaultMinFree
	}
	if c.ClientID == "" {
		c.ClientID = "trueup"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// clientOptions are what every client of the log has in common.
func (c *Config) clientOptions(brokers []string) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.ClientID(c.ClientID),
		kgo.SoftwareNameAndVersion("trueup", "1"),
		kgo.WithLogger(clientLogger{c.Log}),
		kgo.DisableClientMetrics(), // nothing of the migration goes to a broker unasked
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(250 * time.Millisecond), // how soon a moved leader is found
		kgo.MaxDecompressBatchBytes(maxDecompressBytes),
		kgo.FetchMaxBytes(maxFetchBytes),
		kgo.FetchMaxPartitionBytes(maxFetchPartitionBytes),
		// A partition that is added has to wait for the fetch that is under way.
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// A batch that may have been replaced behind the producer's back is an error, not
		// a reason to go on with a new sequence.
		kgo.StopProducerOnDataLossDetected(),
		// An EOF on a fresh connection is a broker that restarts, here.
		kgo.AlwaysRetryEOF(),
	}
	if c.TLS.Enabled {
		t, err := c.TLS.config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if c.SASL.Mechanism != "" {
		opts = append(opts, kgo.SASL(c.SASL.mechanism()))
	}
	return opts, nil
}

// clientLogger hands the client's own log lines on. What the client calls an error
// it mostly retries, so it is a warning to us; the rest is for debugging.
type clientLogger struct{ to *slog.Logger }

// Level asks for no more than the logger wants.
func (l clientLogger) Level() kgo.LogLevel {
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	if l.to.Enabled(context.Background(), slog.LevelWarn) {
		return kgo.LogLevelError
	}
	return kgo.LogLevelNone
}

// Log passes one line on.
func (l clientLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	if level == kgo.LogLevelError {
		to = slog.LevelWarn
	}
	l.to.LogAttrs(context.Background(), to, "kafka client", slog.String("said", msg), slog.Group("of", keyvals...))
}
