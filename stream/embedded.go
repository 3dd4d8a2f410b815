package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	// DefaultMinFree leaves room for what is in flight, and for everybody else on the
	// disk, when the log stops taking records.
	DefaultMinFree = 256 << 20

	addrFile = "broker.addr"
	logDir   = "log" // below the data directory: the broker's own files
)

// EmbeddedConfig says where the embedded broker keeps its files.
type EmbeddedConfig struct {
	Dir       string // the migration's data directory; created if missing
	Migration string
	Port      int   // on the loopback interface; 0: a free one
	MinFree   int64 // bytes; 0: DefaultMinFree
	Log       *slog.Logger
}

// Embedded is the embedded single-copy broker: franz-go's kfake with a data directory
// and synchronous writes, one broker, on the loopback interface. It speaks Kafka's
// protocol, so any Kafka client on this machine can read it; so can any user of this
// machine, since it asks nobody for a password.
//
// Files in the data directory: LOCK (held while it runs, with the holder's pid),
// identity.json (which migration, which format, which cluster id), broker.addr (the
// address, while it runs), and log/ (the broker's).
//
// # What it promises of durability
//
// A record is acknowledged after it was written and fsync'ed. kfake's own gaps are
// closed here as far as they can be from outside:
//
//   - It ignores what fsync returns. The kernel is asked every writtenPeriod, and at
//     Close, whether everything could be written (on Linux); if not the broker stops. What
//     was acknowledged within that period may be lost; closing that window needs a second
//     copy, which is what Kafka is for.
//   - It goes on after a failed write. Here the first one stops the broker, before its
//     answer reaches a client: Failed is closed, Err says why, and every producer of
//     this process fails with it.
//   - It runs into a full disk. Here it takes no more records while less than MinFree
//     is free, which blocks producers, and goes on when there is room again.
//   - When it starts it cuts off whatever it cannot read, wherever that is. Here the
//     files are looked through first: a torn tail that was never acknowledged is cut,
//     anything else is refused with ErrDataLoss.
//   - It aborts what was open when it was killed, but forgets that at the next kill. Here
//     the abort is written to the log before anybody can connect.
//   - Killed in the middle of a commit, it may repeat an output of a transaction, with
//     the same content. Readers drop repeats by id.
type Embedded struct {
	cfg     EmbeddedConfig
	lock    *lock
	id      identity
	cluster *kfake.Cluster
	network *network
	disk    *disk
	addr    string

	stopWatch chan struct{}
	watched   chan struct{}      // closed when watch has returned
	diskFull  *kfake.FaultHandle // used by watch only; set while records are refused

	mu     sync.Mutex
	err    error         // why it stopped by itself
	failed chan struct{} // closed when err is set
	closed bool
	tell   map[int]func(error) // who wants to know of err
	asked  int
}

