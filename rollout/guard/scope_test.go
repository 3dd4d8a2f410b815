package guard

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/undo"
	"github.com/trueup-io/trueup/schemas"
)

// tenants are keys that the target has at ramp 50%.
func tenants(r *topic, n int) (keys [][]string) {
	for i := 0; len(keys) < n; i++ {
		key := []string{"tenant-" + string(rune('a'+i))}
		if rollout.Evaluate(r.state.Flag("orders").Flag, key).Authority() == schemas.Target {
			keys = append(keys, key)
		}
	}
	return keys
}

// "It restores the prior stage, scoped to the diverging tenant or range where possible": a
// tenant whose rows diverge goes back alone, and what that loses is asked of it alone; if it
// goes on, all go back; and later another tenant can.
func TestATenantGoesBackAlone(t *testing.T) {
	r := ramped(t, "")
	g, m := guarded(r)
	of := tenants(r, 3)
	asked := ""
	g.cfg.Cost = func(_ context.Context, f *registry.Standing, to *rollout.Flag) (*undo.Report, error) {
		asked = to.Place().String()
		for i, key := range of {
			if rollout.Evaluate(to, key).Authority() == schemas.Legacy {
				asked += " " + string(rune('a'+i))
			}
		}
		return losing(1), nil
	}
	var done []rollout.Retreat
	g.cfg.Done = func(_ *registry.Standing, r rollout.Retreat) { done = append(done, r) }
	look := func(after time.Duration) *registry.Standing {
		t.Helper()
		g.look(t.Context(), day.Add(after))
		g.asking.Wait()
		g.look(t.Context(), day.Add(after+time.Millisecond))
		return r.state.Flag("orders")
	}
	diverges := func(keys ...[]string) func(*measure.Record) {
		return func(r *measure.Record) { r.Diverged, r.Opened = uint64(5*len(keys)), keys }
	}
	authority := func(f *registry.Standing) (out string) {
		for _, key := range of {
			out += rollout.Evaluate(f.Flag, key).Authority().String()[:1]
		}
		return out
	}
	m.add(30*time.Second, nil)
	m.add(40*time.Second, diverges(of[0]))
	f := look(41 * time.Second)
	if f.Flag.Place().String() != "ramp 50%" || authority(f) != "ltt" || asked != "ramp 50% a" || len(done) != 1 || len(done[0].Keys) != 1 ||
		!strings.Contains(f.RolledBack.Why, "; all 5 divergences are of 1 keys, which go back alone; going back loses ") {
		t.Fatalf("it is at %s, %s, asked of %s: %+v", f.Flag.Place(), authority(f), asked, f.RolledBack)
	}
	for after := 50 * time.Second; after <= 70*time.Second; after += 10 * time.Second {
		m.add(after, diverges(of[1])) // the grace of the rollback
	}
	if f = look(71 * time.Second); authority(f) != "ltt" {
		t.Fatalf("have %s", authority(f))
	}
	m.add(80*time.Second, diverges(of[1]))
	if f = look(81 * time.Second); f.Flag.Place().String() != "shadow_read" || authority(f) != "lll" || asked != "shadow_read a b c" || len(f.Returned) != 0 {
		t.Fatalf("it goes on within the cooldown, and is at %s, %s, asked of %s", f.Flag.Place(), authority(f), asked)
	}

	r = ramped(t, "")
	g, m = guarded(r)
	m.add(30*time.Second, nil)
	m.add(40*time.Second, diverges(of[0]))
	g.look(t.Context(), day.Add(41*time.Second))
	cool := day.Add(41 * time.Second).Add(10 * time.Minute).Sub(day) // the file's cooldown
	m.add(cool+10*time.Second, nil)
	m.add(cool+20*time.Second, diverges(of[1]))
	g.look(t.Context(), day.Add(cool+21*time.Second))
	if f := r.state.Flag("orders"); f.Flag.Place().String() != "ramp 50%" || authority(f) != "llt" || len(f.Returned) != 2 {
		t.Fatalf("it is at %s, %s", f.Flag.Place(), authority(f))
	}
}

// What diverges all over takes back all, and so does what is only beginning to.
func TestWhatIsNotConfinedGoesBackWhole(t *testing.T) {
	for name, change := range map[string]func(*measure.Record){
		"of many":   func(r *measure.Record) { r.Diverged, r.Opened, r.OpenedMore = 100, [][]string{{"tenant-a"}}, 7 },
		"of nobody": func(r *measure.Record) { r.Diverged = 100 },
		"of few":    func(r *measure.Record) { r.Diverged = 4 },
	} {
		r := ramped(t, "")
		g, m := guarded(r)
		m.add(30*time.Second, nil)
		m.add(40*time.Second, func(r *measure.Record) {
			if change(r); name == "of few" {
				r.Opened = tenants(ramped(t, ""), 1)
			}
		})
		if g.look(t.Context(), day.Add(41*time.Second)); r.place() != "shadow_read" {
			t.Errorf("%s: it is at %s", name, r.place())
		}
	}
}
