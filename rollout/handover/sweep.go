package handover

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/registry"
)

// Submitter writes events. *registry.Store is one.
type Submitter interface {
	Submit(ctx context.Context, e registry.Event) (*registry.State, registry.Outcome, error)
}

// sweepEvery is how often it is looked whether a hold has outlived its limit.
const sweepEvery = time.Second

// Sweep takes back holds that have outlived their limit, because who began them is gone, and has
// routers forgotten that were taken for gone and have not come back within their lease, until ctx
// ends. Any number may run; each counts from when it saw something first, by its own clock.
func Sweep(ctx context.Context, f *follow.Follower, store Submitter, as string, log *slog.Logger) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	patience := 1 + rand.Float64()/2 // so that not all of them write
	seen := seenAt{}
	for {
		for _, c := range seen.overdue(f.View(), patience, time.Now()) {
			why := "its limit has passed, and who began it has not gone on"
			if c.Op == registry.Forget {
				why = "it was taken for gone, and has not come back within its lease"
			}
			_, _, err := store.Submit(ctx, registry.Event{At: time.Now().UTC(), Who: as, Why: why, Changes: []registry.Change{c}})
			if err == nil {
				log.Warn("a hand-over is cleared up after", "stage", "rollout", "flag", c.Flag, "op", c.Op, "of", c.Hold, "router", c.Router, "why", why)
			}
		}
		if !pause(ctx, sweepEvery) {
			return
		}
	}
}

// seenAt is when an event that stands was seen first.
type seenAt map[string]time.Time

// overdue ends what stands for too long.
func (seen seenAt) overdue(v *follow.View, patience float64, now time.Time) (out []registry.Change) {
	stands := map[string]bool{}
	late := func(event string, after time.Duration) bool {
		stands[event] = true
		if seen[event].IsZero() {
			seen[event] = now
		}
		return Passed(seen[event], now) > time.Duration(float64(after)*patience)
	}
	for _, f := range v.Flags {
		if f.Held != nil && late(f.Held.Event, f.Held.Limit()) {
			out = append(out, registry.Change{Flag: f.Name, Op: registry.Release, Hold: f.Held.Event})
		}
		for _, r := range f.Routers {
			if r.Gone != "" && late(r.Gone, r.Lease()+DefaultSlack) {
				out = append(out, registry.Change{Flag: f.Name, Op: registry.Forget, Router: r.ID, Hold: r.Gone})
			}
		}
	}
	for event := range seen {
		if !stands[event] {
			delete(seen, event)
		}
	}
	return out
}
