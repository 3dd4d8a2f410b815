package compensate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

func rulesOf(t testing.TB, yaml string) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(yaml), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// Transcripts of plans. A divergence is written as
//
//	plan verdict=stale [entity=order] [key=1] [side=target] [stage=closed] [policy=report_only] [rule=name] [rollout=4]
//	authority update            or: authority none, authority delete, authority absent (covered, without a row)
//	  id=1                      the row's columns: NULL, UNAVAILABLE, or text to the end of the line
//	follower insert
//	  id=1
//	  status=a
//
// and answered by the compensation, or by why there is none.
func TestPlan(t *testing.T) {
	datadriven.Walk(t, "testdata/plan", func(t *testing.T, path string) {
		var rules *schemas.Rules
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			switch td.Cmd {
			case "rules":
				rules = rulesOf(t, td.Input)
				return describeTables(rules)
			case "plan":
				d, e, r := divergenceOf(t, td, rules)
				return answer(t, d, e, r)
			}
			t.Fatalf("what is %q?", td.Cmd)
			return ""
		})
	})
}

func describeTables(rules *schemas.Rules) string {
	var out strings.Builder
	for _, side := range schemas.Sides {
		for _, table := range TablesOf(rules, side) {
			fmt.Fprintf(&out, "%s %s.%s: key %v, columns %v\n", side, table.Schema, table.Name, table.Key, table.Columns)
		}
	}
	return out.String()
}

func divergenceOf(t testing.TB, td *datadriven.TestData, rules *schemas.Rules) (schemas.Divergence, *schemas.Entity, *schemas.CompensateRule) {
	t.Helper()
	words := map[string]string{"entity": "order", "key": "1", "side": "legacy", "stage": "opened", "policy": "authority_wins", "sequence": "0"}
	for _, arg := range td.CmdArgs {
		words[arg.Key] = strings.Join(arg.Vals, ",")
	}
	e, ok := rules.Entity(words["entity"])
	if !ok {
		t.Fatalf("no entity %q", words["entity"])
	}
	side, err := schemas.ParseSide(words["side"])
	if err != nil {
		t.Fatal(err)
	}
	sequence, err := strconv.Atoi(words["sequence"])
	if err != nil {
		t.Fatal(err)
	}
	d := schemas.Divergence{
		ID: "d1", Stage: schemas.Stage(words["stage"]), Verdict: schemas.Kind(words["verdict"]), Entity: e.Name,
		Key: strings.Split(words["key"], ","), Side: side, At: 1_000_000, Rules: rules.Version, Sequence: uint32(sequence),
	}
	if epoch, ok := words["rollout"]; ok { // handed over in that epoch
		if d.RolloutEpoch, err = strconv.ParseUint(epoch, 10, 64); err != nil {
			t.Fatal(err)
		}
		d.HandedOver = true
	}
	var current *schemas.Evidence
	for _, line := range strings.Split(td.Input, "\n") {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(line, "  ") {
			current.Row = append(current.Row, columnOf(name, value))
			continue
		}
		who, op, _ := strings.Cut(line, " ")
		if op == "none" || op == "absent" {
			d.AuthorityAbsent = d.AuthorityAbsent || op == "absent"
			continue
		}
		current = &schemas.Evidence{EventID: schemas.EventID{Source: who, Epoch: 1, Pos: "0A", Ordinal: 0}, Op: opOf(t, op), Side: side}
		switch who {
		case "authority":
			d.Authority = current
		case "follower":
			current.Side = side.Other()
			d.Follower = current
		default:
			t.Fatalf("who is %q?", who)
		}
	}
	for _, v := range []*schemas.Evidence{d.Authority, d.Follower} {
		if v != nil {
			v.Values = e.Values(v.Side, v.Row)
		}
	}
	d.Fields = e.Diff(valuesOf(e, d.Authority), valuesOf(e, d.Follower))
	r := &schemas.CompensateRule{Name: "default", Policy: words["policy"], Mode: e.Compensate.Mode}
	for _, named := range e.Compensate.Rules {
		if named.Name == words["rule"] {
			r = named
		}
	}
	return d, e, r
}

