package guard

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/undo"
)

// ramped is a registry whose flag came to ramp 50% at day, with a limit to what may be lost.
func ramped(t *testing.T, maxLost string) *topic {
	t.Helper()
	r := &topic{state: registry.NewState()}
	file := strings.Replace(head, "  cooldown: 10m\n", "  cooldown: 10m\n"+maxLost+"  ramp:\n    - {name: burning, when: divergence > 0.01, windows: [1m]}\n", 1)
	for i, stage := range []string{"off", "shadow", "dual_write", "shadow_read", "ramp"} {
		text := file + "stage: \"" + stage + "\"\n"
		if stage == "ramp" {
			text += "ramp: 50%\n"
		}
		_, out, err := r.Submit(t.Context(), registry.Event{At: day, Who: "ann", Why: "x", Changes: []registry.Change{{Flag: "orders", Op: registry.Define, Base: uint64(i),
			Definition: text, WithoutEvidence: true}}})
		if err != nil {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	return r
}

// costing is a guard whose trigger holds from 40 s after day on, and that asks cost, which waits
// until it is to answer.
func costing(t *testing.T, r *topic, cost func(ctx context.Context) (*undo.Report, error)) (g *Guard, look func(after time.Duration) string, answer func()) {
	t.Helper()
	g, m := guarded(r)
	turn := make(chan struct{})
	if cost != nil {
		g.cfg.Cost = func(ctx context.Context, f *registry.Standing, to *rollout.Flag) (*undo.Report, error) {
			if f.Name != "orders" || to.Place().String() != "shadow_read" {
				t.Errorf("asked for %s to %s", f.Name, to.Place())
			}
			select {
			case <-turn:
			case <-ctx.Done():
			}
			return cost(ctx)
		}
	}
	for after := 10 * time.Second; after <= 30*time.Second; after += 10 * time.Second {
		m.add(after, nil)
	}
	for after := 40 * time.Second; after <= 5*time.Minute; after += 10 * time.Second {
		m.add(after, diverging)
	}
	return g, func(after time.Duration) string {
			t.Helper()
			g.look(t.Context(), day.Add(after))
			return r.place()
		}, func() {
			turn <- struct{}{}
			<-g.answers
		}
}

func losing(n int64) *undo.Report {
	return &undo.Report{Since: &day, Cost: undo.Cost{Keys: 10, Lost: n, Oldest: &day, Frontier: day}, LagMs: 1500}
}

// "Before a rollback: what would be lost": it is in the rollback's event, and what takes too
// long to find out does not keep a rollback that nothing limits.
func TestARollbackSaysWhatItLoses(t *testing.T) {
	r := ramped(t, "")
	_, look, answer := costing(t, r, func(context.Context) (*undo.Report, error) { return losing(3), nil })
	look(41 * time.Second)
	answer()
	if at := look(42 * time.Second); at != "shadow_read" {
		t.Fatalf("it is at %s", at)
	}
	why := r.state.Flag("orders").RolledBack.Why
	if !strings.HasPrefix(why, "burning (divergence > 0.01): over 1m0s") ||
		!strings.HasSuffix(why, "; going back loses what 3 of 10 keys are on the target alone, the oldest since 2026-11-23T10:00:00Z; legacy was read up to 1.5 s ago") {
		t.Errorf("it says %s", why)
	}

	r = ramped(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	g, look, _ := costing(t, r, func(asking context.Context) (*undo.Report, error) {
		<-asking.Done() // a log that does not end
		ended <- asking.Err()
		return nil, asking.Err()
	})
	g.look(ctx, day.Add(41*time.Second))
	if at := look(41*time.Second + DefaultCostWithin - time.Millisecond); at != "ramp 50%" {
		t.Fatalf("it did not wait for the answer, and is at %s", at)
	}
	if at := look(41*time.Second + DefaultCostWithin); at != "shadow_read" || !strings.HasSuffix(r.state.Flag("orders").RolledBack.Why, "; what that loses was not known within 2s") {
		t.Fatalf("it is at %s: %+v", at, r.state.Flag("orders").RolledBack)
	}
	look(46 * time.Second) // nobody has a use for the answer any more
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	cancel()
	g.asking.Wait()
}

// Where the file says how many keys' values may be lost, nothing goes back by itself that loses
// more, or of which that is not certain: the flag is held, once, and goes back when legacy has
// caught up.
func TestBeyondTheLimitItHoldsAndDoesNotGoBack(t *testing.T) {
	uncertain := losing(0)
	uncertain.Uncertain = []string{"2 records cannot be read"}
	for name, c := range map[string]struct {
		report *undo.Report
		err    error
		says   string
	}{
		"more":        {losing(3), nil, "going back loses what 3 of 10 keys are on the target alone"},
		"not certain": {uncertain, nil, "not certain: 2 records cannot be read; the file allows 2 to be lost"},
		"not known":   {nil, errors.New("the log is away"), "what that loses is not known: the log is away; the file allows 2 to be lost"},
		"no way back": {&undo.Report{NoReturn: "legacy is not written since then"}, nil, "there is no way back: legacy is not written since then"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ramped(t, "  maxLost: 2\n")
			report, err, held := c.report, c.err, 0
			g, look, answer := costing(t, r, func(context.Context) (*undo.Report, error) { return report, err })
			g.cfg.Held = func(f *registry.Standing, r rollout.Retreat) {
				if held++; f.Name != "orders" || r.To != "shadow_read" || !strings.Contains(r.Loses, c.says) {
					t.Errorf("have %+v", r)
				}
			}
			look(41 * time.Second)
			answer()
			for after := 42 * time.Second; after < 60*time.Second; after += time.Second {
				if at := look(after); at != "ramp 50%" {
					t.Fatalf("it is at %s", at)
				}
			}
			f := r.state.Flag("orders")
			if len(f.Objections) != 1 || held != 1 || f.Objections[0].Who != "guard" || !strings.HasPrefix(f.Objections[0].Why, "it does not go back to shadow_read by itself: burning") ||
				!strings.Contains(f.Objections[0].Why, c.says) {
				t.Fatalf("held %d times: %+v", held, f.Objections)
			}
			report, err = losing(2), nil
			look(72 * time.Second) // the answer is old: it asks again
			answer()
			if at := look(73 * time.Second); at != "shadow_read" {
				t.Fatalf("legacy has caught up, and it is at %s", at)
			}
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		r := ramped(t, "  maxLost: 2\n")
		if _, look, _ := costing(t, r, nil); look(41*time.Second) != "ramp 50%" || len(r.state.Flag("orders").Objections) != 1 {
			t.Errorf("have %+v", r.state.Flag("orders"))
		}
	})
}

// Where legacy has authority for all keys nothing can be lost, and nobody is asked.
func TestWhatLosesNothingIsNotAskedFor(t *testing.T) {
	r := stands(t)
	g, m := guarded(r)
	g.cfg.Cost = func(context.Context, *registry.Standing, *rollout.Flag) (*undo.Report, error) {
		t.Error("somebody asked")
		return nil, nil
	}
	m.add(30*time.Second, nil)
	m.add(40*time.Second, func(r *measure.Record) { diverging(r) })
	if g.look(t.Context(), day.Add(41*time.Second)); r.place() != "shadow" {
		t.Errorf("it is at %s", r.place())
	}
}
