package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Identity says whose state a directory holds.
type Identity struct {
	Migration  string `json:"migration"`
	Log        string `json:"log"` // what identifies the changes topic, such as its topic id
	Partitions int    `json:"partitions"`
	Format     int    `json:"format"`
}

// format is the layout of the directory.
const format = 1

// Config says where the state is and how much memory it may use.
type Config struct {
	Dir       string
	Identity  Identity // Format is filled in
	CacheSize int64    // bytes of block cache; 0: 64 MiB
	Logger    *slog.Logger
	// SyncEvery bounds what a crash of the machine makes the log replay; 0: 1 s.
	SyncEvery time.Duration
	FS        vfs.FS // nil: the disk
	// Passing says that the state is of one piece of work and not kept for long: it takes less memory.
	Passing bool
	// Ballast is the room that is kept for an end in order when the disk is full, in bytes. 0: DefaultBallast on the disk,
	// none on another FS.
	Ballast int64
}

// Validate reports what is wrong with the configuration.
func (c *Config) Validate() error {
	if c.Dir == "" {
		return errors.New("state: no directory")
	}
	if c.Identity.Migration == "" || c.Identity.Partitions <= 0 {
		return errors.New("state: incomplete identity")
	}
	return nil
}

// DB is the state of all partitions of a process.
type DB struct {
	db    *pebble.DB
	cache *pebble.Cache

	readOnly bool
	filters  *filters

	commits sync.WaitGroup // that partitions do not wait for

	ballast *ballast              // nil: none
	corrupt atomic.Pointer[error] // what Pebble found, by a read or by itself

	mu       sync.Mutex
	lastSync time.Time // guarded by mu
	every    time.Duration
}

// IdentityError says that a directory holds another migration's state.
type IdentityError struct {
	Dir        string
	Have, Want Identity
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("state directory %s belongs to %s; this is %s: point dataDir elsewhere, or remove the directory to rebuild it from the log",
		e.Dir, e.Have, e.Want)
}

// String names an identity in messages.
func (i Identity) String() string {
	return fmt.Sprintf("migration %q (log %s, %d partitions, format %d)", i.Migration, i.Log, i.Partitions, i.Format)
}

// ErrDamaged says that the directory's content cannot be trusted.
var ErrDamaged = errors.New("state is damaged")

// Open opens or creates the state.
func Open(cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Identity.Format = format
	if cfg.FS == nil {
		cfg.FS = vfs.Default
		if cfg.Ballast == 0 {
			cfg.Ballast = DefaultBallast
		}
	}
	if cfg.CacheSize == 0 {
		cfg.CacheSize = DefaultCacheSize
	}
	if cfg.SyncEvery == 0 {
		cfg.SyncEvery = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(cfg.FS, cfg.Dir); err != nil {
		return nil, fmt.Errorf("create state directory %s: %w", cfg.Dir, err)
	}
	if err := claim(cfg); err != nil {
		return nil, err
	}
	var room *ballast
	if cfg.Ballast > 0 {
		var err error
		if room, err = lay(cfg.FS, cfg.Dir, cfg.Ballast); err != nil {
			return nil, err
		}
		cfg.FS = room.guard(cfg.Logger)
	}
	cache := pebble.NewCache(cfg.CacheSize)
	o, filters := Options(cache), newFilters(filterBytes)
	if cfg.Passing {
		filters = newFilters(filterBytesPassing)
	}
	o.FS, o.Logger = cfg.FS, logger{cfg.Logger}
	d := &DB{cache: cache, filters: filters, every: cfg.SyncEvery, ballast: room}
	// As shipped, Pebble ends the process at what it cannot read, and at every start again.
	o.EventListener = &pebble.EventListener{DataCorruption: func(i pebble.DataCorruptionInfo) {
		d.corrupt.CompareAndSwap(nil, &i.Details)
	}}
	db, err := pebble.Open(filepath.Join(cfg.Dir, "pebble"), o)
	if err != nil {
		cache.Unref()
		if pebble.IsCorruptionError(err) {
			return nil, fmt.Errorf("open state in %s: %w: %w; remove the directory, and it is rebuilt from the log", cfg.Dir, ErrDamaged, err)
		}
		return nil, fmt.Errorf("open state in %s: %w; is another process using it?", cfg.Dir, err)
	}
	d.db = db
	return d, nil
}

// makeDir makes a directory that a crash of the machine does not take away.
func makeDir(on vfs.FS, dir string) error {
	if err := on.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(on, on.PathDir(dir))
}

func syncDir(on vfs.FS, dir string) error {
	if dir == "." && on != vfs.Default {
		dir = "" // the root of a file system in memory
	}
	d, err := on.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// DefaultCacheSize is what Config.CacheSize is where it is 0.
const DefaultCacheSize = 64 << 20

// Options are Pebble's for small records of which most are read once more, and
// those under way soon again.
func Options(cache *pebble.Cache) *pebble.Options {
	o := &pebble.Options{
		Cache:                       cache,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		L0StopWritesThreshold:       1000,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 16 << 10
		// Digests do not get smaller, and what keys have in common is written once as it is.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	return o
}

// claim writes the identity of a new directory and checks that of an old one.
func claim(cfg Config) error {
	path := filepath.Join(cfg.Dir, "identity.json")
	f, err := cfg.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeIdentity(cfg, path)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	var have Identity
	if err := json.NewDecoder(f).Decode(&have); err != nil {
		return fmt.Errorf("read %s: %w: %w; remove the directory, and it is rebuilt from the log", path, ErrDamaged, err)
	}
	if have != cfg.Identity {
		return &IdentityError{Dir: cfg.Dir, Have: have, Want: cfg.Identity}
	}
	return nil
}

func writeIdentity(cfg Config, path string) error {
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return fmt.Errorf("list state directory %s: %w", cfg.Dir, err)
	}
	for _, n := range names {
		if n == "pebble" {
			return fmt.Errorf("state directory %s has content and no identity.json: %w; remove the directory, and it is rebuilt from the log", cfg.Dir, ErrDamaged)
		}
	}
	b, err := json.Marshal(cfg.Identity)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := cfg.FS.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = cfg.FS.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(cfg.FS, cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Close makes everything durable and closes.
func (d *DB) Close() error {
	d.commits.Wait()
	var err error
	if !d.readOnly {
		err = d.db.LogData(nil, pebble.Sync)
	}
	err = errors.Join(err, d.db.Close())
	d.cache.Unref()
	if err != nil {
		return fmt.Errorf("close state: %w", err)
	}
	return nil
}

// DiskUsage returns the bytes on disk.
func (d *DB) DiskUsage() uint64 { return d.db.Metrics().DiskSpaceUsage() }

// syncDue says whether the next commit should be made durable.
func (d *DB) syncDue() *pebble.WriteOptions {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.lastSync) >= d.every {
		d.lastSync = now
		return pebble.Sync
	}
	return pebble.NoSync
}

// logger passes Pebble's words on. A fatal error of Pebble's commit path leaves
// memory and disk apart: only a restart mends that.
type logger struct{ l *slog.Logger }

// Infof drops what is of no use to an operator.
func (l logger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l logger) Errorf(format string, args ...any) {
	l.l.Error("state", "stage", "reconcile", "err", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger: it says what happened and ends the process.
func (l logger) Fatalf(format string, args ...any) {
	l.l.Error("state cannot be written; stopping so that nothing is half done", "stage", "reconcile", "err", fmt.Sprintf(format, args...))
	os.Exit(3)
}
