package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/undo"
)

// DefaultCostWithin is how long a rollback waits for what it loses, where the file sets no limit.
const DefaultCostWithin = 2 * time.Second

// costLasts is for how long an answer counts: legacy may have come nearer since.
const costLasts = 30 * time.Second

// askedOf is a way back: a flag's revision, and where it would go, with which keys.
type askedOf struct {
	flag, to, keys string
	revision       uint64
}

// asked is a question that was asked, and its answer.
type asked struct {
	began  time.Time // by the clock of look
	used   bool      // since forget
	cancel context.CancelFunc
	done   chan struct{} // closed behind the answer

	report *undo.Report
	err    error

	last *asked // the answer before, which counts until this one is there
}

func (a *asked) answered() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// answer is the newest answer; nil: there is none yet.
func (a *asked) answer() *asked {
	if a.answered() {
		return a
	}
	return a.last
}

// permission is what becomes of a rollback that a trigger wants.
type permission int

const (
	waits permission = iota // for what it loses
	goes
	holds
)

// allowed says whether a rollback goes on, and how many keys' values it loses, below 0 if that
// is not known; and notes in it what it loses.
func (g *Guard) allowed(ctx context.Context, f *registry.Standing, r *rollout.Retreat, now time.Time) (permission, int64) {
	most := f.Rollout.Rollback.MaxLost
	switch {
	case f.Crossed.IsZero(): // legacy has authority for all keys
		return goes, 0
	case g.cfg.Cost == nil && most == nil: // nobody wants to know
		return goes, -1
	}
	if g.cfg.Cost == nil {
		r.Loses = "what going back loses is not known, as nobody can be asked; the file allows " + lost(*most)
		return holds, -1
	}
	a := g.ask(ctx, f, r, now)
	said, known := a.answer(), int64(-1)
	switch {
	case said == nil && most == nil && now.Sub(a.began) >= g.cfg.CostWithin:
		r.Loses = "what that loses was not known within " + g.cfg.CostWithin.String()
		return goes, known
	case said == nil:
		return waits, known
	case said.err != nil:
		r.Loses = "what that loses is not known: " + said.err.Error()
	default:
		r.Loses, known = said.report.String(), said.report.Lost
	}
	if most == nil || said.err == nil && said.report.Within(*most) {
		return goes, known
	}
	r.Loses += "; the file allows " + lost(*most)
	return holds, known
}

// ask is the question of what a way back loses, asked once until its answer is old.
func (g *Guard) ask(ctx context.Context, f *registry.Standing, r *rollout.Retreat, now time.Time) *asked {
	of := askedOf{f.Name, r.To, fmt.Sprintf("%q", r.Keys), f.Revision}
	a := g.costs[of]
	if a == nil || a.answered() && now.Sub(a.began) > costLasts {
		a = g.put(ctx, f, r, now, a)
		g.costs[of] = a
	}
	a.used = true
	return a
}

// put asks, beside the looks.
func (g *Guard) put(ctx context.Context, f *registry.Standing, r *rollout.Retreat, now time.Time, last *asked) *asked {
	ctx, cancel := context.WithCancel(ctx)
	a := &asked{began: now, cancel: cancel, done: make(chan struct{}), last: last}
	if last != nil {
		last.last = nil
	}
	place, err := rollout.ParsePlace(r.To)
	if err != nil {
		a.err = err
		close(a.done)
		return a
	}
	to := f.Flag.At(place).Return(r.Keys)
	g.asking.Go(func() {
		defer cancel()
		a.report, a.err = g.cfg.Cost(ctx, f, to)
		close(a.done)
		select {
		case g.answers <- struct{}{}:
		default:
		}
	})
	return a
}

// forget ends the questions that the last look had no use for.
func (g *Guard) forget() {
	for of, a := range g.costs {
		if !a.used {
			a.cancel()
			delete(g.costs, of)
		}
		a.used = false
	}
}

func lost(most int64) string { return fmt.Sprintf("%d to be lost", most) }

// hold keeps a flag where it is: an objection, so that nothing goes forward before a person
// has looked, once for each guard.
func (g *Guard) hold(ctx context.Context, f *registry.Standing, r rollout.Retreat, now time.Time) {
	if slices.ContainsFunc(f.Objections, func(o registry.Provenance) bool { return o.Who == g.cfg.Who }) {
		return
	}
	why := "it does not go back to " + r.To + " by itself: " + r.Sentence()
	state, _, err := g.cfg.Registry.Submit(ctx, registry.Event{At: now.UTC(), Who: g.cfg.Who, Why: why,
		Changes: []registry.Change{{Flag: f.Name, Op: registry.Object}}})
	switch {
	case errors.Is(err, registry.ErrVoid):
		g.cfg.Logger.Error("a rollout is to go back, and cannot be held either", "stage", "guard", "flag", f.Name, "err", err)
	case err != nil && ctx.Err() == nil:
		g.cfg.Logger.Error("a rollout is not held yet; trying again", "stage", "guard", "flag", f.Name, "err", err)
	case err == nil:
		g.cfg.Logger.Error("a rollout is held where it is: going back would lose too much", "stage", "guard", "flag", f.Name, "at", r.From, "to", r.To,
			"why", r.Why, "loses", r.Loses)
		if g.cfg.Held != nil {
			g.cfg.Held(state.Flag(f.Name), r)
		}
	}
}
