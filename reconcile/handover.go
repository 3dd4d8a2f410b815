package reconcile

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// A rollout gives the authority for keys from one side to the other: a hand-over, which
// the log says with a control record. The record has a fence, a time: writes that
// committed by it were made under the old authority, later ones under the new. It takes
// effect for all keys of the partition at once, at the first progress with which both
// frontiers have passed the fence and the largest settle window: by then everything that
// was written before the fence was read, and was judged under the authority that it was
// written under. What was written after the fence waits for that unjudged, where the key
// changes hands.
//
//	control record                 both frontiers pass fence + window
//	      ▼                                     ▼
//	──────┬─────────────────────────────────────┬──────────────────────►
//	      │ ≤ fence: judged as before           │ the sides change roles;
//	      │ > fence: waits, if the key moves    │ what differs has a window from here on
//
// Where a key is open then, its divergence stays open with the roles exchanged. Where it
// is not, its latest versions are what is compared from there on.

// maxPlacements bounds the places of a rollout that are remembered, to know who had
// authority in the epoch that a write was made in.
const maxPlacements = 16

// placementsKey is State's key of the places of the rollout.
const placementsKey = "r"

// never is a time behind every time.
const never = schemas.Micros(math.MaxInt64 / 4)

// placements are the places of the rollout that the log has named, the oldest first.
// Epochs rise.
type placements struct {
	all     []*schemas.Placed
	inForce int  // all[inForce] is; -1: none yet, the rules say
	cut     bool // there were more than are kept
	dirty   bool // changed since it was written
}

// current is the place in force, nil where the rules say who has authority.
func (p *placements) current() *schemas.Placed {
	if p.inForce < 0 {
		return nil
	}
	return p.all[p.inForce]
}

// pending are those said and not yet in force.
func (p *placements) pending() []*schemas.Placed { return p.all[p.inForce+1:] }

// latest is the last one said, nil for none.
func (p *placements) latest() *schemas.Placed {
	if len(p.all) == 0 {
		return nil
	}
	return p.all[len(p.all)-1]
}

// add notes the next place. The oldest is forgotten where there are too many, unless it
// is still to come.
func (p *placements) add(next *schemas.Placed) {
	p.dirty = true
	p.all = append(p.all, next)
	if len(p.all) > maxPlacements && p.inForce > 0 {
		p.all, p.inForce, p.cut = slices.Delete(p.all, 0, 1), p.inForce-1, true
	}
}

// only keeps the place that is in force, until one of another rollout is.
func (p *placements) only() {
	now := p.current()
	p.all, p.inForce, p.cut = nil, -1, true
	if now != nil {
		p.all, p.inForce = []*schemas.Placed{now}, 0
	}
}

// authorityOf is the side that has authority for a key in force.
func (f *inForce) authorityOf(e *schemas.Entity, id string) schemas.Side {
	p := f.places.current()
	if p == nil {
		return f.ruled(e)
	}
	if p.Uniform() {
		return p.Authority(nil)
	}
	return p.Authority(e.RolloutKey(keyOf(e, id)))
}

// takeRollout notes where the rollout goes. A place that was said before changes nothing.
func (c *Core) takeRollout(r *schemas.RolloutControl) {
	p := &c.force.places
	switch last := p.latest(); {
	case last != nil && last.Name == r.Name && r.Epoch <= last.Epoch:
		return
	case last != nil && last.Name != r.Name: // another rollout counts its own epochs
		p.only()
	}
	p.add(r.Placed())
}

// handOver puts in force what both frontiers have come to, and says whether keys have
// other roles by that.
func (c *Core) handOver() (moved bool, err error) {
	p := &c.force.places
	for len(p.pending()) > 0 {
		next := p.pending()[0]
		end := next.Fence.Add(c.longestWindow())
		if c.sides[schemas.Legacy].frontier <= end || c.sides[schemas.Target].frontier <= end {
			return moved, nil
		}
		was := p.current()
		if was == nil || !was.SameAuthority(next) {
			// What is kept decoded stands in the roles of before. Read back, it takes those of from now on.
			if err := c.forgetDecoded(); err != nil {
				return moved, err
			}
			moved = true
		}
		p.inForce++
		p.dirty = true
		if moved {
			if err := c.reread(); err != nil {
				return moved, err
			}
		}
	}
	return moved, nil
}

// fenceOf is the time after which versions of a key wait for a hand-over; never: for none.
func (c *Core) fenceOf(k *keyState) schemas.Micros {
	for _, next := range c.force.places.pending() {
		if next.Authority(k.entity.RolloutKey(k.key())) != k.lead {
			return next.Fence
		}
	}
	return never
}

// splitBrain says whether a write was made under an epoch in which the other side had
// authority for its key, after that epoch had surely ended: a settle window behind the
// fence of the epoch that ended it.
func (c *Core) splitBrain(k *keyState, epoch uint64, committed schemas.Micros) bool {
	p := &c.force.places
	key := k.entity.RolloutKey(k.key())
	since := committed.Add(-c.force.windowOf(k.entity))
	now, then := -1, -1 // the last epoch that had surely begun, and the writer's
	for i, place := range p.all {
		if place.Name != p.latest().Name {
			continue // another rollout's, in force until this one's first place is
		}
		if place.Fence < since {
			now = i
		}
		if place.Epoch <= epoch {
			then = i
		}
	}
	if now < 0 || epoch >= p.all[now].Epoch {
		return false
	}
	before := c.force.ruled(k.entity)
	switch {
	case then >= 0:
		before = p.all[then].Authority(key)
	case p.cut:
		return false // who had authority then is not known any more
	}
	return before != p.all[now].Authority(key)
}

// written is when a queued change committed at the earliest, on our clock.
func (s *sideState) written(q *waiting) schemas.Micros {
	if q.earliest == 0 {
		return q.v.at
	}
	earliest, _ := s.ours(q.earliest)
	return min(earliest, q.v.at)
}

func (p *placements) encode() []byte {
	e := &encoder{}
	e.byte(1) // the record's format
	e.int(int64(p.inForce))
	e.bool(p.cut)
	e.uint(uint64(len(p.all)))
	for _, place := range p.all {
		e.bytes(schemas.AppendRecord(nil, &schemas.Record{Control: &schemas.Control{Rollout: &place.RolloutControl}}))
	}
	return e.b
}

func (p *placements) decode(b []byte) error {
	d := &decoder{b: b}
	if d.byte() != 1 {
		return fmt.Errorf("read where the rollout stands: %w", ErrDamaged)
	}
	p.inForce, p.cut = int(d.int()), d.bool()
	for n := d.uint(); n > 0 && !d.bad; n-- {
		rec, err := schemas.UnmarshalRecord(d.bytes())
		if err != nil || rec.Control == nil || rec.Control.Rollout == nil {
			return fmt.Errorf("read where the rollout stands: %w", errors.Join(ErrDamaged, err))
		}
		p.all = append(p.all, rec.Control.Rollout.Placed())
	}
	if p.inForce < -1 || p.inForce >= len(p.all) {
		d.bad = true
	}
	return d.err()
}
