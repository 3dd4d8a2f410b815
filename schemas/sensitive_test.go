package schemas

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// markedRules have sensitive fields, of the key as well, and one made of the same
// column as another.
const markedRules = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: people}
entities:
  - name: person
    key: [id, code]
    legacy: {table: public.people}
    target: {table: shop.people}
    fields:
      id: {type: integer}
      code: {type: text, sensitive: true}
      email: {type: text, sensitive: true, target: mail}
      domain: {type: text, legacy: {expr: "email.substring(2)"}, target: domain}
      note: {type: text, ignore: true, sensitive: true}
      status: {type: text}
`

func testMask(entity, field, text string) string {
	return strings.ToUpper(fmt.Sprintf("<%s %s %s>", entity, field, text))
}

func TestSensitive_WhatIsHidden(t *testing.T) {
	r := mustRules(t, strings.Replace(markedRules, "email.substring(2)", "email", 1)).Masked(testMask)
	e, _ := r.Entity("person")
	var marked []string
	for _, f := range e.Fields {
		if f.Sensitive {
			marked = append(marked, f.Name)
		}
	}
	// What is made of a sensitive column can be read from it.
	if fmt.Sprint(marked) != "[code email domain note]" {
		t.Errorf("sensitive: %v", marked)
	}
	legacy := row("id", "7", "code", "c0de", "email", "a@x", "status", "new")
	legacy = append(legacy, Column{Name: "note", Presence: Null})
	hidden := r.HideRow(e, Legacy, legacy)
	for i, want := range []Column{{Name: "id", Text: "7"}, {Name: "code", Text: "<PERSON ROW:LEGACY/CODE C0DE>", Presence: Masked},
		{Name: "email", Text: "<PERSON ROW:LEGACY/EMAIL A@X>", Presence: Masked}, {Name: "status", Text: "new"}, {Name: "note", Presence: Null}} {
		if hidden[i] != want {
			t.Errorf("column %d is %+v, want %+v", i, hidden[i], want)
		}
	}
	if legacy[1].Text != "c0de" {
		t.Error("the row itself was changed")
	}
	// A hidden column is as good as one that the log does not carry.
	if image := e.Image(Legacy, hidden); !slices.Contains(image.Unavailable, "email") {
		t.Errorf("image %+v", image)
	}
	values := r.HideValues(e, e.Values(Legacy, legacy))
	if *values["email"] != "masked:<PERSON EMAIL A@X>" || *values["status"] != "new" || values["note"] != nil {
		t.Errorf("values %v", values)
	}
	key := r.HideKey(e, []string{"7", "c0de"})
	if fmt.Sprint(key) != "[7 masked:<PERSON CODE C0DE>]" || !e.SameKey([]string{"7", "c0de"}, key) || e.SameKey([]string{"8", "c0de"}, key) {
		t.Errorf("key %v", key)
	}
	if got := r.HideKeyOf("nobody", []string{"c0de"}); strings.Contains(got[0], "c0de") {
		t.Errorf("the key of an unknown entity is shown: %v", got)
	}
	if id := r.DivergenceID("person", "0123"); id == "0123" || len(id) != 4 {
		t.Errorf("id %q", id)
	}

	v := &Evidence{Side: Legacy, Txn: "77", Tag: Tag{WriteID: "mail to a@x.org", Service: "c0de", Traceparent: "00-abc"}, Row: legacy}
	r.HideEvidence(e, v, &Change{Side: Legacy, Before: row("email", "old@x"), After: legacy, Key: []string{"7", "c0de"}})
	if v.Tag.WriteID != "mail to a@x.org" || strings.Contains(v.Tag.Service, "c0de") || v.Tag.Traceparent != "00-abc" || v.Txn != "77" {
		t.Errorf("a text of three letters counts as itself only: %+v", v)
	}
	v.Tag.WriteID = "from old@x"
	r.HideEvidence(e, v, &Change{Side: Legacy, Before: row("email", "old@x"), After: legacy})
	if strings.Contains(v.Tag.WriteID, "old@x") {
		t.Errorf("tag %+v", v.Tag)
	}

	bare := mustRules(t, strings.Replace(markedRules, "email.substring(2)", "email", 1))
	if got := bare.HideRow(e, Legacy, legacy)[1]; got.Presence != Masked || got.Text != "no-key" {
		t.Errorf("without a key: %+v", got)
	}
}

// TestSensitive_VerdictsDoNotDependOnIt: no rules' version changes by a mark.
func TestSensitive_VerdictsDoNotDependOnIt(t *testing.T) {
	with := strings.Replace(markedRules, "email.substring(2)", "email", 1)
	without := strings.ReplaceAll(with, ", sensitive: true", "")
	a, b := mustRules(t, with), mustRules(t, without)
	if a.Version != b.Version {
		t.Errorf("%s and %s", a.Version, b.Version)
	}
	if a.Hiding() == b.Hiding() || b.Hiding() != "" || a.Masked(testMask).Hiding() == a.Hiding() {
		t.Error("what is hidden is not told apart")
	}
}

// TestSensitive_NothingIsAddedToIt: a difference that is published says how a
// hidden value changes.
func TestSensitive_NothingIsAddedToIt(t *testing.T) {
	text := strings.Replace(markedRules, "code: {type: text, sensitive: true}", "code: {type: text}\n      points: {type: integer, sensitive: true}", 1) +
		"    compensate: {rules: [{name: count, policy: delta, field: points}, {name: join, kinds: [stale], policy: merge, fields: {points: delta}}]}\n"
	_, err := ParseMigration([]byte(text), "m.yaml")
	if err == nil || strings.Count(err.Error(), "points is sensitive") != 2 {
		t.Error(err)
	}
}
