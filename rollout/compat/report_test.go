package compat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

// Over any report: nothing that is due and was not looked at, or is not known, is passed, and whatever
// is incompatible among what is due is named; what is not due is neither.
func TestJudgePassesOnlyWhatWasLookedAt(t *testing.T) {
	all := []schemas.CompatibilityCheck{{Kind: "schemas"}, {Kind: "contract", Name: "a"}, {Kind: "contract", Name: "b"}, {Kind: "consumers", Name: "a"}}
	rapid.Check(t, func(t *rapid.T) {
		due := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 4, rapid.ID).Draw(t, "due")
		made := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 4, rapid.ID).Draw(t, "made")
		r := &Report{To: rapid.SampledFrom([]string{"ramp", "shadow"}).Draw(t, "to")}
		needs := map[string]bool{}
		known := r.To == "ramp"
		of := map[schemas.CompatibilityCheck]bool{}
		for i, check := range made {
			of[check] = true
			var findings []Finding
			for j := range rapid.IntRange(0, 3).Draw(t, "findings") {
				f := Finding{Level: rapid.SampledFrom([]Level{Note, Incompatible, Unknown, "later"}).Draw(t, "level"), Place: fmt.Sprint(i, j)}
				findings = append(findings, f)
				if !containsCheck(due, check) {
					continue
				}
				needs[f.ID()] = needs[f.ID()] || f.Level == Incompatible
				known = known && (f.Level == Note || f.Level == Incompatible)
			}
			r.Add(check, nil, findings)
		}
		for _, check := range due {
			known = known && of[check]
		}
		j := Judge(r, schemas.StageRamp, due)
		if (j.Unknown == "") != known {
			t.Fatalf("want known %v, have %+v", known, j)
		}
		if !known {
			return
		}
		for _, id := range j.Needs {
			if !needs[id] {
				t.Fatalf("%s needs no agreement", id)
			}
			delete(needs, id)
		}
		for id, need := range needs {
			if need {
				t.Fatalf("%s is left out", id)
			}
		}
	})
}

func containsCheck(all []schemas.CompatibilityCheck, one schemas.CompatibilityCheck) bool {
	for _, c := range all {
		if c == one {
			return true
		}
	}
	return false
}

func TestJudgeOfNoReport(t *testing.T) {
	due := []schemas.CompatibilityCheck{{Kind: "schemas"}}
	if j := Judge(nil, schemas.StageRamp, due); j.Unknown != "nothing says whether schemas fits" {
		t.Errorf("have %+v", j)
	}
	if j := Judge(nil, schemas.StageRamp, nil); j.Unknown != "" || j.Needs != nil {
		t.Errorf("have %+v", j)
	}
}

// A finding's id is of what it is and where, and not of when; no part runs into the next one.
func TestFindingIDs(t *testing.T) {
	one := Finding{Level: Incompatible, Rule: "r", Name: "n", Place: "p", Problem: "x", Detail: "d", Next: "y"}
	same := one
	same.Detail, same.Next = "e", "z"
	if one.ID() != same.ID() {
		t.Error("the day makes it another one")
	}
	ids := map[string]bool{one.ID(): true}
	for _, other := range []Finding{{Level: Note, Rule: "r", Name: "n", Place: "p", Problem: "x"}, {Level: Incompatible, Rule: "rn", Place: "p", Problem: "x"},
		{Level: Incompatible, Rule: "r", Name: "np", Problem: "x"}, {Level: Incompatible, Rule: "r", Name: "n", Place: "px"}, {Level: Incompatible, Rule: "r", Name: "n", Place: "p", Problem: "y"}} {
		if ids[other.ID()] {
			t.Errorf("%+v has the id of another", other)
		}
		ids[other.ID()] = true
	}
}

// A report is bounded, and what is left out counts as what it is.
func TestReportsAreBounded(t *testing.T) {
	var many []Finding
	for i := range maxFindings + 50 {
		many = append(many, Finding{Level: Note, Place: fmt.Sprint(i)}, Finding{Level: Incompatible, Place: fmt.Sprint(i)})
	}
	r := &Report{To: "ramp"}
	check := schemas.CompatibilityCheck{Kind: "schemas"}
	r.Add(check, nil, many)
	have := r.Check(check).Findings
	last := have[len(have)-1]
	if len(have) != maxFindings+1 || have[0].Level != Incompatible || last.Level != Incompatible || !strings.HasPrefix(last.Problem, fmt.Sprintf("%d findings more", maxFindings+100)) {
		t.Errorf("have %d, the last %+v", len(have), last)
	}
	if r.Check(check).Verdict() != Incompatible {
		t.Errorf("have %s", r.Check(check).Verdict())
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || len(back.Incompatible()) != len(r.Incompatible()) {
		t.Errorf("have %v", err)
	}
}

func TestWindow(t *testing.T) {
	d := &schemas.Deprecation{What: "the old API", Deprecated: noon.Add(-time.Hour), Sunset: noon}
	if f := Window("orders", d, noon.Add(-time.Second)); len(f) != 1 || f[0].Level != Incompatible || f[0].Name != "orders" {
		t.Errorf("have %+v", f)
	}
	if f := Window("orders", d, noon); f != nil {
		t.Errorf("have %+v", f)
	}
}
