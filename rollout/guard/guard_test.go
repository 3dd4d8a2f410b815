package guard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

var day = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// topic is a registry in memory: what stands is what registry.State makes of its records.
type topic struct {
	mu    sync.Mutex
	state *registry.State
	n     int
	fails int // so many calls
	voids int
}

func (r *topic) Load(context.Context) (*registry.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails > 0 {
		r.fails--
		return nil, errors.New("away")
	}
	return r.state.Clone(), nil
}

func (r *topic) Submit(_ context.Context, e registry.Event) (*registry.State, registry.Outcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	e.Version, e.ID = registry.Version, fmt.Sprint(r.n)
	value, err := e.Encode()
	if err != nil {
		return nil, registry.Outcome{}, err
	}
	out := r.state.Apply(r.state.Next, value)
	if out.Effect != registry.Effective {
		r.voids++
		return r.state.Clone(), out, registry.ErrVoid
	}
	return r.state.Clone(), out, nil
}

const head = `apiVersion: trueup/v1
kind: Rollout
metadata: {name: orders, owner: team}
description: Orders move.
controls: routing
intent: permanent
migration: orders
safeStage: "off"
rollback:
  cooldown: 10m
  grace: 20s
  dual_write:
    - {name: burning, when: divergence > 0.01, windows: [5m, 1m], minSamples: 20}
    - {name: blind, when: target_lag_ms > 60000, windows: [1m], unknownFor: 2m, to: "off"}
  shadow:
    - {name: any, when: open_divergences > 0, windows: [1m]}
`

