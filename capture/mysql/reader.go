package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

const (
	// queueBytes is what may wait between the connection and the decoder: a few milliseconds of a full stream, so that
	// neither waits for the other's small pauses. As much again is being decoded.
	queueBytes = 2 << 20
	// heartbeatEvery makes an idle server speak; silenceMax is how long a connection may say nothing at all.
	heartbeatEvery = time.Second
	silenceMax     = 20 * time.Second
	// patience is for how many seconds the server waits for us to take what it sends. Its own minute would break a
	// stream whose sink is held up for longer, which would then read a large transaction from its beginning for ever.
	patience = "28800"
)

// reader is a replication connection: what it receives goes into its queue, as
// it is. The library only speaks the protocol; it decodes nothing and
// reconnects never.
type reader struct {
	queue  *queue
	syncer *replication.BinlogSyncer
	cancel context.CancelFunc // closes the connection
	link   *link              // the connection, once it is made
	ended  chan struct{}      // closed when the queue knows why the stream ended
}

// silent drops what the library logs: it also returns it.
var silent = slog.New(slog.DiscardHandler)

var errReaderClosed = errors.New("the reader is closed")

// HandleEvent implements replication.EventHandler, on the library's goroutine.
func (r *reader) HandleEvent(e *replication.BinlogEvent) error {
	if !r.queue.put(packet{raw: e.RawData, received: r.link.received}) {
		return errReaderClosed
	}
	return nil
}

// startReader asks the server for everything after set. The connection ends
// with ctx or close.
func (s *Source) startReader(ctx context.Context, set gtids) (*reader, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{queue: newQueue(queueBytes), cancel: cancel, ended: make(chan struct{})}
	cfg, err := s.syncerConfig(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	cfg.Dialer = r.dialer(ctx, s.cfg.silence, s.cfg.Clock)
	cfg.SynchronousEventHandler = r
	r.syncer = replication.NewBinlogSyncer(cfg)
	events, err := startSync(r.syncer, set)
	if err != nil {
		cancel()
		r.syncer.Close()
		return nil, fmt.Errorf("start replication: %w", err)
	}
	go func() {
		defer close(r.ended)
		_, err := events.GetEvent(context.Background()) // no event comes this way, only the end
		if err == nil {
			err = errors.New("an event by another way")
		}
		r.queue.end(fmt.Errorf("read replication stream: %w", err))
	}()
	return r, nil
}

func startSync(syncer *replication.BinlogSyncer, from gtids) (*replication.BinlogStreamer, error) {
	if !from.byPlace() {
		return syncer.StartSyncGTID(from.clone().set)
	}
	if from.at.offset > math.MaxUint32 {
		return nil, fmt.Errorf("the server can be asked for what comes after %s by GTIDs only: offsets have 32 bits; SET GLOBAL gtid_mode = ON, by the steps that MySQL's manual gives", from.at)
	}
	return syncer.StartSync(binlog.Position{Name: from.at.file, Pos: uint32(from.at.offset)})
}

// close ends the stream and waits until nothing of it runs. The connection is
// closed first, and the library when its goroutine is done with it: both write
// to what it keeps of the connection.
func (r *reader) close() {
	r.cancel()
	r.queue.close()
	<-r.ended
	r.syncer.Close()
}

// syncerConfig makes the library's configuration, but for who connects and who
// takes what comes.
func (s *Source) syncerConfig(ctx context.Context) (replication.BinlogSyncerConfig, error) {
	cfg := replication.BinlogSyncerConfig{
		ServerID: s.cfg.ServerID, Flavor: s.cfg.Driver, User: s.dsn.User, Password: s.dsn.Passwd,
		// Checksums are verified where events are decoded: an event that is damaged twice stops capture.
		RawModeEnabled: true, VerifyChecksum: false, HeartbeatPeriod: heartbeatEvery,
		DisableRetrySync: true, DiscardGTIDSet: true, Logger: silent,
		Option: func(c *client.Conn) error {
			_, err := c.Execute("SET SESSION net_write_timeout = " + patience)
			return err
		},
	}
	if cfg.ServerID == 0 {
		cfg.ServerID = 1000 + rand.Uint32N(1<<32-1000)
	}
	if s.cfg.Driver == MariaDB {
		cfg.DumpCommandFlag = replication.BINLOG_SEND_ANNOTATE_ROWS_EVENT
	}
	secure, err := s.secure(ctx)
	if err != nil {
		return cfg, err
	}
	if secure {
		cfg.TLSConfig = s.dsn.TLS.Clone()
	}
	cfg.Host = s.dsn.Addr
	if s.dsn.Net == "tcp" {
		host, port, err := net.SplitHostPort(s.dsn.Addr)
		if err != nil {
			return cfg, fmt.Errorf("address in the DSN: %w", err)
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return cfg, fmt.Errorf("port in the DSN: %w", err)
		}
		cfg.Host, cfg.Port = host, uint16(number)
	}
	return cfg, nil
}

// secure says whether replication uses TLS: where the DSN says so, and with
// tls=preferred where ordinary connections do.
func (s *Source) secure(ctx context.Context) (bool, error) {
	if s.dsn.TLS == nil || !s.dsn.AllowFallbackToPlaintext {
		return s.dsn.TLS != nil, nil
	}
	var name, cipher string
	if err := s.db.QueryRowContext(ctx, "show session status like 'ssl_cipher'").Scan(&name, &cipher); err != nil {
		return false, fmt.Errorf("ask whether the connection is encrypted: %w", err)
	}
	return cipher != "", nil
}