// StartEmbedded starts the embedded broker, or refuses: ErrInUse while another process
// holds the directory, an error naming both migrations if it belongs to another one,
// ErrDataLoss if its files are damaged.
func StartEmbedded(cfg EmbeddedConfig) (*Embedded, error) {
	if err := validMigration(cfg.Migration); err != nil {
		return nil, err
	}
	if cfg.MinFree == 0 {
		cfg.MinFree = DefaultMinFree
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", cfg.Dir, err)
	}
	held, err := takeLock(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Embedded{
		cfg:       cfg,
		lock:      held,
		stopWatch: make(chan struct{}),
		watched:   make(chan struct{}),
		failed:    make(chan struct{}),
		tell:      make(map[int]func(error)),
	}
	if err := e.start(); err != nil {
		held.release()
		return nil, err
	}
	return e, nil
}

func (e *Embedded) start() error {
	dir := e.cfg.Dir
	var err error
	if e.id, err = openIdentity(dir, e.cfg.Migration); err != nil {
		return err
	}
	// A kill leaves the address of a broker that is gone.
	if err := os.Remove(filepath.Join(dir, addrFile)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	data := filepath.Join(dir, logDir)
	open, err := repair(data, e.cfg.Log)
	if err != nil {
		return err
	}
	if e.disk, err = openDisk(data, e.cfg.MinFree); err != nil {
		return err
	}
	e.network = newNetwork()
	e.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(e.cfg.Port),
		kfake.ListenFn(e.network.listen),
		kfake.ClusterID(e.id.Cluster),
		kfake.DataDir(data),
		kfake.SyncWrites(),
		kfake.WithLogger(&brokerLogger{to: e.cfg.Log, fail: e.fail}),
	)
	if err != nil {
		e.disk.close()
		return fmt.Errorf("start the embedded broker in %s on port %d: %w", dir, e.cfg.Port, err)
	}
	e.addr = e.cluster.ListenAddrs()[0]
	go e.watch()
	if err := e.Err(); err != nil { // damage that only the broker's own loading saw
		return e.abandon(err)
	}
	if err := e.abort(open); err != nil {
		return e.abandon(fmt.Errorf("start the embedded broker in %s: %w", dir, err))
	}
	e.network.letIn()
	if err := writeFileAtomically(filepath.Join(dir, addrFile), []byte(e.addr+"\n")); err != nil {
		return e.abandon(fmt.Errorf("data directory %s: %w", dir, err))
	}
	return nil
}

// abandon undoes a start that went as far as running the broker; the lock is the
// caller's.
func (e *Embedded) abandon(err error) error { return errors.Join(err, e.stop()) }

// Addr is the broker's address: host:port on the loopback interface.
func (e *Embedded) Addr() string { return e.addr }

// Cluster is the broker's cluster id, the same for the life of the data directory.
func (e *Embedded) Cluster() string { return e.id.Cluster }

// Failed is closed when the broker has stopped by itself; Err then says why.
func (e *Embedded) Failed() <-chan struct{} { return e.failed }

// Err is nil until Failed is closed.
func (e *Embedded) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// syncDir makes the names of files that were made while opening durable.
func (e *Embedded) syncDir() error {
	if err := syncDirectory(filepath.Join(e.cfg.Dir, logDir)); err != nil {
		return fmt.Errorf("data directory %s: %w", e.cfg.Dir, err)
	}
	return nil
}

// fail stops the broker's conversations, at once: the answer to the request that ran
// into the failure must not reach its client. It may be called by the broker itself.
func (e *Embedded) fail(err error) {
	e.mu.Lock()
	if e.err != nil || e.closed {
		e.mu.Unlock()
		return
	}
	e.err = fmt.Errorf("embedded broker in %s stopped: %w: nothing more is acknowledged; see to the disk and start again", e.cfg.Dir, err)
	err = e.err
	e.network.shut()
	close(e.failed)
	tell := e.tell
	e.tell = nil
	e.mu.Unlock()
	e.cfg.Log.Error("embedded broker stopped", "dir", e.cfg.Dir, "err", err)
	for _, fn := range tell {
		fn(err)
	}
}

// onFailure has fn called once when the broker stops by itself, or at once if it has.
// fn must not block. The function that is returned ends that.
func (e *Embedded) onFailure(fn func(error)) (forget func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		fn(e.err)
		return func() {}
	}
	e.asked++
	id := e.asked
	e.tell[id] = fn
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.tell, id)
	}
}

// Close stops the broker after everything it has is on the disk, and gives the
// directory free. It returns the first failure, of the disk's before its own.
func (e *Embedded) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	err := e.err
	e.mu.Unlock()
	if rm := os.Remove(filepath.Join(e.cfg.Dir, addrFile)); rm != nil && !os.IsNotExist(rm) && err == nil {
		err = fmt.Errorf("close the embedded broker: %w", rm)
	}
	if serr := e.stop(); err == nil && serr != nil {
		err = fmt.Errorf("close the embedded broker in %s: %w", e.cfg.Dir, serr)
	}
	e.lock.release()
	return err
}

// stop ends the broker and everything that was started beside it.
func (e *Embedded) stop() error {
	close(e.stopWatch)
	<-e.watched
	e.cluster.Close()
	e.network.shut()
	e.network.wait()
	err := e.disk.written()
	e.disk.close()
	return err
}
