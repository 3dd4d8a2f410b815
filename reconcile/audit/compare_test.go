package audit

import (
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// Events of before rules were named are not changed ones: what they say is what was
// found. One that says anything else, rules too, is.
func TestEventsOfBeforeRulesWereNamed(t *testing.T) {
	found := schemas.Divergence{ID: "d", Stage: schemas.Opened, Verdict: schemas.Stale, Entity: "order", Key: []string{"1"}, Side: schemas.Legacy,
		Fields: []string{"status"}, Rules: "r", FieldRules: []schemas.FieldRule{{Field: "status", Rules: []string{"legacy.map"}, Applied: []string{"legacy.map"}}}}
	before, otherField, otherRule, bare := found, found, found, found
	before.FieldRules, bare.FieldRules = nil, nil
	otherField.FieldRules, otherField.Fields = nil, []string{"note"}
	otherRule.FieldRules = []schemas.FieldRule{{Field: "status", Rules: []string{"target.map"}}}
	for _, c := range []struct {
		name       string
		was, found schemas.Divergence
		same       bool
	}{
		{"of before", before, found, true},
		{"another field", otherField, found, false},
		{"other rules", otherRule, found, false},
		{"rules where none are found", found, bare, false},
	} {
		if got := sameButRules(schemas.AppendDivergenceJSON(nil, &c.was), &c.found); got != c.same {
			t.Errorf("%s: same is %v", c.name, got)
		}
	}
}
