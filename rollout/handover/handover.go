// Package handover gives keys of a rollout from one side to the other, and waits for who
// writes them.
//
// # What it promises
//
//   - What gives keys to the other side is written only once every router has said that it
//     writes none of them any more, or once its lease and the error of the clocks have passed
//     since it was asked to, by whichever clock says that less time has. The registry refuses
//     it otherwise (package registry), so a mistake here loses time and no write.
//   - Within Timeout the change stands, or is taken back with the names of who did not answer.
//   - A kill or a rollback in between ends it: they wait for nobody.
//   - Each step is an event of the registry. Who dies in between leaves a hold, which Sweep takes
//     back after its limit, wherever one runs.
//
// # What it assumes
//
// A router writes nothing by what it has read for longer than the lease that it joined with
// (package router keeps to that), and clocks of two machines run at the same speed but for Slack
// within a lease.
//
// # The order of its steps
//
//	hold ─► wait: acknowledged, or gone ─► drain ─► the change itself
//	                     └──────────┴────────┴──► release, if it takes longer than Timeout
package handover

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout/registry"
)

const (
	// DefaultTimeout is longer than the default lease: one router that is gone takes nothing back.
	DefaultTimeout = 30 * time.Second
	// DefaultSlack is more than two clocks drift apart within any lease.
	DefaultSlack = time.Second

	look        = 50 * time.Millisecond // how often it is looked who has answered
	undoTimeout = 10 * time.Second      // for taking a hold back, whatever has ended meanwhile
)

// Registry is where events are kept. *registry.Store is one.
type Registry interface {
	Submitter
	Load(ctx context.Context) (*registry.State, error)
	Each(ctx context.Context, fn func(value []byte, o registry.Outcome) error) error
}

// Fenced is a registry whose changes wait for routers. It is safe for use by several goroutines.
type Fenced struct {
	Registry
	Timeout time.Duration // 0: DefaultTimeout
	Slack   time.Duration // 0: DefaultSlack
	// Drained returns once all that was written of a flag's keys before a moment was compared, or why
	// that cannot be; nil: nobody asks. It is asked of what goes by evidence alone.
	Drained func(ctx context.Context, f *registry.Standing, before time.Time) error
	// Said hears of each step, in a sentence; nil: nobody does.
	Said func(text string)
}

// handing is one hand-over.
type handing struct {
	*Fenced
	event, hold registry.Event
	began       time.Time // when the hold stood
}

// Submit is a registry's Submit: an event that gives keys to the other side waits for their routers.
func (f *Fenced) Submit(ctx context.Context, e registry.Event) (*registry.State, registry.Outcome, error) {
	for again := true; ; again = false {
		state, err := f.Load(ctx)
		if err != nil {
			return nil, registry.Outcome{Offset: -1, Event: e.ID}, err
		}
		h := &handing{Fenced: f, event: e, hold: f.holdOf(state, e)}
		if len(h.hold.Changes) > 0 {
			return h.submit(ctx)
		}
		state, out, err := f.Registry.Submit(ctx, e)
		if again && errors.Is(err, registry.ErrVoid) && out.Effect == registry.Refused && len(f.holdOf(state, e).Changes) > 0 {
			e.ID = "" // a router has joined meanwhile
			continue
		}
		return state, out, err
	}
}

// holdOf is the event that holds what an event moves.
func (f *Fenced) holdOf(state *registry.State, e registry.Event) registry.Event {
	hold := registry.Event{ID: rand.Text(), At: e.At, Who: e.Who, Why: e.Why}
	for _, c := range state.Fenced(&e) {
		c.Op, c.LimitMs = registry.Hold, max(1, f.limit().Milliseconds())
		hold.Changes = append(hold.Changes, c)
	}
	return hold
}

func (f *Fenced) timeout() time.Duration {
	if f.Timeout == 0 {
		return DefaultTimeout
	}
	return f.Timeout
}

// limit is after how long anybody may take a hold back: no sooner than who began it does.
func (f *Fenced) limit() time.Duration { return 2*f.timeout() + undoTimeout }

func (h *handing) submit(ctx context.Context) (*registry.State, registry.Outcome, error) {
	none := registry.Outcome{Offset: -1, Event: h.event.ID}
	if state, out, err := h.Registry.Submit(ctx, h.hold); err != nil {
		if !errors.Is(err, registry.ErrVoid) { // it may stand, or come to
			err = h.release(ctx, err)
		}
		return state, out, err
	}
	h.began = time.Now()
	waiting, cancel := context.WithTimeout(ctx, h.timeout())
	defer cancel()
	state, err := h.wait(waiting)
	if err == nil {
		state, err = h.drain(waiting, state)
	}
	if err != nil {
		return state, none, h.release(ctx, err)
	}
	for i, c := range h.event.Changes {
		if slices.ContainsFunc(h.hold.Changes, func(held registry.Change) bool { return held.Flag == c.Flag }) {
			h.event.Changes[i].Base = state.Flag(c.Flag).Revision
		}
	}
	h.event.At = time.Now().UTC()
	state, out, err := h.Registry.Submit(ctx, h.event)
	if err != nil {
		err = h.release(ctx, err)
	}
	return state, out, err
}

