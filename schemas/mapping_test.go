package schemas

import (
	"slices"
	"testing"
)

// mustRules reads a migration and returns its rules.
func mustRules(t testing.TB, yaml string) *Rules {
	t.Helper()
	m, err := ParseMigration([]byte(yaml), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// row makes a row of name and text pairs.
func row(pairs ...string) Row {
	var r Row
	for i := 0; i < len(pairs); i += 2 {
		r = append(r, Column{Name: pairs[i], Text: pairs[i+1]})
	}
	return r
}

func TestContractRowsAreEqual(t *testing.T) {
	e, _ := mustRules(t, contractMigration).Entity("order")
	legacy := row("id", "42", "state", "new", "amount", "10.50", "placed", "2026-11-23 10:00:00.123999+00", "note", "x")
	target := row("id", "42", "status", "new", "amount", "10.5", "placed_at", "2026-11-23 10:00:00.123", "note", "y")
	a, b := e.Image(Legacy, legacy), e.Image(Target, target)
	if !a.Exact() || !b.Exact() || !e.Equal(a, b) || !e.Equal(a, a) {
		t.Errorf("images %+v and %+v are not equal", a, b)
	}
	if d := e.Diff(e.Values(Legacy, legacy), e.Values(Target, target)); d != nil {
		t.Errorf("they differ in %v", d)
	}
	for side, r := range map[Side]Row{Legacy: legacy, Target: target} {
		key, err := e.Key(side, r)
		if err != nil || !slices.Equal(key, []string{"42"}) {
			t.Errorf("key on %s is %q, %v", side, key, err)
		}
	}
	target[2].Text = "10.51"
	if e.Equal(a, e.Image(Target, target)) {
		t.Error("another amount is equal")
	}
	if d := e.Diff(e.Values(Legacy, legacy), e.Values(Target, target)); !slices.Equal(d, []string{"amount"}) {
		t.Errorf("they differ in %v, want amount", d)
	}
	written, err := e.Columns(Target, e.Values(Legacy, legacy))
	want := row("id", "42", "status", "new", "amount", "10.50", "placed_at", "2026-11-23 10:00:00.123")
	if err != nil || !slices.Equal(written, want) {
		t.Errorf("to write are %v, %v; want %v", written, err, want)
	}
	if !e.Equal(a, e.Image(Target, append(written, Column{Name: "note"}))) {
		t.Error("what is written is not equal")
	}
	if string(e.MessageKey([]string{"42"})) != `["order","42"]` || string(e.PartitionKey([]string{"42"})) != `["42"]` {
		t.Errorf("keys are %s and %s", e.MessageKey([]string{"42"}), e.PartitionKey([]string{"42"}))
	}
}
