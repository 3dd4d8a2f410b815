package sim

import (
	"context"
	"errors"
	"slices"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// repairer answers divergences with compensations and has them written, as
// compensate.Runner does: one live compensation per key, and after a crash
// everything that was not said to be done is done again.
type repairer struct {
	*world
	queue []schemas.Divergence // the divergences topic
	next  int                  // event to take next
	saved int                  // durable: events before it were answered
	until int                  // events before it are taken before anything is written: a newer one may stand among them
	live  map[rowKey]*pending
	order []rowKey            // of live, oldest first
	final map[string]struct{} // durable: compensations with an outcome
}

type pending struct {
	c schemas.Compensation
	d schemas.Divergence
}

func newRepairer(w *world) *repairer {
	return &repairer{world: w, live: map[rowKey]*pending{}, final: map[string]struct{}{}}
}

// work takes some events and writes some compensations.
func (p *repairer) work() {
	if !p.dials.apply {
		return
	}
	for n := max(1+p.r.IntN(4), p.until-p.next); n > 0; n-- {
		if p.next < len(p.queue) {
			p.take(&p.queue[p.next])
			p.next++
		}
	}
	for len(p.order) > 0 && (p.healed || p.r.IntN(3) > 0) {
		k := p.order[0]
		p.order = p.order[1:]
		if l := p.live[k]; l != nil && !p.write(k, l) {
			return
		}
	}
	if len(p.live) == 0 && p.r.IntN(2) == 0 {
		p.saved = p.next
	}
}

func (p *repairer) take(d *schemas.Divergence) {
	k := keyOf(d.Entity, d.Key)
	p.order = slices.DeleteFunc(p.order, func(o rowKey) bool { return o == k })
	delete(p.live, k)
	if d.Stage == schemas.Closed {
		return
	}
	c, err := p.plan(d)
	var no *compensate.NotPlannable
	switch {
	case errors.As(err, &no):
		p.note(k, "repair of %s is refused: %s", d.ID, no.Reason)
		p.oracle.refused[k] = no.Reason
		return
	case err != nil:
		p.broken("I26", "plan of %s: %v", d.ID, err)
		return
	}
	if _, done := p.final[c.ID]; done {
		return
	}
	p.oracle.planned(d, &c)
	p.live[k] = &pending{c, *d}
	p.order = append(p.order, k)
}

// plan is the one place that knows how compensations are planned.
func (p *repairer) plan(d *schemas.Divergence) (schemas.Compensation, error) {
	e, ok := p.log.rules.Entity(d.Entity)
	if !ok {
		panic("sim: no entity " + d.Entity)
	}
	return compensate.Plan(*d, e, e.Compensate.Default(), "")
}

// write has a compensation written. It is false if the repairer died on it.
func (p *repairer) write(k rowKey, l *pending) (alive bool) {
	dies := 0
	if !p.healed && p.chance(p.dials.repairCrash) {
		dies = 1 + p.r.IntN(2)
	}
	if dies == 1 {
		p.crash("before", l)
		return false
	}
	s := p.store[l.c.Side]
	s.faults = nil
	for !p.healed && p.r.IntN(4) == 0 && len(s.faults) < 3 {
		s.faults = append(s.faults, []fault{deadlock, lostReply, cutOff}[p.r.IntN(3)])
	}
	before, was := s.rows[k], len(s.wal)
	out, err := compensate.Attempts{Max: 2, Delay: 1, DelayMax: 1}.Apply(context.Background(), s, &l.c)
	for range len(s.wal) - was {
		p.oracle.wrote(l, before)
	}
	if dies == 2 {
		p.crash("after", l)
		return false
	}
	if err != nil { // no outcome: it is asked for again
		p.order = append(p.order, k)
		return true
	}
	p.note(k, "compensation %s of %s: %s %s", l.c.ID, l.d.ID, out.Result, out.Detail)
	if out.Result == schemas.Failed || out.Result == schemas.Refused {
		if out.Result == schemas.Refused {
			p.broken("I25", "compensation %s is refused: %s", l.c.ID, out.Detail)
		}
		p.order = append(p.order, k)
		return true
	}
	p.final[l.c.ID] = struct{}{}
	delete(p.live, k)
	return true
}

func (p *repairer) crash(when string, l *pending) {
	p.note(keyOf(l.c.Entity, l.c.Key), "the repairer dies %s writing %s", when, l.c.ID)
	p.until, p.next, p.order = len(p.queue), p.saved, nil
	clear(p.live)
}

func (p *repairer) idle() bool {
	return !p.dials.apply || p.next == len(p.queue) && len(p.live) == 0
}
