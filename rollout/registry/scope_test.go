package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// ramped is a registry whose flag is at the ramp.
func ramped(t interface{ Fatal(...any) }, ramp string, more ...string) (*State, *Standing) {
	s := NewState()
	for i, stage := range []string{`"off"`, "shadow", "dual_write", "shadow_read"} {
		apply(t, s, event(stage, defined("a", uint64(i), file("a", stage, `"off"`, more...))))
	}
	if out := apply(t, s, event("ramp", defined("a", 4, file("a", "ramp", `"off"`, append(more, "ramp: "+ramp)...)))); out.Effect != Effective {
		t.Fatal(out)
	}
	return s, s.Flag("a")
}

func returned(f *Standing, to string, keys ...[]string) Change {
	return Change{Flag: "a", Op: Rollback, Base: f.Revision, To: to, Keys: keys, Trigger: "burning"}
}

// A rollback of keys alone gives exactly these to legacy, whatever the ramp, the pins and what went
// back before; what the log of the migration is told gives every key the same authority; and a
// smaller share after it gives none of them to the target again.
func TestI34_KeysGoBackAloneAndNoOtherMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.IntRange(1, 100).Draw(t, "share")
		s, was := ramped(t, fmt.Sprintf("%d%%", share), `pins: {target: ["p1", "p2"], legacy: ["p3"]}`)
		all := [][]string{{"p1"}, {"p2"}, {"p3"}}
		for i := range 40 {
			all = append(all, []string{fmt.Sprint(i), "x"}[:1+i%2])
		}
		gone := map[string]bool{}
		for round := range rapid.IntRange(1, 3).Draw(t, "rounds") {
			var keys [][]string
			for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 1, 4, rapid.ID).Draw(t, "keys") {
				keys = append(keys, all[i])
			}
			legacys := slices.ContainsFunc(keys, func(key []string) bool { return rollout.Evaluate(was.Flag, key).Authority() == schemas.Legacy })
			out := apply(t, s, event(fmt.Sprint("back", round), returned(was, was.Flag.Place().String(), keys...)))
			is := s.Flag("a")
			if legacys != (out.Effect == Refused) || legacys && is != was {
				t.Fatalf("of %q: %+v", keys, out)
			}
			if legacys {
				continue
			}
			for _, key := range keys {
				gone[fmt.Sprint(key)] = true
			}
			if is.Epoch != was.Epoch+1 || is.Flag.Place() != was.Flag.Place() || is.Crossed != was.Crossed {
				t.Fatalf("have %+v", is)
			}
			placed := is.Control().Placed()
			for _, key := range all {
				before, after := rollout.Evaluate(was.Flag, key).Authority(), rollout.Evaluate(is.Flag, key).Authority()
				want := before
				if gone[fmt.Sprint(key)] {
					want = schemas.Legacy
				}
				if after != want || placed.Authority(key) != after {
					t.Fatalf("%q was %s's, and is %s's, the log says %s's", key, before, after, placed.Authority(key))
				}
			}
			was = is
		}
		smaller := rapid.IntRange(0, share).Draw(t, "smaller")
		to := "shadow_read"
		if smaller > 0 && smaller < share {
			to = fmt.Sprintf("ramp %d%%", smaller)
		}
		if out := apply(t, s, event("whole", rolledBack(was.Revision, to))); out.Effect != Effective {
			t.Fatalf("%+v", out)
		}
		for _, key := range all {
			if rollout.Evaluate(was.Flag, key).Authority() == schemas.Legacy && rollout.Evaluate(s.Flag("a").Flag, key).Authority() == schemas.Target {
				t.Fatalf("%q is given to the target by a rollback", key)
			}
		}
	})
}

