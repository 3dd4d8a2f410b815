package followtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/trueup-io/trueup/rollout/registry"
)

// Link is one process's connection to a log, with dials of its own: it is cut off, frozen as
// a process is that was stopped, or loses answers. It is a follow.Source and writes events, as
// *registry.Store does.
type Link struct {
	log *Log

	mu      sync.Mutex
	cut     bool
	frozen  bool
	lose    bool          // what is written arrives, and no answer comes
	changed chan struct{} // closed when something above changes
}

// Link returns a connection that is sound.
func (l *Log) Link() *Link { return &Link{log: l, changed: make(chan struct{})} }

// Set changes the dials.
func (k *Link) Set(cut, frozen, lose bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut, k.frozen, k.lose = cut, frozen, lose
	close(k.changed)
	k.changed = make(chan struct{})
}

// Thawed returns once the link is not frozen, and what ends that: the next change of a dial.
func (k *Link) Thawed(ctx context.Context) (changed <-chan struct{}, err error) {
	for {
		k.mu.Lock()
		frozen, cut, changed := k.frozen, k.cut, k.changed
		k.mu.Unlock()
		switch {
		case frozen:
		case cut:
			return changed, ErrCut
		default:
			return changed, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// End is a follow.Source's.
func (k *Link) End(ctx context.Context) (int64, error) {
	if _, err := k.Thawed(ctx); err != nil {
		return 0, err
	}
	return k.log.End(ctx)
}

// Tail is a follow.Source's.
func (k *Link) Tail(ctx context.Context, from int64, fn func(offset int64, value []byte) error) error {
	for {
		changed, err := k.Thawed(ctx)
		if err != nil {
			return err
		}
		k.log.mu.Lock()
		next, more := k.log.records[from:], k.log.changed
		k.log.mu.Unlock()
		if len(next) > 0 {
			if err := fn(from, next[0]); err != nil {
				return err
			}
			from++
			continue // a dial may have changed meanwhile
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-more:
		}
	}
}

// Load is a *registry.Store's.
func (k *Link) Load(ctx context.Context) (*registry.State, error) {
	if _, err := k.Thawed(ctx); err != nil {
		return nil, err
	}
	return k.log.State(), nil
}

// Each is a *registry.Store's.
func (k *Link) Each(ctx context.Context, fn func(value []byte, o registry.Outcome) error) error {
	if _, err := k.Thawed(ctx); err != nil {
		return err
	}
	k.log.mu.Lock()
	records := k.log.records
	k.log.mu.Unlock()
	state := registry.NewState()
	for i, value := range records {
		if err := fn(value, state.Apply(int64(i), value)); err != nil {
			return err
		}
	}
	return nil
}

// Submit is a *registry.Store's.
func (k *Link) Submit(ctx context.Context, e registry.Event) (*registry.State, registry.Outcome, error) {
	if e.ID == "" {
		e.ID = rand.Text()
	}
	e.Version = registry.Version
	out := registry.Outcome{Offset: -1, Event: e.ID}
	value, err := e.Encode()
	if err == nil {
		_, err = k.Thawed(ctx)
	}
	if err != nil {
		return nil, out, err
	}
	state := k.log.State()
	k.log.set(func() {
		k.log.records = append(k.log.records, value)
		out = k.log.state.Apply(k.log.state.Next, value)
		state = k.log.state.Clone()
	})
	k.mu.Lock()
	lost := k.lose
	k.mu.Unlock()
	switch {
	case lost:
		return nil, out, fmt.Errorf("event %s: outcome not known: %w", e.ID, ErrCut)
	case out.Effect != registry.Effective:
		return state, out, fmt.Errorf("%w (%s): %s", registry.ErrVoid, out.Effect, out.Reason)
	}
	return state, out, nil
}
