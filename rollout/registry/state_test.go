package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

var day = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// file is a definition; more is lines of its own.
func file(name, stage, safe string, more ...string) string {
	return fmt.Sprintf(`apiVersion: trueup/v1
kind: Rollout
metadata: {name: %s, owner: team-orders}
description: Orders move.
controls: routing
intent: temporary
expires: 2027-06-30
stage: %s
safeStage: %s
gates:
  shadow: [{name: few, condition: divergence <= 0.01, window: 1h, minSamples: 100}]
%s
`, name, stage, safe, strings.Join(more, "\n"))
}

func event(id string, changes ...Change) Event {
	e := Event{ID: id, At: day, Who: "ann", Why: "it is time", Changes: changes}
	e.Version = e.version()
	return e
}

// apply reads an event as it comes from the topic.
func apply(t interface{ Fatal(...any) }, s *State, e Event) Outcome {
	value, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return s.Apply(s.Next, value)
}

func defined(name string, base uint64, definition string) Change {
	return Change{Flag: name, Op: Define, Base: base, Definition: definition, WithoutEvidence: true}
}

// "If-Match required; lost update impossible": the second of two writers that saw
// the same revision changes nothing, and says so.
func TestI33_TheSecondOfTwoWritersIsVoid(t *testing.T) {
	s := NewState()
	apply(t, s, event("1", defined("a", 0, file("a", "off", "off"))))
	first := apply(t, s, event("2", defined("a", 1, file("a", "off", "shadow"))))
	second := apply(t, s, event("3", defined("a", 1, file("a", "off", "dual_write"))))
	created := apply(t, s, event("4", defined("a", 0, file("a", "off", "off"))))
	if first.Effect != Effective || second.Effect != Conflict || created.Effect != Conflict {
		t.Fatalf("have %+v, %+v, %+v", first, second, created)
	}
	if f := s.Flag("a"); f.Revision != 2 || f.Rollout.SafeStage != schemas.StageShadow || f.Changed.Event != "2" {
		t.Fatalf("have %+v", f)
	}
}

// All of an event's changes have effect, or none.
func TestI33_AnEventIsWhole(t *testing.T) {
	s := NewState()
	apply(t, s, event("1", defined("a", 0, file("a", "off", "off"))))
	out := apply(t, s, event("2", defined("b", 0, file("b", "off", "off")), defined("a", 7, file("a", "off", "shadow"))))
	if out.Effect != Conflict || s.Flag("b") != nil || s.Flag("a").Revision != 1 {
		t.Fatalf("have %+v, %v", out, s.Flags())
	}
}

// "Unknown blocks promotion; halt and rollback always allowed": over everything that
// can have been measured, a step forward has an effect only where the gate passes.
func TestI34_ForwardOnlyOnEvidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewState()
		apply(t, s, event("1", defined("a", 0, file("a", "off", "off"))))
		at := day.Add(-time.Duration(rapid.IntRange(-1, 15).Draw(t, "age")) * time.Minute)
		frontier := rapid.SampledFrom([]time.Time{{}, at, at.Add(-2 * time.Minute)}).Draw(t, "frontier")
		m := &rollout.Measured{At: at, Frontier: frontier, CoveredAt: rapid.SampledFrom([]time.Time{{}, at}).Draw(t, "covered"),
			Samples: map[string]rollout.Sample{}}
		if rapid.Bool().Draw(t, "sampled") {
			m.Samples["divergence"] = rollout.Sample{Count: rapid.Uint64Range(0, 20).Draw(t, "count"), Of: rapid.Uint64Range(0, 1000).Draw(t, "of"),
				From: at.Add(-2 * time.Hour), To: at}
		}
		if rapid.IntRange(0, 9).Draw(t, "measured") == 0 {
			m = nil
		}
		stands := file("a", "shadow", "off")
		out := apply(t, s, event("2", Change{Flag: "a", Op: Define, Base: 1, Definition: stands, Measured: m}))
		r, err := schemas.ParseRollout([]byte(stands), "a")
		if err != nil {
			t.Fatal(err)
		}
		age := day.Sub(at)
		passes := m != nil && rollout.Judge(r, schemas.StageShadow, *m).Verdict == rollout.Pass && age >= 0 && age <= maxEvidenceAge
		if (out.Effect == Effective) != passes || !passes && out.Effect != Refused {
			t.Fatalf("%+v: the gate passes: %v; have %+v", m, passes, out)
		}
	})
	s := NewState()
	apply(t, s, event("1", defined("a", 0, file("a", "off", "off"))))
	apply(t, s, event("2", defined("a", 1, file("a", "shadow", "off"))))
	if out := apply(t, s, event("3", Change{Flag: "a", Op: Define, Base: 2, Definition: file("a", "off", "off")})); out.Effect != Effective {
		t.Fatalf("back needs no evidence, have %+v", out)
	}
}

