package schemas

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func compensateSample(t *testing.T) (*Entity, *Rules) {
	t.Helper()
	m, err := LoadMigration("testdata/migration/good/compensate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules.Entities()[0], rules
}

// The first rule that applies decides, and it is said at which age another may.
func TestChoose(t *testing.T) {
	e, rules := compensateSample(t)
	if rules.Stage != "dual-write" {
		t.Errorf("stage %q", rules.Stage)
	}
	for _, c := range []struct {
		kind  Kind
		stage string
		age   time.Duration
		want  string
		next  time.Duration
	}{
		{Rogue, "", 0, "by-hand", 5 * time.Minute},
		{Rogue, "", 5 * time.Minute, "ghosts", time.Hour},
		{Resurrected, "", time.Minute, "default", 5 * time.Minute},
		{Mismatch, "", 2 * time.Hour, "fields", 0},
		{Stale, "", time.Minute, "counters", time.Hour},
		{Stale, "", time.Hour, "odd", 0},
		{Stale, "cutover", time.Hour, "latest", 0},
		{Missing, "shadow", time.Hour - 1, "default", time.Hour},
	} {
		r, next := e.Compensate.Choose(c.kind, c.stage, c.age)
		if r.Name != c.want || next != c.next {
			t.Errorf("%s in stage %q, %s old: rule %s, next at %s; want %s, %s", c.kind, c.stage, c.age, r.Name, next, c.want, c.next)
		}
		if again, ok := e.Compensate.Rule(r.Version); !ok || again != r {
			t.Errorf("rule %q is not found by its version", r.Version)
		}
	}
	if _, ok := e.Compensate.Rule("ghosts@00000000"); ok {
		t.Error("a rule of another version was found")
	}
	if !e.Compensate.CanWrite(Target, Legacy) || !e.Compensate.CanWrite(Legacy, Legacy) {
		t.Error("the rules can write both sides")
	}
}

func TestExpressionNamesPolicy(t *testing.T) {
	e, _ := compensateSample(t)
	r, ok := e.Compensate.Rule(e.Compensate.Rules[5].Version)
	if !ok || r.Name != "odd" {
		t.Fatal("no rule odd")
	}
	keep := "keep"
	d := &Divergence{Verdict: Stale, Side: Legacy, Authority: &Evidence{Side: Legacy, Row: row("id", "1", "note", keep)}}
	for _, c := range []struct {
		note string
		age  time.Duration
		want string
	}{{"keep", 3 * time.Hour, PolicyReportOnly}, {"x", 3 * time.Hour, PolicyTargetWins}, {"x", time.Hour, PolicyAuthorityWins}} {
		d.Authority.Row = row("id", "1", "note", c.note)
		if got, err := r.Decide(e, d, "", c.age); err != nil || got != c.want {
			t.Errorf("%s, %s: %q, %v", c.note, c.age, got, err)
		}
	}
	d.Authority.Row = row("id", "1")
	if got, err := r.Decide(e, d, "", 0); err == nil {
		t.Errorf("a row without the column: %q", got)
	}
}

// A rule's version changes with whatever it says.
func TestRuleVersion(t *testing.T) {
	a := CompensateRule{Name: "a", Kinds: []Kind{Stale}, Policy: PolicyMerge, Mode: "apply", Fields: map[string]string{"x": "max", "y": "min"}}
	seen := map[string]bool{a.digest(): true}
	for i, change := range []func(*CompensateRule){
		func(r *CompensateRule) { r.Kinds = nil }, func(r *CompensateRule) { r.Stages = []string{"s"} }, func(r *CompensateRule) { r.OlderThan = 1 },
		func(r *CompensateRule) { r.YoungerThan = 1 }, func(r *CompensateRule) { r.Policy = PolicyMax }, func(r *CompensateRule) { r.Mode = "report" },
		func(r *CompensateRule) { r.Field = "f" }, func(r *CompensateRule) { r.Fields = map[string]string{"x": "min", "y": "max"} },
		func(r *CompensateRule) { r.Expire = 1 }, func(r *CompensateRule) { r.WritesPerMinute = 1 }, func(r *CompensateRule) { r.ApproveFirst = 1 },
		func(r *CompensateRule) { r.expr = &policyExpression{text: "x"} },
	} {
		b := a
		change(&b)
		if seen[b.digest()] {
			t.Errorf("change %d leaves the version", i)
		}
		seen[b.digest()] = true
	}
}

func TestCompareFields(t *testing.T) {
	e, _ := compensateSample(t)
	for _, c := range []struct{ field, less, more string }{
		{"visits", "-2", "10"}, {"visits", "9", "10"}, {"amount", "9.50", "10.05"}, {"amount", "-Infinity", "-1.00"}, {"amount", "1.00", "Infinity"},
		{"seen", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.001Z"}, {"seen", "9999-12-31T23:59:59.999Z", "10000-01-01T00:00:00.000Z"},
		{"seen", "0002-01-01T00:00:00.000Z BC", "0001-01-01T00:00:00.000Z BC"}, {"seen", "0001-12-31T00:00:00.000Z BC", "0001-01-01T00:00:00.000Z"},
		{"seen", "-infinity", "0002-01-01T00:00:00.000Z BC"}, {"seen", "294276-12-31T23:59:59.999Z", "infinity"},
	} {
		if got, ok := e.Compare(c.field, c.less, c.more); got >= 0 || !ok {
			t.Errorf("%s: %s against %s is %d, %v", c.field, c.less, c.more, got, ok)
		}
		if got, ok := e.Compare(c.field, c.more, c.less); got <= 0 || !ok {
			t.Errorf("%s: %s against %s is %d, %v", c.field, c.more, c.less, got, ok)
		}
		if got, ok := e.Compare(c.field, c.more, c.more); got != 0 || !ok {
			t.Errorf("%s: %s against itself is %d, %v", c.field, c.more, got, ok)
		}
	}
	for _, c := range []struct{ field, a, b string }{{"amount", "NaN", "1.00"}, {"amount", "NaN", "NaN"}, {"note", "a", "b"}, {"nothing", "1", "2"}} {
		if _, ok := e.Compare(c.field, c.a, c.b); ok {
			t.Errorf("%s: %s and %s have an order", c.field, c.a, c.b)
		}
	}
}

func TestDifferences(t *testing.T) {
	e, _ := compensateSample(t)
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) string {
			return big.NewRat(rapid.Int64().Draw(t, name), 100).FloatString(2)
		}
		a, b := draw("a"), draw("b")
		d, err := e.Difference("amount", a, b)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Sum(b, d)
		if got, ok := e.Compare("amount", back, a); err != nil || got != 0 || !ok {
			t.Fatalf("%s - %s = %s, and back %s", a, b, d, back)
		}
		n, err := Negate(d)
		if err != nil {
			t.Fatal(err)
		}
		if zero, err := Sum(d, n); err != nil || zero != "0" {
			t.Fatalf("%s and %s make %s", d, n, zero)
		}
	})
	for _, c := range []struct{ field, a, b string }{{"note", "1", "2"}, {"amount", "NaN", "1"}, {"amount", "Infinity", "Infinity"}, {"visits", "1e5", "0x10"}} {
		if got, err := e.Difference(c.field, c.a, c.b); err == nil {
			t.Errorf("%s: %s less %s is %s", c.field, c.a, c.b, got)
		}
	}
}