func columnOf(name, value string) schemas.Column {
	switch value {
	case "NULL":
		return schemas.Column{Name: name, Presence: schemas.Null}
	case "UNAVAILABLE":
		return schemas.Column{Name: name, Presence: schemas.Unavailable}
	}
	return schemas.Column{Name: name, Text: value}
}

func opOf(t testing.TB, name string) schemas.Op {
	t.Helper()
	for op := schemas.OpInsert; op <= schemas.OpTruncate; op++ {
		if op.String() == name {
			return op
		}
	}
	t.Fatalf("what op is %q?", name)
	return 0
}

// answer shows a plan, and wants what every plan promises.
func answer(t testing.TB, d schemas.Divergence, e *schemas.Entity, r *schemas.CompensateRule) string {
	t.Helper()
	c, err := Plan(d, e, r, "")
	var no *NotPlannable
	if errors.As(err, &no) {
		return "refused: " + no.Reason + "\n"
	}
	if err != nil {
		t.Fatal(err)
	}
	promised(t, d, e, c, r.Version == "")
	again, err := Plan(d, e, r, "")
	if err != nil || show(again) != show(c) {
		t.Fatalf("planned again: %s, %v", show(again), err)
	}
	return show(c)
}

func show(c schemas.Compensation) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s %s.%s mode=%s from %s\n", c.ID, c.Statement, c.Schema, c.Table, c.Mode, c.DerivedOf.Source)
	for _, part := range []struct {
		name string
		row  schemas.Row
	}{{"key", c.KeyColumns}, {"expect", c.Expect}, {"set", c.Set}, {"add", c.Add}} {
		if part.name == "add" && part.row == nil {
			continue
		}
		fmt.Fprintf(&out, "%7s %s\n", part.name, showRow(part.row))
	}
	for _, s := range c.Sources {
		fmt.Fprintf(&out, "%7s of %s\n", s.Field, s.Source)
	}
	if c.Rule != "" {
		fmt.Fprintf(&out, "   rule %s, on the %s side\n", c.Rule, c.Side)
	}
	return out.String()
}

func showRow(row schemas.Row) string {
	if row == nil {
		return "absent"
	}
	var words []string
	for _, col := range row {
		switch col.Presence {
		case schemas.Null:
			words = append(words, col.Name+"=NULL")
		case schemas.Unavailable:
			words = append(words, col.Name+"=UNAVAILABLE")
		default:
			words = append(words, fmt.Sprintf("%s=%q", col.Name, col.Text))
		}
	}
	return strings.Join(words, " ")
}

// promised holds of every plan: applied to the row as judged it gives the
// authority's values and nothing else, and an applier may write it.
func promised(t testing.TB, d schemas.Divergence, e *schemas.Entity, c schemas.Compensation, authorityWins bool) {
	t.Helper()
	after := effect(c)
	authority := valuesOf(e, d.Authority)
	if differ := e.Diff(authority, e.Values(c.Side, after)); authorityWins && differ != nil {
		t.Fatalf("after %s the sides differ in %v", show(c), differ)
	}
	for _, before := range c.Expect {
		_, written := c.Set.Get(before.Name)
		if now, _ := after.Get(before.Name); after != nil && !written && now != before {
			t.Fatalf("column %s changed, and was not written", before.Name)
		}
	}
	if err := allowedOf(e, c.Side).Check(c.Side, &c); err != nil {
		t.Fatalf("an applier refuses %s: %v", show(c), err)
	}
	again, err := schemas.ParseCompensationJSON(schemas.AppendCompensationJSON(nil, &c))
	if err != nil || ID(again) != c.ID {
		t.Fatalf("read back: %+v, %v", again, err)
	}
	var origin schemas.EventID
	if d.Authority != nil {
		origin = d.Authority.EventID
	}
	if c.Side == d.Side {
		origin = d.Follower.EventID
	}
	if c.ID != ID(&c) || c.DerivedOf != origin || c.CreatedAt != d.At {
		t.Fatalf("id, origin or time of %+v", c)
	}
}

