package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

func read(t *testing.T, source string) Definition {
	t.Helper()
	r, err := schemas.ParseRollout([]byte(source), "file.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return Definition{Source: source, Rollout: r}
}

func planned(t *testing.T, s *State, sources ...string) *Plan {
	t.Helper()
	var files []Definition
	for _, source := range sources {
		files = append(files, read(t, source))
	}
	p, err := NewPlan(s, files, day)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A plan says of each file what the event made from it does.
func TestPlan(t *testing.T) {
	s, revision := moved(t)
	ramp := file("a", "ramp", "dual_write", "ramp: 100%")
	for _, c := range []struct {
		what, source string
		want         Action
		forward      bool
		differences  string
	}{
		{"as it stands", ramp, Unchanged, false, ""},
		{"a comment more", ramp + "# seen\n", Unchanged, false, ""},
		{"another owner", strings.Replace(ramp, "team-orders", "team-b", 1), Update, false, "metadata.owner"},
		{"a gate more", strings.Replace(ramp, "minSamples: 100", "minSamples: 10", 1), Update, false, "gates.shadow"},
		{"the next stage", file("a", "target_primary", "dual_write"), Forbidden, false, ""}, // the file itself is wrong
		{"a way back", file("a", "shadow", "off"), Move, false, "stage ramp safeStage"},
		{"a smaller share", file("a", "ramp", "dual_write", "ramp: 5%"), Move, false, "ramp"},
		{"pins", file("a", "ramp", "dual_write", "ramp: 100%", `pins: {legacy: ["7"]}`), Move, true, "pins.legacy"},
		{"another salt", file("a", "ramp", "dual_write", "ramp: 100%", "salt: other"), Forbidden, false, "salt"},
		{"beyond the next", file("a", "complete", "complete"), Forbidden, false, "stage ramp safeStage"},
		{"a new one", file("b", "off", "off"), Create, false, ""},
		{"a new one that has begun", file("b", "dual_write", "off"), Forbidden, false, ""},
		{"a new one in its first stage", file("b", "shadow", "off"), Create, true, ""},
	} {
		if c.what == "the next stage" {
			if _, err := schemas.ParseRollout([]byte(c.source), "x"); err == nil {
				t.Error("its safe stage has another authority")
			}
			continue
		}
		p := planned(t, s, c.source)
		var keys []string
		for _, d := range p.Steps[0].Differences {
			keys = append(keys, d.Key)
		}
		if step := p.Steps[0]; step.Action != c.want || step.Forward != c.forward || strings.Join(keys, " ") != c.differences || (step.Reason != "") != (c.want == Forbidden) {
			t.Errorf("%s: want %s, forward %v, %q; have %+v", c.what, c.want, c.forward, c.differences, step)
		}
		changes, err := p.Changes()
		if (err != nil) != (c.want == Forbidden) {
			t.Errorf("%s: %v", c.what, err)
		}
		for i := range changes {
			changes[i].WithoutEvidence = true
			if out := apply(t, s.Clone(), event("x", changes[i])); out.Effect != Effective {
				t.Errorf("%s: applied: %+v", c.what, out)
			}
			if changes[i].Base != 0 && changes[i].Base != revision {
				t.Errorf("%s: decided on revision %d", c.what, changes[i].Base)
			}
		}
	}
}

// A plan's name is that of its files on what stood, and its lists name what is left over.
func TestPlanIsOfWhatStood(t *testing.T) {
	s := NewState()
	a, b := file("a", "off", "off"), file("b", "off", "off")
	apply(t, s, event("1", defined("a", 0, a)))
	first := planned(t, s, a, b)
	if again := planned(t, s, b, a); again.ID != first.ID {
		t.Errorf("the order of the files gives another plan")
	}
	if other := planned(t, s, a+"#\n", b); other.ID == first.ID {
		t.Errorf("another file gives the same plan")
	}
	apply(t, s, event("2", defined("a", 1, file("a", "off", "shadow"))))
	if later := planned(t, s, a, b); later.ID == first.ID {
		t.Errorf("what stands has changed, and the plan is the same")
	}
	if p := planned(t, s, b); len(p.Absent) != 1 || p.Absent[0] != "a" || len(p.Stale) != 0 {
		t.Errorf("have %+v", p)
	}
	late, err := NewPlan(s, []Definition{read(t, b)}, time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || strings.Join(late.Stale, " ") != "a b" {
		t.Errorf("have %+v, %v", late, err)
	}
	if _, err := NewPlan(s, []Definition{read(t, a), read(t, a)}, day); err == nil {
		t.Error("one flag in two files")
	}
}
