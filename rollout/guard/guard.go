// Package guard takes rollouts back by itself when what is measured says so.
//
// # What it promises
//
//   - It never takes a rollout forward: all it writes are rollbacks, on the revision that
//     it decided on, and the registry refuses any that go forward or that somebody was
//     faster than (I33). So any number of guards may run, and one decision has one effect.
//   - A trigger that holds takes the rollout back as soon as the guard has read it: it looks
//     each Every, and the pipeline writes what is wrong within a second. What is not known
//     takes nothing back, unless the trigger says for how long it may be unknown (I34).
//   - What was found within the file's grace after a step is not held against the place that
//     the step led to. What takes a rollout back from there has to be found there.
//   - It takes back no more than what diverges, where it can tell: the share that was added
//     last, or the keys that all divergences are of, by which a rollout asks who has authority. If a
//     trigger holds again within the cooldown, it takes back the whole.
//   - Before it takes keys from the target back to legacy it asks what that loses, and says so
//     in its event. Where the file has a limit (maxLost) and more would be lost, or that is
//     not certain, it does not go back by itself: it objects, so that nothing goes forward,
//     and asks again. Without a limit it waits for the answer no longer than CostWithin.
//   - It depends on nothing that it guards: while the registry or a migration's log cannot be
//     reached it goes on trying, and says so.
//
// # What it assumes
//
// The clocks of guard, pipeline and whoever applies a step differ by less than the grace.
//
// # The order of its steps
//
//	registry ─► flags at their places ─┐
//	measured ─► History ───────────────┴─► rollout.Pull ─► rollout.Backward ─► Cost ─► an event
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/undo"
	"github.com/trueup-io/trueup/schemas"
)

// DefaultEvery is how often a guard looks.
const DefaultEvery = time.Second

// loadWait is how long the registry may take to say what stands before that is said.
const loadWait = 10 * time.Second

// Registry is what a guard needs of one. *registry.Store is one.
type Registry interface {
	Load(ctx context.Context) (*registry.State, error)
	Submit(ctx context.Context, e registry.Event) (*registry.State, registry.Outcome, error)
}

// Config says what is guarded. Registry and Follow are required.
type Config struct {
	Registry Registry
	// Follow gives fn what a migration measures since a moment, and then each new record, until
	// ctx ends or it cannot be followed on.
	Follow func(ctx context.Context, migration string, since time.Time, fn func(*measure.Record)) error
	Who    string        // whose name is on the rollbacks; empty: "guard"
	Every  time.Duration // 0: DefaultEvery
	// Cost says what going back to a place would lose; nil: nobody is asked, and no limit can be kept.
	Cost func(ctx context.Context, f *registry.Standing, to *rollout.Flag) (*undo.Report, error)
	// CostWithin is how long a rollback without a limit waits for the answer; 0: DefaultCostWithin.
	CostWithin time.Duration
	// Held is told of each flag that stays where it is, because going back would lose too much; nil: nobody is.
	Held func(f *registry.Standing, r rollout.Retreat)
	// Done is told of each rollback that took effect; nil: nobody is.
	Done   func(f *registry.Standing, r rollout.Retreat)
	Logger *slog.Logger // nil: nothing is logged
}

// Guard guards the rollouts of a registry.
type Guard struct {
	cfg     Config
	follows sync.WaitGroup
	of      map[string]*followed    // by migration; touched by Run
	unknown map[triggerAt]time.Time // since when; touched by Run
	failing bool                    // the registry could not be read; touched by Run
	costs   map[askedOf]*asked      // touched by Run
	asking  sync.WaitGroup
	answers chan struct{} // an answer has come; one that waits is enough

	mu       sync.Mutex
	status   Status                       // guarded by mu; but for Triggers
	triggers map[[2]string]*TriggerStatus // guarded by mu; by flag and name
}

// followed is what is known of a migration.
type followed struct {
	mu      sync.Mutex
	history measure.History // guarded by mu
}

// triggerAt is a trigger of a flag at a revision.
type triggerAt struct {
	flag, trigger string
	revision      uint64
}

