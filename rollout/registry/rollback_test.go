package registry

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

func rolledBack(base uint64, to string) Change {
	return Change{Flag: "a", Op: Rollback, Base: base, To: to, Trigger: "burning"}
}

// The first of two guards takes the flag back, the other changes nothing; it stays there
// until a definition is applied, which goes forward from there, and only once it has cooled
// down or somebody takes it upon himself.
func TestI33_ARollbackHasOneEffect(t *testing.T) {
	s, revision := moved(t)
	epoch := s.Flag("a").Epoch
	if !s.Flag("a").Crossed.Equal(day) {
		t.Fatal("the target has authority, and nobody knows since when")
	}
	first := apply(t, s, event("guard 1", rolledBack(revision, "shadow_read")))
	second := apply(t, s, event("guard 2", rolledBack(revision, "shadow_read")))
	f := s.Flag("a")
	if first.Effect != Effective || second.Effect != Conflict || f.Revision != revision+1 || f.Epoch != epoch+1 ||
		f.Flag.Place().Stage != schemas.StageShadowRead || f.RolledBack.Event != "guard 1" || !f.Placed.Equal(day) {
		t.Fatalf("have %+v, %+v, %+v", first, second, f)
	}
	if rollout.Evaluate(f.Flag, []string{"42"}).Authority() != schemas.Legacy || !f.Crossed.IsZero() {
		t.Fatal("legacy has no authority")
	}
	ramp := file("a", "ramp", "dual_write", "ramp: 100%")
	r, err := schemas.ParseRollout([]byte(ramp), "a")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(s, []Definition{{Source: ramp, Rollout: r}}, day)
	if step := plan.Step("a"); err != nil || step.Action != Move || step.From != "shadow_read" || step.To != "ramp 100%" || !step.Forward {
		t.Fatalf("the same file again: %+v, %v", step, err)
	}
	again := Change{Flag: "a", Op: Define, Base: revision + 1, Definition: ramp, Measured: &rollout.Measured{At: day}}
	if out := apply(t, s, event("again", again)); out.Effect != Refused || !strings.Contains(out.Reason, "cools down until 2026-11-23T10:30:00Z") {
		t.Fatalf("have %+v", out)
	}
	later := event("later", again)
	later.At = day.Add(schemas.DefaultCooldown)
	if out := apply(t, s, later); out.Effect != Refused || strings.Contains(out.Reason, "cools down") {
		t.Fatalf("have %+v", out)
	}
	if out := apply(t, s, event("takes it upon herself", defined("a", revision+1, ramp))); out.Effect != Effective || s.Flag("a").Back != nil ||
		s.Flag("a").Flag.Place().String() != "ramp 100%" || s.Flag("a").Prior.Stage != schemas.StageShadowRead {
		t.Fatalf("have %+v, %+v", out, s.Flag("a"))
	}
}

// "Halt and rollback always allowed", and a rollback takes nothing forward: from any place
// to any other, it has an effect exactly where it goes back.
func TestI34_ARollbackNeverGoesForward(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewState()
		stages := schemas.RolloutStages[:rapid.IntRange(1, 5).Draw(t, "stages")]
		for i, stage := range stages {
			more := ""
			if stage == schemas.StageRamp {
				more = "ramp: 50%"
			}
			apply(t, s, event(stage.String(), defined("a", uint64(i), file("a", `"`+stage.String()+`"`, `"off"`, more))))
		}
		was := s.Flag("a")
		to := rollout.Place{Stage: rapid.SampledFrom(schemas.RolloutStages).Draw(t, "to")}
		if to.Stage == schemas.StageRamp {
			to.Ramp = schemas.RampShare(rapid.IntRange(0, 100_000).Draw(t, "share"))
		}
		back := to.Stage < was.Flag.Place().Stage || to.Stage == schemas.StageRamp && to.Stage == was.Flag.Place().Stage && to.Ramp < was.Flag.Place().Ramp
		out := apply(t, s, event("back", rolledBack(was.Revision, to.String())))
		is := s.Flag("a")
		if back != (out.Effect == Effective) || back && is.Flag.Place() != to || !back && is != was {
			t.Fatalf("from %s to %s: %+v", was.Flag.Place(), to, out)
		}
		key := []string{rapid.String().Draw(t, "key")}
		if rollout.Evaluate(was.Flag, key).Authority() == schemas.Legacy && rollout.Evaluate(is.Flag, key).Authority() == schemas.Target {
			t.Fatalf("%q is given to the target", key)
		}
	})
}

// A process that is lost is no further than what took the flag back says.
func TestSafeStageAfterARollback(t *testing.T) {
	s, revision := moved(t)
	apply(t, s, event("primary", defined("a", revision, file("a", "target_primary", "target_primary"))))
	apply(t, s, event("back", rolledBack(revision+1, "dual_write")))
	f := s.Flag("a")
	if d := rollout.EvaluateStale(f.Flag, []string{"42"}); d.Authority() != schemas.Legacy || d.Stage != schemas.StageDualWrite {
		t.Fatalf("have %+v", d)
	}
	apply(t, s, event("kill", Change{Flag: "a", Op: Kill}))
	if f := s.Flag("a"); f.Flag.Place().Stage != schemas.StageDualWrite {
		t.Fatalf("killed, it is at %s", f.Flag.Place())
	}
	if out := apply(t, s, event("revive", Change{Flag: "a", Op: Revive, Base: revision + 3})); out.Effect != Effective || s.Flag("a").Flag.Place().Stage != schemas.StageDualWrite {
		t.Fatalf("have %+v, at %s", out, s.Flag("a").Flag.Place())
	}
}

func TestEventsOfRollbacksAreWhole(t *testing.T) {
	for _, bad := range []Change{{Flag: "a", Op: Rollback, Base: 1}, {Flag: "a", Op: Rollback, Base: 1, To: "off", WithoutEvidence: true}, {Flag: "a", Op: Kill, To: "off"},
		{Flag: "a", Op: Revive, Base: 1, To: "off"}} {
		e := event("x", bad)
		if e.validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	e := event("x", rolledBack(1, "off"))
	if e.Version = 1; e.validate() == nil {
		t.Error("an older Trueup would not know it is newer")
	}
	s, revision := moved(t)
	for _, to := range []string{"nowhere", "ramp", "off 5%"} {
		if out := apply(t, s, event("x", rolledBack(revision, to))); out.Effect != Damaged || !s.Flag("a").Placed.Equal(day) {
			t.Errorf("%s: %+v", to, out)
		}
	}
	if e := (&Event{Changes: []Change{{Op: Define}}}); e.version() != 1 {
		t.Error("what needs no newer version has one")
	}
}
