package registry

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/rollout/compat"
	"github.com/trueup-io/trueup/schemas"
)

const fits = `migration: orders
compatibility:
  schemas: {before: shadow}
  consumers: [{name: api, supported: ["2"], before: shadow}]`

var (
	tablesDue = schemas.CompatibilityCheck{Kind: schemas.CheckSchemas}
	usersDue  = schemas.CompatibilityCheck{Kind: schemas.CheckConsumers, Name: "api"}
)

// found is a finding of a level.
func found(level compat.Level, place string) compat.Finding {
	return compat.Finding{Level: level, Rule: "r", Name: "order", Place: place, Problem: "it does not fit", Next: "mend it"}
}

// reported is what was found of the tables; consumers are all on supported versions.
func reported(at time.Time, findings ...compat.Finding) *compat.Report {
	r := &compat.Report{At: at, To: "shadow"}
	r.Add(tablesDue, nil, findings)
	r.Add(usersDue, nil, nil)
	return r
}

func stepWith(base uint64, next string, report *compat.Report) Change {
	return Change{Flag: "a", Op: Define, Base: base, Definition: next, Measured: measuredAt(day, 0), Compatibility: report}
}

func agreed(base uint64, next string, report *compat.Report) Change {
	return Change{Flag: "a", Op: Approve, Base: base, Definition: next, Compatibility: report}
}

// What was not looked at, in part or not of late, takes nothing forward; neither does what is unknown,
// nor a level that nobody knows.
func TestI34_WhatWasNotLookedAtDoesNotGoForward(t *testing.T) {
	next := file("a", "shadow", "off", fits)
	half := &compat.Report{At: day, To: "shadow"}
	half.Add(tablesDue, nil, nil)
	other := reported(day)
	other.To = "ramp"
	for name, c := range map[string]struct {
		report *compat.Report
		want   string
	}{
		"nothing":          {nil, "nobody looked whether it fits (schemas, consumers api)"},
		"a part":           {half, "nothing says whether consumers api fits"},
		"another stage":    {other, "nothing says whether schemas, consumers api fits"},
		"old":              {reported(day.Add(-11 * time.Minute)), "not in the 10m0s before the step"},
		"of tomorrow":      {reported(day.Add(time.Second)), "not in the 10m0s before the step"},
		"unknown":          {reported(day, found(compat.Unknown, "x")), "it is not known whether schemas fits"},
		"a level of later": {reported(day, found("dreadful", "x")), "it is not known whether schemas fits"},
		"no level":         {reported(day, found("", "x")), "it is not known whether schemas fits"},
	} {
		t.Run(name, func(t *testing.T) {
			s := begun(t, fits)
			wants(t, s, saidBy("2", "ann", day, stepWith(1, next, c.report)), Refused, c.want)
			if s.Flag("a").Revision != 1 {
				t.Error("it went forward")
			}
		})
	}
	for name, report := range map[string]*compat.Report{"clean": reported(day), "with a note": reported(day, found(compat.Note, "x"))} {
		s := begun(t, fits)
		if o := apply(t, s, saidBy("2", "ann", day, stepWith(1, next, report))); o.Effect != Effective {
			t.Errorf("%s: have %+v", name, o)
		}
	}
	s := begun(t, strings.ReplaceAll(fits, "before: shadow", "before: ramp"))
	wants(t, s, saidBy("2", "ann", day, stepWith(1, file("a", "shadow", "off", strings.ReplaceAll(fits, "before: shadow", "before: ramp")), nil)), Effective, "")
}

// What does not fit needs somebody else who has seen all of it.
func TestI37_WhatDoesNotFitNeedsApproval(t *testing.T) {
	next, misfit := file("a", "shadow", "off", fits), found(compat.Incompatible, "x")
	s, report := begun(t, fits), reported(day, misfit)
	wants(t, s, saidBy("2", "ann", day, stepWith(1, next, report)), Refused, "1 findings say that it does not fit, so it needs 1 approvals of others who have seen them, and has 0")
	wants(t, s, saidBy("3", "ann", day, agreed(1, next, report)), Effective, "")
	wants(t, s, saidBy("4", "ann", day, stepWith(1, next, report)), Refused, "has 0") // one's own
	wants(t, s, saidBy("5", "bob", day, agreed(1, next, report)), Effective, "")
	if have := s.Flag("a").Approvals; len(have) != 2 || len(have[1].Accepted) != 1 || have[1].Accepted[0] != misfit.ID() {
		t.Fatalf("have %+v", have)
	}
	// The same thing found again, another day, is the same.
	later := misfit
	later.Detail = "last seen a minute ago"
	wants(t, s, saidBy("6", "ann", day.Add(time.Minute), stepWith(1, next, reported(day.Add(time.Minute), later))), Effective, "")
	if s.Flag("a").Revision != 2 {
		t.Error("it did not go forward")
	}
}