// moved is a state whose flag a stands at the ramp, with dual_write as its safe stage.
func moved(t *testing.T) (*State, uint64) {
	s := NewState()
	for i, stage := range []string{"off", "shadow", "dual_write", "shadow_read", "ramp"} {
		more := ""
		if stage == "ramp" {
			more = "ramp: 100%"
		}
		if out := apply(t, s, event(stage, defined("a", uint64(i), file("a", stage, "dual_write", more)))); out.Effect != Effective {
			t.Fatalf("%s: %+v", stage, out)
		}
	}
	return s, 5
}

// "Kill switch wins over everything": it names no revision, and what was decided
// before it is void; only what revives it has the definition's stage again.
func TestI35_KillWinsOverEverything(t *testing.T) {
	s, revision := moved(t)
	key := []string{"42"}
	authority := func() schemas.Side { return rollout.Evaluate(s.Flag("a").Flag, key).Authority() }
	if authority() != schemas.Target {
		t.Fatal("at 100% the target has authority")
	}
	epoch := s.Flag("a").Epoch
	if out := apply(t, s, event("kill", Change{Flag: "a", Op: Kill})); out.Effect != Effective {
		t.Fatalf("%+v", out)
	}
	killed := s.Flag("a")
	if authority() != schemas.Legacy || killed.Flag.Place().Stage != schemas.StageDualWrite || killed.Epoch != epoch+1 || killed.Killed.Event != "kill" {
		t.Fatalf("have %+v", killed)
	}
	for _, c := range []struct {
		what   string
		change Change
		want   Effect
	}{
		{"what was decided before", defined("a", revision, file("a", "target_primary", "dual_write")), Conflict},
		{"a step forward", defined("a", revision+1, file("a", "ramp", "dual_write", "ramp: 100%", `pins: {target: ["7"]}`)), Refused},
		{"another safe stage", defined("a", revision+1, file("a", "ramp", "target_primary", "ramp: 100%")), Refused},
		{"reviving it where it was, two stages on", Change{Flag: "a", Op: Revive, Base: revision + 1, WithoutEvidence: true}, Refused},
		{"an owner of another name", defined("a", revision+1, strings.Replace(file("a", "ramp", "dual_write", "ramp: 100%"), "team-orders", "team-b", 1)), Effective},
		{"a way back", Change{Flag: "a", Op: Define, Base: revision + 2, Definition: file("a", "shadow_read", "dual_write")}, Effective},
		{"reviving without evidence, and without saying so", Change{Flag: "a", Op: Revive, Base: revision + 3}, Refused},
	} {
		if out := apply(t, s, event(c.what, c.change)); out.Effect != c.want || authority() != schemas.Legacy || s.Flag("a").Killed == nil {
			t.Fatalf("%s: want %s, have %+v", c.what, c.want, out)
		}
	}
	if out := apply(t, s, event("again", Change{Flag: All, Op: Kill})); out.Effect != Effective || s.Flag("a").Killed.Event != "kill" {
		t.Fatalf("killed twice: %+v", out)
	}
	out := apply(t, s, event("revive", Change{Flag: "a", Op: Revive, Base: revision + 4, WithoutEvidence: true}))
	if f := s.Flag("a"); out.Effect != Effective || f.Killed != nil || f.Flag.Place().Stage != schemas.StageShadowRead || f.Epoch <= killed.Epoch {
		t.Fatalf("have %+v, %+v", out, f)
	}
	if out := apply(t, s, event("no", Change{Flag: "b", Op: Kill})); out.Effect != Refused {
		t.Fatalf("a flag that there is not: %+v", out)
	}
}

// A kill takes nothing forward: where the safe stage is still ahead, the flag stays.
func TestI35_AKillGoesBackAlone(t *testing.T) {
	for _, stage := range []string{"off", "shadow", "dual_write"} {
		s := NewState()
		at := uint64(0)
		for _, next := range []string{"off", "shadow", "dual_write"} {
			apply(t, s, event(next, defined("a", at, file("a", next, "dual_write"))))
			at++
			if next == stage {
				break
			}
		}
		apply(t, s, event("kill", Change{Flag: "a", Op: Kill}))
		if f := s.Flag("a"); f.Killed == nil || f.Flag.Place().Stage.String() != stage {
			t.Errorf("killed at %s it is at %s", stage, f.Flag.Place())
		}
	}
}

