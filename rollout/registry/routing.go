package registry

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// A hand-over gives keys from one side to the other, and routers are the processes that
// write them. It goes in steps, each of them an event:
//
//	hold ─► ack of each router, or excuse of who is gone for longer than its lease ─► define (or revive)
//	  └──► release: a router did not answer, or somebody thought better of it
//	  └──► kill, rollback: at once
//
// A router that reads a hold refuses writes to the keys that are to move, waits until those
// that it has begun are done, and acknowledges. Which keys these are every router knows
// by itself, from the flag as it stands and the one that is to stand.
//
// Who is excused still counts: he may be alive, and write keys that did not move, until he has read
// that he was, or his lease has run out. A hold that comes next waits for him, too, until he has
// joined again, or somebody who saw him excused for as long as his lease has him forgotten.

const (
	maxRouters  = 1000
	maxRouterID = MaxRouterName + 50
	// MaxRouterName is how long a router's name may be, in bytes.
	MaxRouterName = 150
)

// NewRouterID is an id for a process, by its name: no two have one.
func NewRouterID(name string) string { return name + "-" + rand.Text()[:8] }

// Router is a process that writes by a flag.
type Router struct {
	ID string `json:"id"`
	// LeaseMs is for how long, in milliseconds, it writes by what it has read once it can read no more.
	LeaseMs int64     `json:"lease_ms"`
	Joined  time.Time `json:"joined"`
	// Epoch is the newest that it has said it writes by, and Acked when; 0: it has said nothing. Hold is the hold that it
	// has acknowledged.
	Epoch uint64    `json:"epoch"`
	Acked time.Time `json:"acked"`
	Hold  string    `json:"hold,omitempty"`
	// Gone is the event by which it was taken for gone; empty: it was not.
	Gone string `json:"gone,omitempty"`
}

// Lease is for how long it writes by what it has read.
func (r *Router) Lease() time.Duration { return time.Duration(r.LeaseMs) * time.Millisecond }

// Held is a hand-over that is under way. It does not change.
type Held struct {
	Provenance
	// Definition is what is to stand; empty: the flag is to be revived.
	Definition string `json:"definition,omitempty"`
	// LimitMs is after how many milliseconds anybody may release it: who began it may be gone.
	LimitMs int64 `json:"limit_ms"`

	from, to *schemas.Placed
}

// Limit is after how long anybody may release it.
func (h *Held) Limit() time.Duration { return time.Duration(h.LimitMs) * time.Millisecond }

// Moves says whether a key is to have its authority on the other side.
func (h *Held) Moves(key []string) bool { return h.from.Authority(key) != h.to.Authority(key) }

// Hold is the event of the hold that stands; empty: none does.
func (s *Standing) Hold() string {
	if s.Held == nil {
		return ""
	}
	return s.Held.Event
}

// Moves says whether a key must not be written because of a hand-over.
func (s *Standing) Moves(key []string) bool { return s.Held != nil && s.Held.Moves(key) }

// Waiting are the routers that have not acknowledged the hold.
func (s *Standing) Waiting() (out []Router) {
	if s.Held == nil {
		return nil
	}
	for _, r := range s.Routers {
		if r.Hold != s.Held.Event {
			out = append(out, r)
		}
	}
	return out
}

// Fenced are the changes of an event that have to be held before: those that go on and move keys
// that routers write. What is wrong with a change it does not say.
func (s *State) Fenced(e *Event) (out []Change) {
	by := e.provenance()
	for _, c := range e.Changes {
		was := s.flags[c.Flag]
		if was == nil || len(was.Routers) == 0 || c.Op != Define && c.Op != Revive {
			continue
		}
		if is, err := goOn(was, c, by); err == nil && moves(was, is) {
			out = append(out, c)
		}
	}
	return out
}

// moves says whether some key changes its authority.
func moves(was, is *Standing) bool {
	return !was.Control().Placed().SameAuthority(is.Control().Placed())
}

// acknowledged refuses what moves keys while a router may still write them where they were.
func acknowledged(was, is *Standing, c Change) error {
	if was == nil || len(was.Routers) == 0 || !moves(was, is) {
		return nil
	}
	if was.Held == nil || was.Held.Definition != c.Definition {
		return refuse(Refused, "%s: it gives keys to the other side, and %d routers write them: it has to be held first", c.Flag, len(was.Routers))
	}
	if waiting := was.Waiting(); len(waiting) > 0 {
		return refuse(Refused, "%s: it gives keys to the other side, and has to wait for %s", c.Flag, Names(waiting))
	}
	return nil
}

