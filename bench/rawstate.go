package main

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/schemas"
)

// batch is what the consumer group delivers at most.
const batch = 20_000

// stateTrace is what a core reads from its state and writes to it: operations in
// their order, as one of the bytes below, the key's length and the key; of a write,
// the value's length too.
type stateTrace struct {
	*reconcile.MemoryState
	shape   historyShape
	ops     []byte
	pending map[string]int // by key, the length of what is written; -1: deleted
	events  int
}

const (
	opGet    = 'g'
	opSet    = 's'
	opDelete = 'd'
	opCommit = 'c'
)

// traceState compares a history in memory, and notes what that asks of its state.
func traceState(shape historyShape) (*stateTrace, error) {
	t := &stateTrace{shape: shape, MemoryState: reconcile.NewMemoryState(), pending: map[string]int{}}
	h, err := newHistory(shape, nil)
	if err != nil {
		return nil, err
	}
	core, err := reconcile.NewCore(reconcile.Config{Rules: h.rules}, t)
	if err != nil {
		return nil, err
	}
	var out reconcile.Effects
	h.emit = func(r *schemas.Record) error {
		err := core.Step(int64(t.events), r, &out)
		if t.events++; err == nil && t.events%batch == 0 {
			err = core.Flush()
			t.commit()
		}
		return err
	}
	err = errors.Join(h.all(), core.Flush())
	t.commit()
	t.MemoryState = nil
	return t, err
}

func (t *stateTrace) note(op byte, key []byte) {
	t.ops = binary.AppendUvarint(append(t.ops, op), uint64(len(key)))
	t.ops = append(t.ops, key...)
}

// Get implements reconcile.State.
func (t *stateTrace) Get(key []byte) ([]byte, bool, error) {
	if _, pending := t.pending[string(key)]; !pending {
		t.note(opGet, key)
	}
	return t.MemoryState.Get(key)
}

// Set implements reconcile.State.
func (t *stateTrace) Set(key, value []byte) error {
	t.pending[string(key)] = len(value)
	return t.MemoryState.Set(key, value)
}

// Delete implements reconcile.State.
func (t *stateTrace) Delete(key []byte) error {
	t.pending[string(key)] = -1
	return t.MemoryState.Delete(key)
}

func (t *stateTrace) commit() {
	for key, size := range t.pending {
		if size < 0 {
			t.note(opDelete, []byte(key))
			continue
		}
		t.note(opSet, []byte(key))
		t.ops = binary.AppendUvarint(t.ops, uint64(size))
	}
	clear(t.pending)
	t.ops = append(t.ops, opCommit)
}

// raw has Pebble do it again, with the options of the state.
func (t *stateTrace) raw(s *session) (_ sample, err error) {
	dir, err := s.directory("raw")
	if err != nil {
		return sample{}, err
	}
	cache := pebble.NewCache(state.DefaultCacheSize)
	defer cache.Unref()
	o := state.Options(cache)
	o.Logger = quiet{}
	db, err := pebble.Open(filepath.Join(dir, "pebble"), o)
	if err != nil {
		return sample{}, err
	}
	value := make([]byte, 4<<20)
	for i := range value { // as little to compress as digests are
		value[i] = byte(rand.Uint32())
	}
	began, cpu := time.Now(), cpuTime()
	err = t.replay(db, value)
	result := sample{Units: t.events, Elapsed: time.Since(began), CPU: cpuTime() - cpu}
	return result, errors.Join(err, db.Close(), os.RemoveAll(dir))
}

// quiet is a Pebble logger that says only what is fatal.
type quiet struct{}

// Infof implements pebble.Logger.
func (quiet) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (quiet) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger.
func (quiet) Fatalf(format string, args ...any) { pebble.DefaultLogger.Fatalf(format, args...) }

func (t *stateTrace) replay(db *pebble.DB, values []byte) error {
	b := db.NewBatch()
	at := 0
	for ops := t.ops; len(ops) > 0; {
		op := ops[0]
		if ops = ops[1:]; op == opCommit {
			if err := b.Commit(pebble.NoSync); err != nil {
				return err
			}
			b = db.NewBatch()
			continue
		}
		size, w := binary.Uvarint(ops)
		key := ops[w : w+int(size)]
		ops = ops[w+int(size):]
		switch op {
		case opGet:
			_, closer, err := db.Get(key)
			if err == nil {
				err = closer.Close()
			}
			if err != nil && !errors.Is(err, pebble.ErrNotFound) {
				return err
			}
		case opDelete:
			if err := b.Delete(key, nil); err != nil {
				return err
			}
		case opSet:
			size, w := binary.Uvarint(ops)
			ops = ops[w:]
			if at+int(size) > len(values) {
				at = 0
			}
			if err := b.Set(key, values[at:min(at+int(size), len(values))], nil); err != nil {
				return err
			}
			at += int(size)
		}
	}
	return b.Close()
}