// New returns a guard. Run has it guard.
func New(cfg Config) *Guard {
	if cfg.Who == "" {
		cfg.Who = "guard"
	}
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.CostWithin == 0 {
		cfg.CostWithin = DefaultCostWithin
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Guard{cfg: cfg, of: map[string]*followed{}, unknown: map[triggerAt]time.Time{}, costs: map[askedOf]*asked{}, answers: make(chan struct{}, 1),
		triggers: map[[2]string]*TriggerStatus{}}
}

// Run guards until ctx ends, and then returns nil.
func (g *Guard) Run(ctx context.Context) error {
	defer g.follows.Wait()
	defer g.asking.Wait()
	ticker := time.NewTicker(g.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			g.look(ctx, now)
		case <-g.answers:
			g.look(ctx, time.Now())
		}
	}
}

// look looks at every flag once.
func (g *Guard) look(ctx context.Context, now time.Time) {
	loading, cancel := context.WithTimeout(ctx, loadWait)
	state, err := g.cfg.Registry.Load(loading)
	cancel()
	if err != nil {
		if ctx.Err() == nil && !g.failing {
			g.cfg.Logger.Error("the registry cannot be read: nothing is guarded until it can", "stage", "guard", "err", err)
		}
		g.failing = true
		return
	}
	g.failing = false
	began, unknown, flags, stands := time.Now(), map[triggerAt]time.Time{}, []FlagStatus{}, map[[2]string]bool{}
	for _, f := range state.Flags() {
		triggers := Triggers(f)
		for _, t := range triggers {
			stands[[2]string{f.Name, t.Name}] = true
		}
		if len(triggers) > 0 {
			flags = append(flags, g.guard(ctx, f, now, unknown))
		}
	}
	g.unknown = unknown
	g.forget()
	g.looked(now, time.Since(began), flags, stands)
}

// Triggers are those that a flag may be taken back by where it is.
func Triggers(f *registry.Standing) []schemas.Trigger {
	if !f.Evaluated() || f.Killed != nil || f.Rollout.Migration == "" {
		return nil
	}
	return f.Rollout.Rollback.Triggers[f.Flag.Place().Stage]
}

// guard takes a flag back if one of its triggers says so, and says how it stands.
func (g *Guard) guard(ctx context.Context, f *registry.Standing, now time.Time, unknown map[triggerAt]time.Time) FlagStatus {
	status := FlagStatus{Flag: f.Name, Lost: -1}
	m := g.followed(ctx, f.Rollout, now)
	m.mu.Lock()
	retreat, ok := g.decide(&m.history, f, now, unknown)
	m.mu.Unlock()
	if !ok {
		return status
	}
	allowed, lost := g.allowed(ctx, f, &retreat, now)
	status.Lost = lost
	switch allowed {
	case goes:
		g.goBack(ctx, f, retreat, now)
	case holds:
		status.Held = true
		g.hold(ctx, f, retreat, now)
	}
	return status
}

// goBack writes a rollback.
func (g *Guard) goBack(ctx context.Context, f *registry.Standing, retreat rollout.Retreat, now time.Time) {
	state, _, err := g.cfg.Registry.Submit(ctx, registry.Event{At: now.UTC(), Who: g.cfg.Who, Why: retreat.Sentence(), Changes: []registry.Change{{
		Flag: f.Name, Op: registry.Rollback, Base: f.Revision, To: retreat.To, Keys: retreat.Keys, Trigger: retreat.Trigger, Measured: &retreat.Measured, Results: retreat.Results}}})
	switch {
	case errors.Is(err, registry.ErrVoid):
		g.cfg.Logger.Info("somebody was faster", "stage", "guard", "flag", f.Name, "err", err)
	case err != nil && ctx.Err() == nil:
		g.cfg.Logger.Error("a rollout is not taken back yet; trying again", "stage", "guard", "flag", f.Name, "err", err)
	case err == nil:
		g.reverted(f.Name, retreat.Trigger)
		g.cfg.Logger.Warn("a rollout was taken back", "stage", "guard", "flag", f.Name, "from", retreat.From, "to", retreat.To, "keys", len(retreat.Keys), "why", retreat.Why, "loses", retreat.Loses)
		if g.cfg.Done != nil {
			g.cfg.Done(state.Flag(f.Name), retreat)
		}
	}
}

