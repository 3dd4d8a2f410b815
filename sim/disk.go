package sim

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/state"
)

// disk is where a comparator's state outlives its crashes.
type disk interface {
	// open returns the state as it was committed last, or a little earlier.
	open(partition int) (reconcile.State, error)
	// commit makes what was written durable.
	commit() error
	// crash ends the use of the state; lose says how many of the newest commits may be gone.
	crash(lose int) error
	close() error
}

// keptCommits is how many commits a crash of the machine may lose.
const keptCommits = 3

// snapshots is a disk in memory, with its newest commits beside each other.
type snapshots struct {
	live    *memory
	commits []memory // oldest first
}

// memory is a reconcile.State that can be copied.
type memory map[string][]byte

// Get implements reconcile.State.
func (m memory) Get(key []byte) ([]byte, bool, error) {
	v, ok := m[string(key)]
	return v, ok, nil
}

// Set implements reconcile.State.
func (m memory) Set(key, value []byte) error {
	m[string(key)] = bytes.Clone(value)
	return nil
}

// Delete implements reconcile.State.
func (m memory) Delete(key []byte) error {
	delete(m, string(key))
	return nil
}

// Scan implements reconcile.State.
func (m memory) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k < string(lower) || k >= string(upper) {
			continue
		}
		if err := fn([]byte(k), m[k]); err != nil {
			return err
		}
	}
	return nil
}

func newSnapshots() *snapshots { return &snapshots{commits: []memory{{}}} }

func (s *snapshots) open(int) (reconcile.State, error) {
	live := maps.Clone(s.commits[len(s.commits)-1])
	s.live = &live
	return live, nil
}

func (s *snapshots) commit() error {
	s.commits = append(s.commits, maps.Clone(*s.live))
	if len(s.commits) > keptCommits {
		s.commits = s.commits[1:]
	}
	return nil
}

func (s *snapshots) crash(lose int) error {
	s.commits = s.commits[:max(1, len(s.commits)-lose)]
	return nil
}

func (s *snapshots) close() error { return nil }

// lsm is Pebble on a file system that forgets what was not synced.
type lsm struct {
	fs   *vfs.MemFS
	db   *state.DB
	part *state.Partition

	tracks bool // which keys have a value
}

func newLSM(tracks bool) *lsm { return &lsm{fs: vfs.NewCrashableMem(), tracks: tracks} }

func (l *lsm) open(partition int) (reconcile.State, error) {
	db, err := state.Open(state.Config{Dir: "state", FS: l.fs, CacheSize: 1 << 20, SyncEvery: 1, // each commit, so that a run does not depend on the time
		Identity: state.Identity{Migration: "sim", Log: "sim", Partitions: partition + 1}})
	if err != nil {
		return nil, fmt.Errorf("open the comparator's state: %w", err)
	}
	l.db, l.part = db, db.Partition(int32(partition))
	if l.tracks {
		if err := l.part.Track(); err != nil {
			return nil, fmt.Errorf("track the comparator's keys: %w", err)
		}
	}
	return l.part, nil
}

func (l *lsm) commit() error { return l.part.Commit() }

func (l *lsm) crash(int) error {
	after := l.fs.CrashClone(vfs.CrashCloneCfg{})
	err := l.db.Close()
	l.fs, l.db = after, nil
	return err
}

func (l *lsm) close() error {
	if l.db == nil {
		return errors.New("the state was closed before")
	}
	return l.db.Close()
}
