package rollout

import (
	"slices"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

func allAxes() (all []Axes) {
	for _, w := range []Writes{WriteLegacy, WriteShadow, WriteLegacyThenTarget, WriteTargetThenLegacy, WriteTarget, "both"} {
		for _, reads := range schemas.Sides {
			for _, c := range []Compared{CompareNothing, CompareWrites, CompareWritesAndReads, "all"} {
				for _, s := range []Synced{SyncNothing, SyncLegacyToTarget, SyncTargetToLegacy, "both"} {
					all = append(all, Axes{w, reads, c, s})
				}
			}
		}
	}
	return all
}

// Of all points on the four axes, those that Validate lets pass lose no write
// and read no stale value; each stage is one of them.
func TestStagesAreValidPoints(t *testing.T) {
	valid := 0
	for _, a := range allAxes() {
		if a.Validate() != nil {
			continue
		}
		valid++
		both := a.Writes != WriteLegacy && a.Writes != WriteTarget
		switch {
		case a.Writes == "both" || a.Compare == "all" || a.Sync == "both":
			t.Errorf("%+v has a word that there is not", a)
		case a.Reads == schemas.Target && (a.Writes == WriteLegacy || a.Writes == WriteShadow || a.Writes == WriteLegacyThenTarget):
			t.Errorf("%+v reads a follower", a)
		case a.Reads == schemas.Legacy && (a.Writes == WriteTarget || a.Writes == WriteTargetThenLegacy):
			t.Errorf("%+v reads a follower", a)
		case a.Compare != CompareNothing && !both:
			t.Errorf("%+v compares with a side that is not written", a)
		case a.Compare == CompareWritesAndReads && a.Writes == WriteShadow:
			t.Errorf("%+v compares an answer with one that may come later", a)
		case a.Sync == SyncLegacyToTarget && a.Reads != schemas.Legacy, a.Sync == SyncTargetToLegacy && a.Reads != schemas.Target:
			t.Errorf("%+v overwrites the authority", a)
		}
	}
	if valid != 20 {
		t.Errorf("%d points are valid", valid)
	}
	for _, s := range schemas.RolloutStages {
		for _, onTarget := range []bool{false, true} {
			if err := AxesOf(s, onTarget).Validate(); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
}

func flagAt(p Place) *Flag { return Ready(&schemas.Rollout{Salt: "s", Stage: p.Stage, Ramp: p.Ramp}) }

// places are all stages, and the ramp at shares where something begins or ends.
func places() (all []Place) {
	for _, s := range schemas.RolloutStages {
		all = append(all, Place{Stage: s})
	}
	for _, share := range []schemas.RampShare{1, 50_000, schemas.WholeRamp} {
		all = append(all, Place{schemas.StageRamp, share})
	}
	return all
}

// Over every pair of places: what the graph lets pass never skips a stage
// forward, never leaves complete, reads a side only that was written before,
// and is fenced exactly when some key's authority changes.
func TestGraph(t *testing.T) {
	axes := func(p Place) []Axes {
		switch {
		case p.Stage == schemas.StageRamp && p.Ramp == 0:
			return []Axes{AxesOf(p.Stage, false)}
		case p.Stage == schemas.StageRamp && p.Ramp < schemas.WholeRamp:
			return []Axes{AxesOf(p.Stage, false), AxesOf(p.Stage, true)}
		}
		return []Axes{AxesOf(p.Stage, true)}
	}
	steps := map[Place][]Place{}
	for _, from := range places() {
		for _, to := range places() {
			step, err := Step(flagAt(from), flagAt(to))
			if err != nil {
				continue
			}
			steps[from] = append(steps[from], to)
			if !slices.Contains(Next(from.Stage), to.Stage) && from.Stage != to.Stage {
				t.Errorf("%s to %s: Next has it not", from, to)
			}
			if step.Forward != (to.Stage > from.Stage || to.Stage == from.Stage && to.Ramp > from.Ramp) {
				t.Errorf("%s to %s: forward is %t", from, to, step.Forward)
			}
			changes := false
			for _, was := range axes(from) {
				for _, is := range axes(to) {
					changes = changes || was.Authority() != is.Authority()
					if _, ever := was.written(is.Reads); !ever {
						t.Errorf("%s to %s: %s is read, and had no writes before", from, to, is.Reads)
					}
				}
			}
			if from.Stage == schemas.StageRamp && to.Stage == from.Stage {
				changes = from.Ramp != to.Ramp
			}
			if step.Fenced != changes {
				t.Errorf("%s to %s: fenced is %t, authority changes: %t", from, to, step.Fenced, changes)
			}
		}
	}
	for _, from := range places() {
		switch back := slices.Contains(steps[from], Place{}); {
		case from.Stage == schemas.StageComplete:
			if len(steps[from]) > 0 {
				t.Errorf("from complete there is a way to %v", steps[from])
			}
		case from.Stage != schemas.StageOff && !back:
			t.Errorf("from %s there is no way back to off", from)
		}
	}
	reached := map[Place]bool{}
	for todo := []Place{{}}; len(todo) > 0; todo = todo[1:] {
		if !reached[todo[0]] {
			reached[todo[0]] = true
			todo = append(todo, steps[todo[0]]...)
		}
	}
	for _, p := range places() {
		if !reached[p] {
			t.Errorf("%s cannot be reached from off", p)
		}
	}
}

func TestStepRefuses(t *testing.T) {
	ramp := func(salt string, pins ...schemas.Pin) *Flag {
		return Ready(&schemas.Rollout{Salt: salt, Stage: schemas.StageRamp, Ramp: 1000, Pins: pins})
	}
	pin := schemas.Pin{Key: []string{"1"}, Side: schemas.Target}
	for _, c := range []struct {
		name     string
		was, is  *Flag
		want     string
		isFenced bool
	}{
		{"another salt", ramp("a"), ramp("b"), "step from ramp 1% to ramp 1%: another salt would move keys both ways: go back to shadow_read first", false},
		{"nothing new", ramp("a", pin), ramp("a", pin), "step from ramp 1% to ramp 1%: it is there already", false},
		{"a pin", ramp("a"), ramp("a", pin), "", true},
		{"pins begin", flagAt(Place{Stage: schemas.StageShadowRead}), ramp("s", pin).At(Place{Stage: schemas.StageRamp}), "", true},
		{"pins end", ramp("s", pin).At(Place{schemas.StageRamp, schemas.WholeRamp}), flagAt(Place{Stage: schemas.StageTargetPrimary}), "", true},
		{"ramp not full", ramp("a"), flagAt(Place{Stage: schemas.StageTargetPrimary}),
			"step from ramp 1% to target_primary: the ramp is at 1%, raise it to 100% first", false},
		{"a stage left out", flagAt(Place{}), flagAt(Place{Stage: schemas.StageDualWrite}), "step from off to dual_write: shadow comes first", false},
		{"share elsewhere", flagAt(Place{}), flagAt(Place{schemas.StageShadow, 5}), "step from off to shadow: a share of 0.005% does not belong to shadow", false},
	} {
		step, err := Step(c.was, c.is)
		if have := message(err); have != c.want || step.Fenced != c.isFenced {
			t.Errorf("%s: have %+v, %q", c.name, step, have)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Who no longer knows the stage does what the definition says, for every key.
func TestStaleIsTheSafeStage(t *testing.T) {
	for _, safe := range schemas.RolloutStages {
		if safe == schemas.StageRamp {
			continue // schemas refuses it
		}
		f := Ready(&schemas.Rollout{Salt: "s", Stage: schemas.StageRamp, Ramp: schemas.WholeRamp, SafeStage: safe})
		if d := EvaluateStale(f, []string{"1"}); d.Stage != safe || d.Axes != points[safe] || d.Reason != Stale {
			t.Errorf("safe stage %s: have %+v", safe, d)
		}
	}
}
