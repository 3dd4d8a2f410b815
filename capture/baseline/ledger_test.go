package baseline

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/schemas"
)

// I23: a range that is covered says as of when the first of its rows was read, if that is
// not where it is said: chunks are handed over in any order, and where rows have another
// order than keys all of them are covered at once, also by a process that read only the last.
func TestI23_CoverageSaysSinceWhenItsRowsWereRead(t *testing.T) {
	m, err := schemas.LoadMigration("../../examples/orders/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	e := rules.Entities()[0]
	at := func(key string) []string { return []string{key} }
	hand := func(l *ledger, p *piece, pos string) []*schemas.Covered {
		covered, _, _ := l.hand(p, p.to, 1, pos)
		return covered
	}
	said := func(from, to []string, readFrom string) []*schemas.Covered {
		return []*schemas.Covered{{Side: schemas.Target, Entity: e.Name, From: from, To: to, ReadFrom: readFrom}}
	}

	ordered := &ledger{table: &Table{Entity: e}, side: schemas.Target}
	a, b, c := ordered.plan(at("10")), ordered.plan(at("20")), ordered.plan(nil)
	for i, step := range []struct {
		p    *piece
		pos  string
		want []*schemas.Covered
	}{
		{b, "0A", nil},
		{a, "0B", said(nil, at("20"), "0A")},
		{c, "0C", said(at("20"), nil, "")},
	} {
		if diff := cmp.Diff(step.want, hand(ordered, step.p, step.pos)); diff != "" {
			t.Errorf("chunk %d, ordered (-want +got):\n%s", i, diff)
		}
	}

	unordered := &ledger{table: &Table{Entity: e, Unordered: "because"}, side: schemas.Target}
	a, b = unordered.plan(at("10")), unordered.plan(at("20"))
	if got := append(hand(unordered, a, "0A"), hand(unordered, b, "0B")...); got != nil {
		t.Errorf("covered before all is read: %v", got)
	}
	again := &ledger{table: unordered.table, side: schemas.Target, done: at("20"), began: unordered.since()}
	if diff := cmp.Diff(said(nil, nil, "0A"), hand(again, again.plan(nil), "0C")); diff != "" {
		t.Errorf("unordered, the last chunk by another process (-want +got):\n%s", diff)
	}
}
