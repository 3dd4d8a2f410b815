package audit

import (
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// Events of before rules were named, and of before it was said that a row had been
// changed outside the log, are not changed ones: what they say is what was found. One
// that says anything else, rules too, is.
func TestEventsOfBeforeRulesWereNamed(t *testing.T) {
	found := schemas.Divergence{ID: "d", Stage: schemas.Opened, Verdict: schemas.Stale, Entity: "order", Key: []string{"1"}, Side: schemas.Legacy,
		Fields: []string{"status"}, Rules: "r", FieldRules: []schemas.FieldRule{{Field: "status", Rules: []string{"legacy.map"}, Applied: []string{"legacy.map"}}}}
	before, otherField, otherRule, bare := found, found, found, found
	before.FieldRules, bare.FieldRules = nil, nil
	otherField.FieldRules, otherField.Fields = nil, []string{"note"}
	otherRule.FieldRules = []schemas.FieldRule{{Field: "status", Rules: []string{"target.map"}}}
	surprised, calm := found, found
	surprised.Cause = &schemas.Evidence{EventID: schemas.EventID{Source: "t", Epoch: 1, Pos: "5"}, Side: schemas.Target, Op: schemas.OpUpdate, Unlogged: true}
	cause := *surprised.Cause
	cause.Unlogged = false
	calm.Cause = &cause
	otherCause := surprised
	other := cause
	other.Pos = "6"
	otherCause.Cause = &other
	for _, c := range []struct {
		name       string
		was, found schemas.Divergence
		same       bool
	}{
		{"of before", before, found, true},
		{"another field", otherField, found, false},
		{"other rules", otherRule, found, false},
		{"rules where none are found", found, bare, false},
		{"of before rows were said to be changed outside the log", calm, surprised, true},
		{"said to be so where it is not found", surprised, calm, false},
		{"another cause", otherCause, surprised, false},
	} {
		if got := sameAsBefore(schemas.AppendDivergenceJSON(nil, &c.was), &c.found); got != c.same {
			t.Errorf("%s: same is %v", c.name, got)
		}
	}
}
