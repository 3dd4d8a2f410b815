package guard

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout"
)

// Status is what a guard has done since its start, and how it stands.
type Status struct {
	// Looked is when it last read the registry and judged every trigger; zero: never yet. Took is how long that was.
	Looked time.Time
	Took   time.Duration
	// Triggers are those that it has judged, by flag and name.
	Triggers []TriggerStatus
	// Flags are those that it guards now, by name.
	Flags []FlagStatus
}

// TriggerStatus is what became of one trigger.
type TriggerStatus struct {
	Flag, Trigger string
	Judged        map[rollout.Verdict]uint64 // how often; Pass says that it holds
	Trips         uint64                     // how often it began to want the flag back
	Reverts       uint64                     // rollbacks of it that took effect
	// UnknownSince is since when it has been unknown; zero: it is not, or stands no more.
	UnknownSince time.Time

	revision uint64 // of the flag that it wants back; 0: it does not
}

// FlagStatus is a flag that is guarded.
type FlagStatus struct {
	Flag string
	Held bool // a trigger holds, and going back would lose too much
	// Lost is how many keys' values going back loses, by the last answer that somebody had to ask for; below 0: there was none.
	Lost int64
}

// Status is how the guard stands. Any goroutine may ask.
func (g *Guard) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.status
	out.Triggers, out.Flags = nil, slices.Clone(out.Flags)
	for _, t := range g.triggers {
		one := *t
		one.Judged = maps.Clone(t.Judged)
		out.Triggers = append(out.Triggers, one)
	}
	slices.SortFunc(out.Triggers, func(a, b TriggerStatus) int {
		return cmp.Or(cmp.Compare(a.Flag, b.Flag), cmp.Compare(a.Trigger, b.Trigger))
	})
	return out
}

// judged notes what a look made of a trigger.
func (g *Guard) judged(at triggerAt, v rollout.Verdict, pulls bool, unknownSince time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.trigger(at.flag, at.trigger)
	t.Judged[v]++
	t.UnknownSince = unknownSince
	switch {
	case !pulls:
		t.revision = 0
	case t.revision != at.revision:
		t.Trips++
		t.revision = at.revision
	}
}

// reverted notes a rollback that took effect.
func (g *Guard) reverted(flag, trigger string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trigger(flag, trigger).Reverts++
}

// trigger is the status of one; every verdict is counted from the start. Its caller locks.
func (g *Guard) trigger(flag, trigger string) *TriggerStatus {
	id := [2]string{flag, trigger}
	t := g.triggers[id]
	if t == nil {
		t = &TriggerStatus{Flag: flag, Trigger: trigger, Judged: map[rollout.Verdict]uint64{rollout.Pass: 0, rollout.Fail: 0, rollout.Hold: 0, rollout.Unknown: 0}}
		g.triggers[id] = t
	}
	return t
}

// looked ends a look that began so, and has judged these flags and triggers.
func (g *Guard) looked(began time.Time, took time.Duration, flags []FlagStatus, stands map[[2]string]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range flags {
		last := slices.IndexFunc(g.status.Flags, func(f FlagStatus) bool { return f.Flag == flags[i].Flag })
		if flags[i].Lost < 0 && last >= 0 {
			flags[i].Lost = g.status.Flags[last].Lost
		}
	}
	g.status.Looked, g.status.Took, g.status.Flags = began, took, flags
	for id, t := range g.triggers {
		if !stands[id] {
			t.UnknownSince, t.revision = time.Time{}, 0
		}
	}
}