// A flag's life goes from draft to archived, and never back.
func TestLifecycle(t *testing.T) {
	s := NewState()
	draft, archived := file("a", "off", "off", "lifecycle: draft"), file("a", "off", "off", "lifecycle: archived")
	for i, c := range []struct {
		definition string
		want       Effect
		evaluated  bool
	}{
		{draft, Effective, false}, {file("a", "shadow", "off"), Effective, true}, {draft, Refused, true}, {archived, Effective, false},
		{file("a", "off", "off"), Refused, false},
	} {
		base := uint64(0)
		if f := s.Flag("a"); f != nil {
			base = f.Revision
		}
		out := apply(t, s, event(fmt.Sprint(i), defined("a", base, c.definition)))
		if out.Effect != c.want || s.Flag("a").Evaluated() != c.evaluated {
			t.Errorf("%d: want %s, have %+v, evaluated %v", i, c.want, out, s.Flag("a").Evaluated())
		}
	}
}

// What is no event, or a newer Trueup's, changes nothing, and is said.
func TestDamageIsSaidAndSkipped(t *testing.T) {
	good := event("x", defined("b", 0, file("b", "off", "off")))
	whole, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, is string) []byte { return bytes.Replace(whole, []byte(old), []byte(is), 1) }
	for what, c := range map[string]struct {
		value []byte
		want  Effect
	}{
		"nothing":           {nil, Damaged},
		"cut":               {whole[:len(whole)-3], Damaged},
		"something behind":  {append(bytes.Clone(whole), "{}"...), Damaged},
		"an unknown field":  {with(`"v":1`, `"v":1,"force":true`), Damaged},
		"an unknown change": {with(`"op":"define"`, `"op":"erase"`), Damaged},
		"nobody":            {with(`"who":"ann"`, `"who":""`), Damaged},
		"a bad definition":  {with(`stage: off`, `stage: on`), Damaged},
		"another's":         {with(`"flag":"b"`, `"flag":"c"`), Damaged},
		"a newer one":       {with(`"v":1`, `"v":6,"force":true`), Newer},
	} {
		s := NewState()
		apply(t, s, event("1", defined("a", 0, file("a", "off", "off"))))
		out := s.Apply(s.Next, c.value)
		if out.Effect != c.want || out.Reason == "" || len(s.Flags()) != 1 || s.Next != 2 || len(s.Voids()) != 1 || s.Counts()[c.want] != 1 {
			t.Errorf("%s: want %s, have %+v, %v", what, c.want, out, s.Counts())
		}
	}
	s := NewState()
	if out := s.Apply(0, whole); out.Effect != Effective {
		t.Errorf("undamaged: %+v", out)
	}
}

// The same records give the same state, byte for byte, also where reading was broken
// off and gone on from a copy; and a copy stays as it was.
func TestI31_ReplayIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var records [][]byte
		s := NewState()
		names := []string{"a", "b"}
		stages := []string{"off", "shadow", "dual_write", "shadow_read", "ramp", "target_primary"}
		for i := range rapid.IntRange(1, 40).Draw(t, "events") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			base := uint64(rapid.IntRange(0, 3).Draw(t, "base"))
			if f := s.Flag(name); f != nil && rapid.IntRange(0, 4).Draw(t, "knows") > 0 {
				base = f.Revision
			}
			stage := rapid.SampledFrom(stages).Draw(t, "stage")
			safe, more := "off", ""
			switch stage {
			case "ramp":
				more = "ramp: " + rapid.SampledFrom([]string{"0%", "12.5%", "100%"}).Draw(t, "share")
			case "target_primary":
				safe = stage
			}
			e := event(fmt.Sprint(i))
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				e.Changes = []Change{{Flag: name, Op: Kill}}
			case 1:
				e.Changes = []Change{{Flag: All, Op: Kill}}
			case 2, 3:
				e.Changes = []Change{{Flag: name, Op: Revive, Base: base, WithoutEvidence: true}}
			default:
				e.Changes = []Change{defined(name, base, file(name, stage, safe, more))}
			}
			value, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 9).Draw(t, "damaged") == 0 {
				value = value[:rapid.IntRange(0, len(value)).Draw(t, "cut")]
			}
			records = append(records, value)
			s.Apply(s.Next, value)
		}
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again := NewState()
		for i, value := range records {
			if rapid.IntRange(0, 5).Draw(t, "broken off") == 0 {
				left := again
				again = left.Clone()
				before, _ := json.Marshal(left)
				defer func() {
					if after, _ := json.Marshal(left); !bytes.Equal(before, after) {
						t.Fatalf("a state changed with its copy: %s, was %s", after, before)
					}
				}()
			}
			again.Apply(int64(i), value)
		}
		if have, err := json.Marshal(again); err != nil || !bytes.Equal(have, want) {
			t.Fatalf("replayed: %s, first %s, %v", have, want, err)
		}
	})
}