// An approval falls when more is found than whoever gave it has seen; when less is found, it stands.
func TestI37_ApprovalsFallWhenItFitsLess(t *testing.T) {
	next, one, two := file("a", "shadow", "off", fits), found(compat.Incompatible, "x"), found(compat.Incompatible, "y")
	for name, c := range map[string]struct {
		seen, now []compat.Finding
		falls     bool
	}{
		"the same":         {[]compat.Finding{one}, []compat.Finding{one}, false},
		"less":             {[]compat.Finding{one, two}, []compat.Finding{two}, false},
		"nothing any more": {[]compat.Finding{one}, nil, false},
		"more":             {[]compat.Finding{one}, []compat.Finding{one, two}, true},
		"another":          {[]compat.Finding{one}, []compat.Finding{two}, true},
		"nothing before":   {nil, []compat.Finding{one}, true},
		"not known":        {[]compat.Finding{one}, []compat.Finding{one, found(compat.Unknown, "z")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := begun(t, fits)
			wants(t, s, saidBy("2", "bob", day, agreed(1, next, reported(day, c.seen...))), Effective, "")
			step := saidBy("3", "ann", day, stepWith(1, next, reported(day, c.now...)))
			if !c.falls {
				wants(t, s, step, Effective, "")
				return
			}
			wants(t, s, step, Refused, "")
			if have := s.Flag("a").Approvals; len(have) != 0 {
				t.Errorf("have %+v", have)
			}
			wants(t, s, saidBy("4", "ann", day, stepWith(1, next, reported(day, c.seen...))), map[bool]Effect{true: Refused, false: Effective}[len(c.seen) > 0], "")
		})
	}
	// An approval without a report has seen nothing.
	s := begun(t, fits)
	wants(t, s, saidBy("2", "bob", day, agreed(1, next, nil)), Effective, "")
	wants(t, s, saidBy("3", "ann", day, stepWith(1, next, reported(day, one))), Refused, "1 of which nobody has agreed to")
}

// Whoever goes without evidence needs as much agreement as with the worst of it, and an approval that
// was given for a step without; and what is found in spite of that has to have been seen.
func TestI37_WithoutEvidenceNeedsApprovalWhereItMayNotFit(t *testing.T) {
	next, one := file("a", "shadow", "off", fits), found(compat.Incompatible, "x")
	without := func(report *compat.Report) Change {
		return Change{Flag: "a", Op: Define, Base: 1, Definition: next, WithoutEvidence: true, Compatibility: report}
	}
	s := begun(t, fits)
	wants(t, s, saidBy("2", "ann", day, without(nil)), Refused, "needs 1 approvals")
	wants(t, s, saidBy("3", "bob", day, agreed(1, next, reported(day, one))), Effective, "")
	wants(t, s, saidBy("4", "ann", day, without(nil)), Refused, "needs 1 approvals") // not given for that
	word := agreed(1, next, reported(day, one))
	word.WithoutEvidence = true
	wants(t, s, saidBy("5", "bob", day, word), Effective, "")
	wants(t, s, saidBy("6", "ann", day, without(reported(day, found(compat.Unknown, "z"), found(compat.Incompatible, "y")))), Refused, "1 of which nobody has agreed to")
	wants(t, s, saidBy("7", "bob", day, word), Effective, "")
	wants(t, s, saidBy("8", "ann", day, without(nil)), Effective, "")

	s = begun(t, fits)
	glass := stepWith(1, next, reported(day, one))
	glass.BreakGlass = true
	wants(t, s, saidBy("9", "ann", day, glass), Effective, "")
	if s.Flag("a").BrokeGlass == nil {
		t.Error("nobody broke the glass")
	}
	s = begun(t, fits)
	glass.Compatibility = reported(day, found(compat.Unknown, "z")) // glass is for agreement, not for evidence
	wants(t, s, saidBy("10", "ann", day, glass), Refused, "it is not known")
}

// A file does not take its own looking away.
func TestI37_LookingAtLessNeedsAgreement(t *testing.T) {
	const more = `migration: orders
compatibility:
  schemas: {before: dual_write}
  contracts: [{name: c, old: v1.yaml, new: v2.yaml}]
  consumers: [{name: api, supported: ["2"], unseenFor: 7d}]
deprecation: {what: x, deprecated: 2026-12-01, sunset: 2027-06-01, replacement: y}`
	for _, c := range []struct {
		old, is string
		both    bool // the other way round is less, too
	}{
		{"  schemas: {before: dual_write}\n", "", false}, {"before: dual_write", "before: ramp", false}, {"{name: c,", "{name: d,", true}, {"old: v1.yaml", "old: v2.yaml", true},
		{`supported: ["2"]`, `supported: ["2", "1"]`, false}, {"unseenFor: 7d", "unseenFor: 6d", false}, {"sunset: 2027-06-01", "sunset: 2027-05-31", false},
		{"\ndeprecation: {what: x, deprecated: 2026-12-01, sunset: 2027-06-01, replacement: y}", "", false},
	} {
		if strings.Count(more, c.old) != 1 {
			t.Fatalf("%q does not stand once there", c.old)
		}
		less := strings.Replace(more, c.old, c.is, 1)
		s := begun(t, more)
		wants(t, s, saidBy("2", "ann", day, defined("a", 1, file("a", "off", "off", less))), Refused, "needs 1 approvals of others")
		wants(t, s, saidBy("3", "bob", day, approval(1, file("a", "off", "off", less))), Effective, "")
		wants(t, s, saidBy("4", "ann", day, defined("a", 1, file("a", "off", "off", less))), Effective, "")
		back := Effective
		if c.both {
			back = Refused
		}
		wants(t, s, saidBy("5", "ann", day, defined("a", 2, file("a", "off", "off", more))), back, "")
	}
	for _, c := range [][2]string{{"new: v2.yaml", "new: v3.yaml"}, {"sunset: 2027-06-01", "sunset: 2027-07-01"}, {"unseenFor: 7d", "unseenFor: 8d"}, {"replacement: y", "replacement: z"}} {
		wants(t, begun(t, more), saidBy("2", "ann", day, defined("a", 1, file("a", "off", "off", strings.Replace(more, c[0], c[1], 1)))), Effective, "")
	}
}

