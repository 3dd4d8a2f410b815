package replay

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/state"
)

const (
	// maxInMemory is how many bytes the shelves hold before they are moved to disk.
	maxInMemory = 32 << 20
	// entryRoom is what an entry takes besides its key and value.
	entryRoom = 64
	// maxPartitions is one less than the disk has numbers for: the first is of what was found.
	maxPartitions = 1<<16 - 2
	blockCache    = 16 << 20
)

// afterAll is behind every key: none begins with it.
var afterAll = []byte{0xff, 0xff}

// kept is what a replay knows: in memory while it is little, else in Pebble, in a
// directory that lasts as long as the replay.
type kept struct {
	migration string
	limit     int // of bytes in memory; tests make it small
	shelves   []*shelf
	dir       string
	db        *state.DB // nil: everything is in memory
}

// shelf is one part of it, as a reconcile.State.
type shelf struct {
	reconcile.State
	memory *reconcile.MemoryState // nil: it has been moved
	disk   *state.Partition
	bytes  int // in memory
}

func newKept(migration string) *kept { return &kept{migration: migration, limit: maxInMemory} }

// shelf makes another one.
func (k *kept) shelf() *shelf {
	s := &shelf{}
	if k.db != nil {
		s.disk = k.db.Partition(int32(len(k.shelves)))
		s.State = s.disk
	} else {
		s.memory = reconcile.NewMemoryState()
		s.State = s.memory
	}
	k.shelves = append(k.shelves, s)
	return s
}

// Set implements reconcile.State.
func (s *shelf) Set(key, value []byte) error {
	if s.memory != nil {
		was, ok, err := s.memory.Get(key)
		if err != nil {
			return err
		}
		if s.bytes += len(value) - len(was); !ok {
			s.bytes += len(key) + entryRoom
		}
	}
	return s.State.Set(key, value)
}

// discard forgets what was written since the last flush, where it is known.
func (s *shelf) discard() {
	if s.disk != nil {
		s.disk.Discard()
	}
}

// flush moves everything to disk if there is much of it, or writes what has
// changed there.
func (k *kept) flush() error {
	if k.db == nil {
		size := 0
		for _, s := range k.shelves {
			size += s.bytes
		}
		if size <= k.limit {
			return nil
		}
		return k.move()
	}
	for _, s := range k.shelves {
		if err := s.disk.Commit(); err != nil {
			return err
		}
	}
	return nil
}

func (k *kept) move() (err error) {
	if k.dir, err = os.MkdirTemp("", "trueup-audit-*"); err != nil {
		return fmt.Errorf("make a directory for what the replay knows: %w", err)
	}
	// Nothing of it is of use after a crash.
	k.db, err = state.Open(state.Config{Dir: k.dir, CacheSize: blockCache, Passing: true, SyncEvery: 24 * time.Hour,
		Identity: state.Identity{Migration: k.migration, Log: "replay", Partitions: maxPartitions}})
	if err != nil {
		return err
	}
	for i, s := range k.shelves {
		s.disk = k.db.Partition(int32(i))
		if err := s.memory.Scan(nil, afterAll, s.disk.Set); err != nil {
			return err
		}
		if err := s.disk.Commit(); err != nil {
			return err
		}
		s.memory, s.State, s.bytes = nil, s.disk, 0
	}
	return nil
}

func (k *kept) close() error {
	var err error
	if k.db != nil {
		err = k.db.Close()
	}
	if k.dir != "" {
		err = errors.Join(err, os.RemoveAll(k.dir))
	}
	return err
}