func allowedOf(e *schemas.Entity, side schemas.Side) Tables {
	t := Table{Entity: e.Name, Schema: e.Table(side).Schema, Name: e.Table(side).Name}
	for i := range e.Fields {
		column, ok := e.Fields[i].Column(side)
		if !ok {
			continue
		}
		if slices.Contains(e.KeyFields, e.Fields[i].Name) {
			t.Key = append(t.Key, column)
		}
		t.Columns = append(t.Columns, column)
	}
	return Tables{t}
}

// effect is the row after a compensation.
func effect(c schemas.Compensation) schemas.Row {
	switch c.Statement {
	case schemas.InsertRow:
		return c.Set
	case schemas.UpdateRow:
		after := slices.Clone(c.Expect)
		for i := range after {
			if col, ok := c.Set.Get(after[i].Name); ok {
				after[i] = col
			}
		}
		return after
	}
	return nil
}

// TestEvidenceReadOtherwise: evidence that the rules in force read otherwise than
// those that it was judged under is not acted upon.
func TestEvidenceReadOtherwise(t *testing.T) {
	rules := rulesOf(t, bookRules)
	e, _ := rules.Entity("order")
	for name, spoil := range map[string]func(d *schemas.Divergence){
		"value":         func(d *schemas.Divergence) { d.Authority.Row[1].Text = "forged" },
		"missing field": func(d *schemas.Divergence) { delete(d.Authority.Values, "v") },
		"null":          func(d *schemas.Divergence) { d.Follower.Values["v"] = nil },
		"side":          func(d *schemas.Divergence) { d.Follower.Side = schemas.Legacy },
		"entity":        func(d *schemas.Divergence) { d.Entity = "invoice" },
		"no authority":  func(d *schemas.Divergence) { d.Side = 0 },
	} {
		d := event(rules, "d1", 0, schemas.Opened, "order", "1", "a", "b")
		spoil(d)
		var no *NotPlannable
		if c, err := Plan(*d, e, e.Compensate.Default(), ""); !errors.As(err, &no) {
			t.Errorf("%s: planned %s, %v", name, show(c), err)
		}
	}
}

