package stream

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Log is the topics of one migration, on whatever carries them. It is safe for use
// by several goroutines. What was made from it (producers, writers, groups) is to be
// closed before it.
type Log struct {
	cfg      Config
	names    Topics
	brokers  []string
	embedded *Embedded // nil where another process, or Kafka, carries the log
	where    string

	client *kgo.Client
	admin  *kadm.Client

	// Set while opening, then only read.
	cluster string
	topics  map[string]TopicInfo

	mu      sync.Mutex
	leaders map[string][]int32
}

// Open opens the log of a migration and creates the topics that are missing. Without
// brokers it starts the embedded broker in this process; that fails with ErrInUse
// while another process runs it (see Connect). Close stops it.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("log configuration: %w", err)
	}
	cfg.setDefaults()
	if len(cfg.Brokers) > 0 {
		return dial(ctx, cfg, target{where: "kafka " + strings.Join(cfg.Brokers, ","), brokers: cfg.Brokers, create: true})
	}
	embedded, err := StartEmbedded(EmbeddedConfig{Dir: cfg.DataDir, Migration: cfg.Migration, Port: cfg.Port, MinFree: cfg.MinFree, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	l, err := dial(ctx, cfg, target{
		where:    describeEmbedded(embedded.Addr(), cfg.DataDir),
		brokers:  []string{embedded.Addr()},
		embedded: embedded,
		cluster:  embedded.Cluster(),
		create:   true,
	})
	if err != nil {
		return nil, errors.Join(err, embedded.Close())
	}
	if err := embedded.syncDir(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Connect opens the log of a migration that runs: it creates nothing. Without brokers
// it uses the embedded broker that another process runs in the data directory, and
// fails with ErrNotRunning if none does.
func Connect(ctx context.Context, cfg Config) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("log configuration: %w", err)
	}
	cfg.setDefaults()
	if len(cfg.Brokers) > 0 {
		return dial(ctx, cfg, target{where: "kafka " + strings.Join(cfg.Brokers, ","), brokers: cfg.Brokers})
	}
	addr, cluster, err := findEmbedded(cfg.DataDir, cfg.Migration)
	if err != nil {
		return nil, err
	}
	return dial(ctx, cfg, target{where: describeEmbedded(addr, cfg.DataDir), brokers: []string{addr}, cluster: cluster})
}

func describeEmbedded(addr, dir string) string {
	return fmt.Sprintf("embedded, single copy (%s, %s)", addr, filepath.Clean(dir))
}

// target is what dial is to reach.
type target struct {
	where    string
	brokers  []string
	embedded *Embedded
	cluster  string // the id that it must have; empty: any
	create   bool   // make topics that are missing
}

func dial(ctx context.Context, cfg Config, to target) (*Log, error) {
	l := &Log{
		cfg:      cfg,
		names:    cfg.topics(),
		brokers:  to.brokers,
		embedded: to.embedded,
		where:    to.where,
		topics:   make(map[string]TopicInfo),
		leaders:  make(map[string][]int32),
	}
	opts, err := cfg.clientOptions(to.brokers)
	if err != nil {
		return nil, fmt.Errorf("log configuration: %w", err)
	}
	l.client, err = kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("log configuration: %w", err)
	}
	l.admin = kadm.NewClient(l.client)
	if err := l.prepare(ctx, to); err != nil {
		l.client.Close()
		return nil, err
	}
	return l, nil
}

func (l *Log) prepare(ctx context.Context, to target) error {
	if err := l.client.Ping(ctx); err != nil {
		return fmt.Errorf("reach %s: %w: see that the brokers run, that the address is right, and that TLS and SASL are as they want them", l.where, err)
	}
	m, err := fetchMetadata(ctx, l.client)
	if err != nil {
		return fmt.Errorf("ask %s who it is: %w", l.where, err)
	}
	l.cluster = m.cluster
	if to.cluster != "" && m.cluster != to.cluster {
		return fmt.Errorf("%s: %w: something else answers there, with cluster id %q", l.where, ErrNotRunning, m.cluster)
	}
	return l.ensureTopics(ctx, m.brokers, to.create)
}

// Describe says where the log is, for people: "embedded, single copy
// (127.0.0.1:40123, data)" or "kafka host:9092".
func (l *Log) Describe() string { return l.where }

// Brokers returns the addresses at which the log can be reached.
func (l *Log) Brokers() []string { return append([]string(nil), l.brokers...) }

// Topics returns the names of the migration's topics.
func (l *Log) Topics() Topics { return l.names }

// Topic returns what a topic was when the log was opened, and whether it is one of
// the migration's.
func (l *Log) Topic(name string) (TopicInfo, bool) {
	info, ok := l.topics[name]
	return info, ok
}

// Partitions returns the number of partitions of the changes topic.
func (l *Log) Partitions() int { return l.topics[l.names.Changes].Partitions }

// Cluster returns the id of what carries the log. State that was built from the log
// of one cluster must not be used with another's.
func (l *Log) Cluster() string { return l.cluster }

// Failed is closed when the embedded broker of this process has stopped because its
// disk failed; Err then says why. It is never closed otherwise.
func (l *Log) Failed() <-chan struct{} {
	if l.embedded == nil {
		return nil
	}
	return l.embedded.Failed()
}

// Err is nil until Failed is closed.
func (l *Log) Err() error {
	if l.embedded == nil {
		return nil
	}
	return l.embedded.Err()
}

// onFailure has fn called when the embedded broker of this process stops by itself.
func (l *Log) onFailure(fn func(error)) (forget func()) {
	if l.embedded == nil {
		return func() {}
	}
	return l.embedded.onFailure(fn)
}

// Close closes the log, and stops the embedded broker if this process runs it.
func (l *Log) Close() error {
	l.client.Close()
	if l.embedded == nil {
		return nil
	}
	return l.embedded.Close()
}
