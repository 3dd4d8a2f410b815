package baseline

import (
	"bytes"
	"context"
	"sync"

	"github.com/trueup-io/trueup/schemas"
)

// Pace keeps the two sides of a migration close together, so that little is
// known of one side only: the one that is ahead waits. It does so where both
// order their rows as canonical keys are ordered: elsewhere no place of one side's
// order is one of the other's.
type Pace struct {
	mu    sync.Mutex
	at    map[string]*[3][]byte // by entity and side: where its next chunk begins; nil: it does not read the entity
	moved chan struct{}         // closed when something of that changes
}

// NewPace returns the pace of two sides.
func NewPace() *Pace { return &Pace{at: map[string]*[3][]byte{}, moved: make(chan struct{})} }

func (p *Pace) set(entity string, side schemas.Side, at []byte) {
	if p.at[entity] == nil {
		p.at[entity] = new([3][]byte)
	}
	p.at[entity][side] = at
	close(p.moved)
	p.moved = make(chan struct{})
}

// leave says that a side does not read an entity any more.
func (p *Pace) leave(entity string, side schemas.Side) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(entity, side, nil)
}

// await waits until the other side is as far, or does not read the entity. Who
// is behind never waits, so the two cannot wait for one another.
func (p *Pace) await(ctx context.Context, t *Table, side schemas.Side, after []string) error {
	e := t.Entity
	at := e.OrderKey(t.key(after))
	if after == nil {
		at = []byte{} // before all keys
	}
	p.mu.Lock()
	p.set(e.Name, side, at)
	for {
		other := p.at[e.Name][side.Other()]
		moved := p.moved
		p.mu.Unlock()
		if other == nil || bytes.Compare(other, at) >= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
		p.mu.Lock()
	}
}