// Names lists routers, as people read them.
func Names(routers []Router) string {
	var names []string
	for _, r := range routers {
		names = append(names, r.ID)
	}
	return strings.Join(names, ", ")
}

// hold begins a hand-over: where the change that is to follow could not be made, it does not begin.
func hold(was *Standing, c Change, by Provenance) (*Standing, error) {
	to, err := goOn(was, c, by)
	switch {
	case err != nil:
		return nil, err
	case was == nil || !moves(was, to):
		return nil, refuse(Refused, "%s: no key changes its authority by that, and nothing is to be held", c.Flag)
	case was.Held != nil:
		return nil, refuse(Refused, "%s: it is held already, by %s (%s)", c.Flag, was.Held.Who, was.Held.Event)
	}
	is := *was
	is.Revision++
	is.Changed = by
	is.Held = &Held{Provenance: by, Definition: c.Definition, LimitMs: c.LimitMs, from: was.Control().Placed(), to: to.Control().Placed()}
	return &is, nil
}

func release(was *Standing, c Change, by Provenance) (*Standing, error) {
	if was == nil || was.Held == nil || was.Hold() != c.Hold {
		return nil, refuse(Refused, "%s: there is no hold %s", c.Flag, c.Hold)
	}
	is := *was
	is.Revision++
	is.Changed, is.Held = by, nil
	return &is, nil
}

// route is what a router says of itself, and that it is gone.
func route(was *Standing, c Change, by Provenance) (*Standing, error) {
	if was == nil {
		return nil, refuse(Refused, "%s: there is no such flag", c.Flag)
	}
	at := slices.IndexFunc(was.Routers, func(r Router) bool { return r.ID == c.Router })
	switch {
	case c.Op == Join:
		return join(was, at, c, by)
	case at < 0:
		return nil, refuse(Refused, "%s: there is no router %s", c.Flag, c.Router)
	}
	is := *was
	is.Routers = slices.Clone(was.Routers)
	r := &is.Routers[at]
	held := c.Hold == "" || was.Hold() == c.Hold
	switch {
	case c.Op == Leave, c.Op == Forget && r.Gone == c.Hold:
		is.Routers = slices.Delete(is.Routers, at, at+1)
	case c.Op == Forget, c.Op == Excuse && r.Gone != "" && r.Hold == c.Hold, !held:
		return nil, refuse(Refused, "%s: %s of %s is about what does not stand any more", c.Flag, c.Op, c.Router)
	case c.Op == Excuse:
		r.Gone, r.Hold = by.Event, c.Hold
	case r.Gone != "":
		return nil, refuse(Refused, "%s: %s was away for longer than its lease, and has to join again", c.Flag, c.Router)
	case c.Epoch != was.Epoch:
		return nil, refuse(Refused, "%s: %s writes by epoch %d, and what stands is %d", c.Flag, c.Router, c.Epoch, was.Epoch)
	default:
		r.Epoch, r.Acked, r.Hold = c.Epoch, by.At, c.Hold
	}
	return &is, nil
}

// join has a router join, or again if it was taken for gone: what it is excused from it stays excused
// from, because it has read the hold when it reads that it has joined.
func join(was *Standing, at int, c Change, by Provenance) (*Standing, error) {
	r := Router{ID: c.Router, LeaseMs: c.LeaseMs, Joined: by.At}
	is := *was
	is.Routers = slices.Clone(was.Routers)
	switch {
	case at >= 0 && was.Routers[at].Gone == "":
		return nil, refuse(Refused, "%s: there is a router %s already: each process has an id of its own", c.Flag, c.Router)
	case at >= 0:
		r.LeaseMs, r.Hold = max(r.LeaseMs, was.Routers[at].LeaseMs), was.Routers[at].Hold
		is.Routers[at] = r
	case len(was.Routers) >= maxRouters:
		return nil, refuse(Refused, "%s: it has %d routers already", c.Flag, maxRouters)
	default:
		is.Routers = append(is.Routers, r)
	}
	return &is, nil
}

// Places are the place of the flag as it stands, and the one that it is to have after the hand-over.
func (h *Held) Places() (from, to rollout.Place) {
	return rollout.Place{Stage: h.from.Stage, Ramp: h.from.Ramp}, rollout.Place{Stage: h.to.Stage, Ramp: h.to.Ramp}
}