const propertyRules = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders}
stores:
  legacy: {driver: postgres, dsn: "env:L"}
  target: {driver: mariadb, dsn: "env:T"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      status: {type: text, legacy: state, target: status}
      amount: {type: decimal, scale: 2}
      done: {type: boolean}
      rate: {type: float}
      placed: {type: timestamp, precision: 3, target: placed_at}
      blob: {type: bytes}
      note: {type: text, ignore: true}
`

// TestI26_NeverInventsData: "after-image equals the authoritative side's value at
// a named position; never a merge unless a rule says so".
func TestI26_NeverInventsData(t *testing.T) {
	rules := rulesOf(t, propertyRules)
	e, _ := rules.Entity("order")
	made := make(map[schemas.Statement]int)
	rapid.Check(t, func(t *rapid.T) {
		side := rapid.SampledFrom(schemas.Sides[:]).Draw(t, "authority")
		d := schemas.Divergence{ID: rapid.StringMatching(`d[0-9]`).Draw(t, "id"), Stage: schemas.Opened, Verdict: schemas.Stale, Entity: "order",
			Key: []string{"7"}, Side: side, Rules: rules.Version, At: 5}
		d.Authority = drawEvidence(t, e, side, "authority")
		d.AuthorityAbsent = d.Authority == nil && rapid.Bool().Draw(t, "covered")
		d.Follower = drawEvidence(t, e, side.Other(), "follower")
		c, err := Plan(d, e, e.Compensate.Default(), "")
		var no *NotPlannable
		if errors.As(err, &no) {
			if differ := e.Diff(valuesOf(e, d.Authority), valuesOf(e, d.Follower)); differ != nil && (d.Authority != nil || d.AuthorityAbsent) {
				t.Fatalf("refused (%s), and the sides differ in %v", no.Reason, differ)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		made[c.Statement]++
		promisedOf(t, d, e, c)
	})
	for _, s := range []schemas.Statement{schemas.InsertRow, schemas.UpdateRow, schemas.DeleteRow} {
		if made[s] == 0 {
			t.Errorf("no %s was ever planned", s)
		}
	}
}

func promisedOf(t *rapid.T, d schemas.Divergence, e *schemas.Entity, c schemas.Compensation) {
	after := effect(c)
	if differ := e.Diff(valuesOf(e, d.Authority), e.Values(c.Side, after)); differ != nil {
		t.Fatalf("after %s the sides differ in %v", show(c), differ)
	}
	if c.Statement != schemas.UpdateRow {
		return
	}
	for i, col := range c.Expect {
		if _, written := c.Set.Get(col.Name); !written && after[i] != col {
			t.Fatalf("column %s changed, and was not written", col.Name)
		}
	}
	if _, ok := c.Set.Get("note"); ok {
		t.Fatal("an ignored field was written")
	}
	// Only what differs is written, and nothing is left out.
	differ := e.Diff(valuesOf(e, d.Authority), valuesOf(e, d.Follower))
	if len(differ) != len(c.Set) {
		t.Fatalf("%v differ, %s is written", differ, showRow(c.Set))
	}
}

func valuesOf(e *schemas.Entity, v *schemas.Evidence) map[string]*string {
	if v == nil {
		return nil
	}
	return e.Values(v.Side, v.Row)
}

// drawEvidence draws a version: never one, a delete, or a row with few values per
// column, in several spellings each.
func drawEvidence(t *rapid.T, e *schemas.Entity, side schemas.Side, name string) *schemas.Evidence {
	v := &schemas.Evidence{EventID: schemas.EventID{Source: name, Epoch: 1, Pos: rapid.StringMatching(`0[A-F]`).Draw(t, name+" pos")}, Side: side}
	switch rapid.IntRange(0, 9).Draw(t, name+" presence") {
	case 0:
		return nil
	case 1, 2:
		v.Op = schemas.OpDelete
		return v
	}
	v.Op = schemas.OpUpdate
	texts := map[string][2][]string{
		"status": {{"a", "A", "a ", "", "é"}, {"a", "A", "a ", "", "é"}},
		"amount": {{"10.50", "0.00", "-3.25"}, {"10.50", "0.00", "-3.25"}},
		"done":   {{"t", "f"}, {"1", "0"}},
		"rate":   {{"0.1", "1e+300", "-2"}, {"0.1", "1e300", "-2"}},
		"placed": {{"2026-11-23 10:00:00.123+00", "2026-11-23 10:00:00.1+00"}, {"2026-11-23 10:00:00.123", "2026-11-23 10:00:00.100"}},
		"blob":   {{`\x00ff`, `\x`}, {`\x00ff`, `\x`}},
		"note":   {{"one", "two"}, {"three", "four"}},
	}
	for i := range e.Fields {
		f := &e.Fields[i]
		column, _ := f.Column(side)
		if f.Name == "id" {
			v.Row = append(v.Row, schemas.Column{Name: column, Text: "7"})
			continue
		}
		choices := append([]string{"NULL"}, texts[f.Name][side-1]...)
		v.Row = append(v.Row, columnOf(column, rapid.SampledFrom(choices).Draw(t, name+" "+f.Name)))
	}
	v.Row = append(v.Row, schemas.Column{Name: "unmapped", Text: rapid.SampledFrom([]string{"x", "y"}).Draw(t, name+" unmapped")})
	v.Values = e.Values(side, v.Row)
	return v
}