// decide judges all of a flag's triggers; the first that says so takes it back.
func (g *Guard) decide(h *measure.History, f *registry.Standing, now time.Time, unknown map[triggerAt]time.Time) (first rollout.Retreat, back bool) {
	for _, t := range Triggers(f) {
		at := triggerAt{f.Name, t.Name, f.Revision}
		r, verdict := Judge(h, f, &t, now)
		pulls, since := verdict == rollout.Pass, time.Time{}
		if verdict == rollout.Unknown {
			if since = g.unknown[at]; since.IsZero() {
				since = now
			}
			unknown[at] = since
			pulls = t.UnknownFor != 0 && now.Sub(since) >= t.UnknownFor
		}
		g.judged(at, verdict, pulls, since)
		if pulls && r.To != "" && !back {
			first, back = r, true
		}
	}
	return first, back
}

// Judge judges a trigger of a flag by what was measured up to a moment, and says where it
// would take the flag; nowhere, if there is no way back.
func Judge(h *measure.History, f *registry.Standing, t *schemas.Trigger, now time.Time) (rollout.Retreat, rollout.Verdict) {
	since := f.Placed.Add(f.Rollout.Rollback.Grace)
	m := h.MeasuredLately(f.Name, t.Criteria, now, since)
	verdict, results := rollout.Pull(t, m)
	r := rollout.Retreat{Rollout: f.Name, From: f.Flag.Place().String(), Trigger: t.Name, Measured: m, Results: results, Why: rollout.Explain(t, results)}
	var prior rollout.Place
	if f.Prior != nil {
		prior = *f.Prior
	}
	opened := opened(h, t, now, since)
	to, ok := rollout.Backward(f.Flag, t, prior, opened.Keys, opened.Whole)
	if ok {
		r.To = to.String()
	}
	if to.Stage == schemas.StageRamp || returnedLately(f, now) { // what was added alone, or what is left
		return r, verdict
	}
	if keys := rollout.Confined(f.Flag, t, opened); keys != nil {
		r.To, r.Keys = f.Flag.Return(keys).Place().String(), keys
		r.Why += fmt.Sprintf("; all %d divergences are of %d keys, which go back alone", opened.Count, len(keys))
	}
	return r, verdict
}

// returnedLately says whether keys went back alone within the cooldown: if a trigger holds
// again, that was not all.
func returnedLately(f *registry.Standing, now time.Time) bool {
	return len(f.Returned) > 0 && f.RolledBack != nil && now.Before(f.RolledBack.At.Add(f.Rollout.Rollback.Cooldown))
}

// opened is what diverged of what a trigger looks at.
func opened(h *measure.History, t *schemas.Trigger, now, since time.Time) rollout.Opened {
	sum := h.Lately(now, measure.Windows(t.Criteria), since)
	if sum == nil {
		return rollout.Opened{}
	}
	return rollout.Opened{Keys: sum.Opened, Count: sum.Diverged, Whole: sum.OpenedMore == 0}
}

// retryAfter is how long a guard waits before it follows a migration anew.
const retryAfter = time.Second

// followed is what is known of a rollout's migration; it is followed from now on.
func (g *Guard) followed(ctx context.Context, r *schemas.Rollout, now time.Time) *followed {
	if m := g.of[r.Migration]; m != nil {
		return m
	}
	m := &followed{}
	g.of[r.Migration] = m
	g.follows.Go(func() { g.follow(ctx, r.Migration, now.Add(-Longest(r)), m) })
	return m
}

// Longest is how far back a rollout's triggers look.
func Longest(r *schemas.Rollout) (window time.Duration) {
	for _, triggers := range r.Rollback.Triggers {
		for _, t := range triggers {
			window = max(window, measure.Windows(t.Criteria))
		}
	}
	return window
}

// follow follows a migration until ctx ends. Where it has to begin anew it goes on behind
// what it has.
func (g *Guard) follow(ctx context.Context, migration string, since time.Time, m *followed) {
	failing := false
	for ctx.Err() == nil {
		err := g.cfg.Follow(ctx, migration, since, func(r *measure.Record) {
			failing = false
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.history.Has(r) {
				return // read again
			}
			m.history.Add(r)
			if r.Reporter == "" { // an application's clock may be ahead
				since = r.To
			}
		})
		if err != nil && !failing && ctx.Err() == nil {
			g.cfg.Logger.Error("what a migration measures cannot be followed; trying again", "stage", "guard", "migration", migration, "err", err)
			failing = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
}