// The file that stood is a step forward for the keys that went back alone: its gate has to pass,
// and not within the cooldown; a file that keeps them at legacy changes nothing.
func TestWhatWentBackAloneGoesForwardByAGate(t *testing.T) {
	const gate = "migration: m"
	s, was := ramped(t, "100%", gate)
	if out := apply(t, s, event("back", returned(was, "ramp 100%", []string{"tenant", "7"}, []string{"42"}))); out.Effect != Effective {
		t.Fatal(out)
	}
	f := s.Flag("a")
	if len(f.Returned) != 2 || f.Back == nil || f.RolledBack.Event != "back" || f.Prior == nil || f.Prior.Stage != schemas.StageShadowRead {
		t.Fatalf("have %+v", f)
	}
	plan := func(text string) *Step {
		t.Helper()
		r, err := schemas.ParseRollout([]byte(text), "a")
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPlan(s, []Definition{{Source: text, Rollout: r}}, day)
		if err != nil {
			t.Fatal(err)
		}
		return p.Step("a")
	}
	same := file("a", "ramp", `"off"`, gate, "ramp: 100%")
	if step := plan(same); step.Action != Move || !step.Forward || !step.Fenced || step.Returned != 2 {
		t.Fatalf("have %+v", step)
	}
	again := Change{Flag: "a", Op: Define, Base: f.Revision, Definition: same, Measured: &rollout.Measured{At: day}}
	if out := apply(t, s, event("again", again)); out.Effect != Refused || !strings.Contains(out.Reason, "cools down until") {
		t.Fatalf("have %+v", out)
	}
	later := event("later", again)
	later.At = day.Add(schemas.DefaultCooldown)
	later.Changes[0].Measured = &rollout.Measured{At: later.At}
	if out := apply(t, s, later); out.Effect != Refused || !strings.Contains(out.Reason, "the gate before ramp 100% says unknown") {
		t.Fatalf("have %+v", out)
	}
	kept := file("a", "ramp", `"off"`, gate, "ramp: 100%", `pins: {legacy: ["42", ["tenant", "7"]]}`)
	if step := plan(kept); step.Action != Update || step.Forward || step.Returned != 0 {
		t.Fatalf("have %+v", step)
	}
	if out := apply(t, s, event("kept", Change{Flag: "a", Op: Define, Base: f.Revision, Definition: kept})); out.Effect != Effective {
		t.Fatalf("have %+v", out)
	}
	if f := s.Flag("a"); len(f.Returned) != 0 || f.Back != nil || f.Epoch != was.Epoch+1 || rollout.Evaluate(f.Flag, []string{"42"}).Authority() != schemas.Legacy {
		t.Fatalf("have %+v", f)
	}
}

// Where the target has all keys, some of them go back to beside the whole ramp.
func TestKeysGoBackAloneFromTargetPrimary(t *testing.T) {
	s, was := ramped(t, "100%")
	apply(t, s, event("primary", defined("a", was.Revision, file("a", "target_primary", "target_primary"))))
	was = s.Flag("a")
	for to, effect := range map[string]Effect{"target_primary": Refused, "ramp 50%": Refused, "shadow_read": Refused, "ramp": Damaged} {
		if out := apply(t, s, event("to "+to, returned(was, to, []string{"42"}))); out.Effect != effect {
			t.Errorf("to %s: %+v", to, out)
		}
	}
	if out := apply(t, s, event("back", returned(was, "ramp 100%", []string{"42"}))); out.Effect != Effective {
		t.Fatal(out)
	}
	f := s.Flag("a")
	if rollout.Evaluate(f.Flag, []string{"42"}).Authority() != schemas.Legacy || rollout.Evaluate(f.Flag, []string{"43"}).Authority() != schemas.Target ||
		f.Flag.Place().String() != "ramp 100%" || f.Crossed != was.Crossed {
		t.Fatalf("have %+v", f)
	}
	if out := apply(t, s, event("on", defined("a", f.Revision, file("a", "target_primary", "target_primary")))); out.Effect != Effective || s.Flag("a").Flag.Place().Stage != schemas.StageTargetPrimary ||
		rollout.Evaluate(s.Flag("a").Flag, []string{"42"}).Authority() != schemas.Target {
		t.Fatalf("have %+v", out)
	}
}

// An older Trueup passes over what it would take for a rollback of everything, and nothing
// gathers without end.
func TestEventsOfKeysAloneAreWhole(t *testing.T) {
	s, f := ramped(t, "100%")
	e := event("x", returned(f, "ramp 100%", []string{"1"}))
	if e.Version != 4 {
		t.Errorf("it has version %d", e.Version)
	}
	if e.Version = 3; e.validate() == nil {
		t.Error("an older Trueup would not know it is newer")
	}
	for name, bad := range map[string]Change{
		"a kill of keys":  {Flag: "a", Op: Kill, Keys: [][]string{{"1"}}},
		"more than a few": returned(f, "ramp 100%", slices.Repeat([][]string{{"1"}}, rollout.MaxReturned+1)...),
	} {
		if e := event("x", bad); e.validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if out := apply(t, s, event("empty", returned(f, "ramp 100%", []string{}))); out.Effect != Refused {
		t.Errorf("a key of nothing: %+v", out)
	}
	for n := 0; ; n++ {
		var keys [][]string
		for i := range rollout.MaxReturned {
			keys = append(keys, []string{fmt.Sprint(n, " ", i)})
		}
		out := apply(t, s, event(fmt.Sprint(n), returned(s.Flag("a"), "ramp 100%", keys...)))
		if out.Effect != Effective {
			if n != 8 || !strings.Contains(out.Reason, "128 keys have gone back alone already: take it back whole") {
				t.Fatalf("after %d: %+v", n, out)
			}
			break
		}
	}
	later := event("whole", rolledBack(s.Flag("a").Revision, "shadow_read"))
	later.At = day.Add(time.Minute)
	if apply(t, s, later); len(s.Flag("a").Returned) != 0 {
		t.Errorf("have %+v", s.Flag("a").Returned)
	}
}