// stands is a registry whose flag came to dual_write at day.
func stands(t *testing.T) *topic {
	t.Helper()
	r := &topic{state: registry.NewState()}
	for i, stage := range []string{"off", "shadow", "dual_write"} {
		_, out, err := r.Submit(t.Context(), registry.Event{At: day, Who: "ann", Why: "x", Changes: []registry.Change{{Flag: "orders", Op: registry.Define, Base: uint64(i),
			Definition: head + "stage: \"" + stage + "\"\n", WithoutEvidence: true}}})
		if err != nil {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	return r
}

func (r *topic) place() string { return r.state.Flag("orders").Flag.Place().String() }

// guarded is a guard over a history that the test writes, without goroutines of its own.
func guarded(r *topic) (*Guard, *followed) {
	m := &followed{}
	g := New(Config{Registry: r})
	g.of["orders"] = m
	return g, m
}

// add writes a record of ten seconds that ends so long after day.
func (m *followed) add(after time.Duration, change func(*measure.Record)) {
	to := day.Add(after)
	r := measure.Record{Version: measure.Version, Run: "a", From: to.Add(-10 * time.Second), To: to, Frontier: to, Looks: 10, LegacyWrites: 100}
	if change != nil {
		change(&r)
	}
	m.history.Add(&r)
}

func diverging(r *measure.Record) { r.Diverged, r.Open = 10, 1 }

// What is found within the grace is not held against the place; behind it, it takes the
// flag back as soon as it is read, and one place at a time.
func TestATriggerTakesBack(t *testing.T) {
	r := stands(t)
	g, m := guarded(r)
	look := func(after time.Duration) string {
		g.look(t.Context(), day.Add(after))
		return r.place()
	}
	m.add(10*time.Second, diverging)
	m.add(20*time.Second, diverging)
	if at := look(21 * time.Second); at != "dual_write" {
		t.Fatalf("what was found at once took it to %s", at)
	}
	m.add(30*time.Second, nil)
	if at := look(31 * time.Second); at != "dual_write" {
		t.Fatalf("what is well took it to %s", at)
	}
	m.add(40*time.Second, diverging)
	if at := look(41 * time.Second); at != "shadow" {
		t.Fatalf("it is at %s", at)
	}
	f := r.state.Flag("orders")
	if f.RolledBack.Who != "guard" || !strings.HasPrefix(f.RolledBack.Why, "burning (divergence > 0.01): over 5m0s divergence is 0.05; over 1m0s divergence is 0.05") {
		t.Errorf("have %+v", f.RolledBack)
	}
	m.add(50*time.Second, diverging)
	m.add(60*time.Second, diverging)
	if at := look(61 * time.Second); at != "shadow" {
		t.Fatalf("what shadow has inherited took it to %s", at)
	}
	m.add(70*time.Second, nil)
	if at := look(71 * time.Second); at != "shadow" {
		t.Fatalf("what is well took it to %s", at)
	}
	m.add(80*time.Second, diverging)
	if at := look(81 * time.Second); at != "off" || r.voids != 0 {
		t.Fatalf("it is at %s, %d void", at, r.voids)
	}
	if look(82*time.Second) != "off" {
		t.Error("from off there is no way back")
	}
}

// Any number of guards may run: what they decide on one revision has one effect.
func TestI33_GuardsAreIdempotent(t *testing.T) {
	r := stands(t)
	var guards []*Guard
	for range 4 {
		g, m := guarded(r)
		for after := 10 * time.Second; after <= time.Minute; after += 10 * time.Second {
			m.add(after, diverging)
		}
		guards = append(guards, g)
	}
	var group sync.WaitGroup
	for _, g := range guards {
		group.Go(func() { g.look(t.Context(), day.Add(61*time.Second)) })
	}
	group.Wait()
	if f := r.state.Flag("orders"); r.place() != "shadow" || f.Revision != 4 {
		t.Fatalf("it is at %s, revision %d", r.place(), f.Revision)
	}
}

// "Unknown data never rolls forward, and what unknown does to a rollback is declared."
func TestI34_UnknownTakesBackOnlyWhereTheFileSaysSo(t *testing.T) {
	r := stands(t)
	g, m := guarded(r)
	m.add(10*time.Second, nil)
	for after := time.Second; after < 2*time.Minute+70*time.Second; after += time.Second { // the last record gets too old at 70 s
		if g.look(t.Context(), day.Add(after)); r.place() != "dual_write" {
			if t.Logf("after %s", after); after < 2*time.Minute {
				t.Fatalf("it is at %s after %s", r.place(), after)
			}
			break
		}
	}
	if r.place() != "off" { // by blind, which says so; not by burning, which would have taken it to shadow
		t.Fatalf("it is at %s", r.place())
	}
	r = stands(t)
	g, m = guarded(r)
	for after := 10 * time.Second; after < 10*time.Minute; after += 10 * time.Second {
		r.fails = int(after/(10*time.Second)) % 2 // a registry that is away now and then
		m.add(after, nil)
		if g.look(t.Context(), day.Add(after+time.Second)); r.place() != "dual_write" {
			t.Fatalf("what is known took it to %s after %s", r.place(), after)
		}
	}
}

// A hole is no reason to wait: what has gone wrong behind it has.
func TestARestartDoesNotBlind(t *testing.T) {
	r := stands(t)
	g, m := guarded(r)
	for after := 10 * time.Second; after <= 2*time.Minute; after += 10 * time.Second {
		m.add(after, nil)
	}
	anew := func(r *measure.Record) { r.Run = "b"; diverging(r) }
	m.add(3*time.Minute, anew)
	g.look(t.Context(), day.Add(3*time.Minute+time.Second))
	if r.place() != "shadow" {
		t.Fatalf("it is at %s", r.place())
	}
	f := r.state.Flag("orders")
	if !strings.Contains(f.RolledBack.Why, "over 5m0s divergence is 0.1;") {
		t.Errorf("have %s", f.RolledBack.Why)
	}
}

// Run follows what is measured, anew where that fails, and ends with its context.
func TestRunFollows(t *testing.T) {
	r := stands(t)
	r.state.Flag("orders").Placed = time.Now().Add(-time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	calls := make(chan string, 100)
	done := make(chan rollout.Retreat, 1)
	g := New(Config{Registry: r, Every: time.Millisecond, Who: "night guard",
		Done: func(f *registry.Standing, r rollout.Retreat) { done <- r },
		Follow: func(ctx context.Context, migration string, since time.Time, fn func(*measure.Record)) error {
			if calls <- migration; len(calls) == 1 {
				return errors.New("away")
			}
			now := time.Now()
			fn(&measure.Record{Version: measure.Version, Run: "a", From: now.Add(-time.Minute), To: now, Frontier: now, Looks: 60, LegacyWrites: 100, Diverged: 50})
			<-ctx.Done()
			return nil
		}})
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	if have := <-done; have.From != "dual_write" || have.To != "shadow" || have.Trigger != "burning" || len(have.Results) != 2 {
		t.Errorf("have %+v", have)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if f := r.state.Flag("orders"); f.Changed.Who != "night guard" || f.Rollout.Stage != schemas.StageDualWrite {
		t.Errorf("have %+v", f.Changed)
	}
}