// Whatever was found, said and approved, going back, a kill and a rollback always have effect, and so
// has the revival of what stood.
func TestI34_WhatDoesNotFitHoldsNothingBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := begun(t, fits)
		next := file("a", "shadow", "off", fits)
		if o := apply(t, s, saidBy("2", "ann", day, stepWith(1, next, reported(day)))); o.Effect != Effective {
			t.Fatal(o)
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "said") {
			level := rapid.SampledFrom([]compat.Level{compat.Unknown, compat.Incompatible, compat.Note}).Draw(t, "level")
			report := reported(day, found(level, fmt.Sprint(i)))
			apply(t, s, saidBy(fmt.Sprint("w", i), "bob", day, rapid.SampledFrom([]Change{{Flag: "a", Op: Object}, agreed(2, next, report),
				stepWith(2, file("a", "dual_write", "off", fits), report)}).Draw(t, "word")))
		}
		report := rapid.SampledFrom([]*compat.Report{nil, reported(day, found(compat.Unknown, "x"))}).Draw(t, "report")
		back := Change{Flag: "a", Op: Define, Base: 2, Definition: file("a", "off", "off", fits), Compatibility: report}
		back = rapid.SampledFrom([]Change{{Flag: "a", Op: Kill}, {Flag: "a", Op: Rollback, Base: 2, To: "off"}, back}).Draw(t, "back")
		if o := apply(t, s, saidBy("9", "ann", day, back)); o.Effect != Effective {
			t.Fatal(o)
		}
	})
}

// A report makes an event one of version 5, which older versions pass over; without, nothing changes.
func TestReportsAreOfVersion5(t *testing.T) {
	plain := Event{ID: "1", At: day, Who: "ann", Why: "x", Changes: []Change{defined("a", 0, file("a", "off", "off"))}}
	if plain.version() != 1 {
		t.Errorf("have %d", plain.version())
	}
	told := plain
	told.Changes = []Change{stepWith(1, "x", reported(day))}
	if told.version() != 5 {
		t.Errorf("have %d", told.version())
	}
	for _, c := range []Change{{Flag: "a", Op: Kill, Compatibility: reported(day)}, {Flag: "a", Op: Revive, Base: 1, Compatibility: reported(day)}} {
		e := Event{Version: 5, ID: "1", At: day, Who: "ann", Why: "x", Changes: []Change{c}}
		if err := e.validate(); err == nil {
			t.Errorf("%s with a report is an event", c.Op)
		}
	}
	value, err := (&Event{Version: 5, ID: "1", At: day, Who: "ann", Why: "x", Changes: told.Changes}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if e, err := decode(bytes.Replace(value, []byte(`"v":5`), []byte(`"v":4`), 1)); err == nil {
		t.Errorf("it is read as version 4: %+v", e)
	}
}

// A plan says what its steps wait for.
func TestPlanLooks(t *testing.T) {
	next, one := file("a", "shadow", "off", fits), found(compat.Incompatible, "x")
	for name, c := range map[string]struct {
		report  *compat.Report
		blocked string
	}{
		"nothing": {nil, "nobody looked whether it fits"}, "clean": {reported(day), ""}, "unknown": {reported(day, found(compat.Unknown, "x")), "it is not known"},
		"a misfit": {reported(day, one), "needs 1 approvals of others who have seen them"},
	} {
		s := begun(t, fits)
		r, err := schemas.ParseRollout([]byte(next), "a")
		if err != nil {
			t.Fatal(err)
		}
		plan, err := NewPlan(s, []Definition{{Source: next, Rollout: r}}, day)
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Look(s, map[string]*compat.Report{"a": c.report}, day); err != nil {
			t.Fatal(err)
		}
		step := plan.Step("a")
		if (step.Blocked == "") != (c.blocked == "") || !strings.Contains(step.Blocked, c.blocked) || step.Looked != c.report {
			t.Errorf("%s: have %+v", name, step)
		}
		if name != "a misfit" {
			continue
		}
		wants(t, s, saidBy("2", "bob", day, agreed(1, next, c.report)), Effective, "")
		if err := plan.Look(s, map[string]*compat.Report{"a": c.report}, day); err != nil || plan.Step("a").Blocked != "" {
			t.Errorf("approved: have %+v, %v", plan.Step("a"), err)
		}
	}
}
