// Package followtest has a registry's log in memory, with dials: it can be cut and healed,
// and hold back what was written.
//
// It promises what a follow.Source promises while it is not cut. It assumes one test.
package followtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/registry"
)

// ErrCut is what a log that is cut off says.
var ErrCut = errors.New("cut off")

// Log is a registry's topic. Its methods are for any number of goroutines.
type Log struct {
	mu      sync.Mutex
	records [][]byte
	state   *registry.State // of what was read of records
	cut     bool
	held    bool
	changed chan struct{} // closed when something above changes
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{state: registry.NewState(), changed: make(chan struct{})} }

// State is what stands.
func (l *Log) State() *registry.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	for int(l.state.Next) < len(l.records) {
		l.state.Apply(l.state.Next, l.records[l.state.Next])
	}
	return l.state.Clone()
}

func (l *Log) set(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
	close(l.changed)
	l.changed = make(chan struct{})
}

// Append writes a record as it is.
func (l *Log) Append(value []byte) { l.set(func() { l.records = append(l.records, value) }) }

// Write writes an event of these changes.
func (l *Log) Write(changes ...registry.Change) error {
	e := registry.Event{Version: registry.Version, ID: fmt.Sprint(time.Now().UnixNano()), At: time.Now().UTC(), Who: "ann", Why: "it is time", Changes: changes}
	value, err := e.Encode()
	if err == nil {
		l.Append(value)
	}
	return err
}

// Cut has everybody who reads fail; Heal ends that.
func (l *Log) Cut() { l.set(func() { l.cut = true }) }

// Heal ends what Cut and Hold began.
func (l *Log) Heal() { l.set(func() { l.cut, l.held = false, false }) }

// Hold has the stream deliver nothing more, while the log says where it ends: a reader
// that is late.
func (l *Log) Hold() { l.set(func() { l.held = true }) }

// End is a follow.Source's.
func (l *Log) End(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return 0, ErrCut
	}
	return int64(len(l.records)), nil
}

// Tail is a follow.Source's.
func (l *Log) Tail(ctx context.Context, from int64, fn func(offset int64, value []byte) error) error {
	for {
		l.mu.Lock()
		cut, changed := l.cut, l.changed
		var next [][]byte
		if !l.held {
			next = l.records[from:]
		}
		l.mu.Unlock()
		if cut {
			return ErrCut
		}
		for _, value := range next {
			if err := fn(from, value); err != nil {
				return err
			}
			from++
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Until waits for what has to become true: for minutes, because it is no test of how
// fast a machine is.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-limit.C:
			t.Fatalf("it never came to this: %s", what)
		}
	}
}