// wait returns once nobody is waited for, with what stands then.
func (h *handing) wait(ctx context.Context) (*registry.State, error) {
	var last map[string]string // by flag, who is waited for
	for {
		state, err := h.Load(ctx)
		if err != nil {
			return nil, h.late(ctx, last, err)
		}
		waits := map[string]string{}
		for _, c := range h.hold.Changes {
			f := state.Flag(c.Flag)
			if f.Hold() != h.hold.ID {
				return state, fmt.Errorf("%w: the hand-over of %s was ended by %s: %s", registry.ErrVoid, f.Name, f.Changed.Who, f.Changed.Why)
			}
			waiting := slices.DeleteFunc(f.Waiting(), func(r registry.Router) bool { return h.excuse(ctx, f, r) })
			if len(waiting) > 0 {
				waits[f.Name] = registry.Names(waiting)
			}
		}
		if len(waits) == 0 {
			return h.Load(ctx)
		}
		for name, who := range waits {
			if last[name] != who {
				h.say("%s waits for %s", name, who)
			}
		}
		last = waits
		if !pause(ctx, look) {
			return state, h.late(ctx, last, ctx.Err())
		}
	}
}

// excuse takes a router for gone that cannot write any more by what was before the hold.
func (h *handing) excuse(ctx context.Context, f *registry.Standing, r registry.Router) bool {
	slack := h.Slack
	if slack == 0 {
		slack = DefaultSlack
	}
	if Passed(h.began, time.Now()) < r.Lease()+slack {
		return false
	}
	_, _, err := h.Registry.Submit(ctx, registry.Event{At: time.Now().UTC(), Who: h.hold.Who,
		Why:     fmt.Sprintf("its lease of %s has passed since hold %s, and it has not answered", r.Lease(), h.hold.ID),
		Changes: []registry.Change{{Flag: f.Name, Op: registry.Excuse, Router: r.ID, Hold: h.hold.ID}}})
	if err == nil {
		h.say("%s: %s has not answered for longer than its lease of %s, and is taken for gone", f.Name, r.ID, r.Lease())
	}
	return err == nil
}

// Passed is how much time has surely passed: a clock that was set, or stood still, gives less.
func Passed(since, now time.Time) time.Duration {
	return min(now.Sub(since), time.Duration(now.UnixNano()-since.UnixNano()))
}

// late names who did not answer.
func (h *handing) late(ctx context.Context, last map[string]string, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) || len(last) == 0 {
		return err
	}
	text := ""
	for name, who := range last {
		text += fmt.Sprintf("; %s: no answer of %s", name, who)
	}
	return fmt.Errorf("%w: it was held for %s and taken back%s; if a process is gone for good, wait for longer than its lease (--fence-timeout)",
		registry.ErrVoid, h.timeout(), text)
}

func (h *handing) drain(ctx context.Context, state *registry.State) (*registry.State, error) {
	at := time.Now()
	for _, c := range h.hold.Changes {
		if h.Drained == nil || c.Measured == nil {
			continue
		}
		if err := h.Drained(ctx, state.Flag(c.Flag), at); err != nil {
			return state, fmt.Errorf("%w: what was written of %s before the hand-over was not compared within %s, and it is taken back: %w", registry.ErrVoid, c.Flag, h.timeout(), err)
		}
	}
	h.say("nobody writes what moves; held for %s", time.Since(h.began).Round(time.Millisecond))
	return state, nil
}

// release takes the hold back, if it stands: writers wait no longer. It returns why, and what failed in doing so.
func (h *handing) release(ctx context.Context, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	state, err := h.Load(ctx)
	if err == nil {
		err = take(ctx, h.Registry, state, h.hold.ID, h.hold.Who, why.Error())
	}
	if err != nil {
		err = fmt.Errorf("the hold %s was not taken back, and stands for up to %s: %w", h.hold.ID, h.limit(), err)
	}
	return errors.Join(why, err)
}

// take releases every flag that an event holds.
func take(ctx context.Context, store Submitter, state *registry.State, hold, who, why string) error {
	var changes []registry.Change
	for _, f := range state.Flags() {
		if f.Hold() == hold {
			changes = append(changes, registry.Change{Flag: f.Name, Op: registry.Release, Hold: hold})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	_, _, err := store.Submit(ctx, registry.Event{At: time.Now().UTC(), Who: who, Why: why, Changes: changes})
	if errors.Is(err, registry.ErrVoid) {
		return nil // it has ended otherwise
	}
	return err
}

func (h *handing) say(format string, args ...any) {
	if h.Said != nil {
		h.Said(fmt.Sprintf(format, args...))
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
