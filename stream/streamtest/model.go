package streamtest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"

	"github.com/trueup-io/trueup/stream"
)

// State is what a handler keeps of a partition: where it is, and a digest of all
// values from the first record on, which is the same only if each was applied once, in
// order.
type State struct {
	Next   stream.Position
	Digest uint64
}

// apply is the handler's pure function.
func (s State) apply(r *stream.Record) State {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s", s.Digest, r.Value)
	return State{Next: stream.Position{Offset: r.Offset + 1, Epoch: r.LeaderEpoch}, Digest: h.Sum64()}
}

// Store is the durable state of one process: what survives when it is killed.
type Store struct {
	mu    sync.Mutex
	parts map[int32]State
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{parts: make(map[int32]State)} }

// Get returns a partition's state, and whether there is one.
func (s *Store) Get(p int32) (State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.parts[p]
	return st, ok
}

// Set replaces a partition's state.
func (s *Store) Set(p int32, st State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[p] = st
}

// All returns a copy of the state of every partition that has one.
func (s *Store) All() map[int32]State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.parts)
}

// Model is a handler whose answers can be checked: its state is a digest, and its
// outputs are one record per input, with the input's place as key. Its fields are set
// before it runs.
type Model struct {
	Store  *Store
	Output string // topic
	// Crash, if set, is asked in Committed before the state is stored; an error is a
	// process that is killed there.
	Crash func(*stream.Batch) error
	// Saved, if set, is called when the state was stored: to put it on a disk.
	Saved func(*Store) error
	// Work, if set, is called in Process before anything else.
	Work func(context.Context, *stream.Batch) error
	// Refuse, if set, is asked in Assigned; an error is a state that cannot be used.
	Refuse func(partition int32) error
	// OnStopped decides what Stopped answers; nil: the error.
	OnStopped func(partition int32, err error) error

	mu       sync.Mutex
	busy     bool // a call is being made: the group makes one at a time
	pending  map[int32]State
	owned    map[int32]bool
	replayed int
	aborted  int
	changed  chan struct{} // closed and replaced when something happens
}

// NewModel returns a model over a store.
func NewModel(store *Store, output string) *Model {
	return &Model{Store: store, Output: output, owned: make(map[int32]bool), changed: make(chan struct{})}
}

func (m *Model) enter() func() {
	m.mu.Lock()
	if m.busy {
		panic("two calls of a handler at once")
	}
	m.busy = true
	m.mu.Unlock()
	return func() {
		m.mu.Lock()
		m.busy = false
		close(m.changed)
		m.changed = make(chan struct{})
		m.mu.Unlock()
	}
}

// Assigned implements stream.Handler.
func (m *Model) Assigned(_ context.Context, p int32, _ stream.Position) (stream.Position, error) {
	defer m.enter()()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owned[p] = true
	if m.Refuse != nil {
		if err := m.Refuse(p); err != nil {
			return stream.NoPosition, err
		}
	}
	if st, ok := m.Store.Get(p); ok {
		return st.Next, nil
	}
	return stream.Earliest, nil
}

// Process implements stream.Handler.
func (m *Model) Process(ctx context.Context, b *stream.Batch) error {
	defer m.enter()()
	if m.Work != nil {
		if err := m.Work(ctx, b); err != nil {
			return err
		}
	}
	pending := make(map[int32]State)
	for _, part := range b.Parts {
		if !m.owns(part.Partition) {
			return fmt.Errorf("partition %d is not owned", part.Partition)
		}
		st, _ := m.Store.Get(part.Partition)
		for i := range part.Records {
			r := &part.Records[i]
			if st.Next.Offset > r.Offset {
				return fmt.Errorf("partition %d: offset %d came again, the state is at %d", part.Partition, r.Offset, st.Next.Offset)
			}
			st = st.apply(r)
			part.Emit(stream.Record{Topic: m.Output, Partition: part.Partition, Key: fmt.Appendf(nil, "%d/%d", part.Partition, r.Offset), Value: r.Value})
		}
		if st.Next != part.Next {
			return fmt.Errorf("partition %d: the last record leads to %v, and Next is %v", part.Partition, st.Next, part.Next)
		}
		pending[part.Partition] = st
		if part.Replay {
			m.mu.Lock()
			m.replayed += len(part.Records)
			m.mu.Unlock()
		}
	}
	m.pending = pending
	return nil
}

// Committed implements stream.Handler.
func (m *Model) Committed(_ context.Context, b *stream.Batch) error {
	defer m.enter()()
	if m.Crash != nil {
		if err := m.Crash(b); err != nil {
			return err
		}
	}
	for p, st := range m.pending {
		m.Store.Set(p, st)
	}
	m.pending = nil
	if m.Saved != nil {
		return m.Saved(m.Store)
	}
	return nil
}

// Aborted implements stream.Handler.
func (m *Model) Aborted(context.Context, *stream.Batch) {
	defer m.enter()()
	m.pending = nil
	m.mu.Lock()
	m.aborted++
	m.mu.Unlock()
}

// Revoked implements stream.Handler.
func (m *Model) Revoked(_ context.Context, p int32) error {
	defer m.enter()()
	return m.gone(p)
}

// Lost implements stream.Handler.
func (m *Model) Lost(_ context.Context, p int32) {
	defer m.enter()()
	if err := m.gone(p); err != nil {
		panic(err)
	}
}

func (m *Model) gone(p int32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.owned[p] {
		return fmt.Errorf("partition %d was taken and is not owned", p)
	}
	delete(m.owned, p)
	return nil
}

// Stopped implements stream.Handler.
func (m *Model) Stopped(_ context.Context, p int32, err error) error {
	defer m.enter()()
	if m.OnStopped != nil {
		return m.OnStopped(p, err)
	}
	return err
}

func (m *Model) owns(p int32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owned[p]
}

// Owned returns the partitions that are assigned, in order.
func (m *Model) Owned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.owned))
}

// Counts returns the records that were replayed and the batches that were aborted.
func (m *Model) Counts() (replayed, aborted int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.replayed, m.aborted
}

// Wait returns when cond is true after a call of the handler, or when ctx ends.
func (m *Model) Wait(ctx context.Context, cond func() bool) error {
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(errors.New("what was waited for did not happen"), ctx.Err())
		}
	}
}
