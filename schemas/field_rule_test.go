package schemas

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// "Each declared and each visible in the verdict": every rule of the file has a word,
// and says whether it had an effect on two rows.
func TestFieldRules(t *testing.T) {
	null := Column{Name: "v", Presence: Null}
	is := func(text string) Column { return Column{Name: "v", Text: text} }
	for _, c := range []struct {
		field          string
		legacy, target Column
		want           string // the rules as a line; "" for none
		equal          bool
	}{
		{"v: {type: text}", is("a"), is("b"), "", false},
		{"v: {type: decimal, scale: 2}", is("1.5"), is("1.50"), "", true},
		{"v: {type: text, ignore: true, legacy: {default: x}}", is("a"), is("b"), "ignored", true},
		{"v: {type: float, relative: 1e-9}", is("1"), is("1.0000000000001"), "relative=1e-09 (applied)", true},
		{"v: {type: float, relative: 1e-9}", is("1"), is("1.1"), "relative=1e-09 (applied)", false},
		{"v: {type: float, relative: 1e-9}", is("1"), is("1.0"), "relative=1e-09", true},
		{"v: {type: float, ulps: 4}", is("1"), null, "ulps=4", false},
		{"v: {type: timestamp, precision: 3}", is("2026-01-02 03:04:05.1234"), is("2026-01-02 03:04:05.123"), "precision=3 truncate (applied)", true},
		{"v: {type: timestamp, precision: 3, rounding: half_up}", is("2026-01-02 03:04:05.12"), is("2026-01-02 03:04:05"), "precision=3", false},
		{"v: {type: timestamp}", is("2026-01-02 03:04:05"), is("2026-01-02 03:04:06"), "", false},
		{"v: {type: time, precision: 0, rounding: half_up}", is("03:04:05.6"), is("03:04:06"), "precision=0 (applied)", true},
		{"v: {type: array, of: {type: timestamp, precision: 0, rounding: truncate}}", is(`["2026-01-02 03:04:05.6"]`), is(`["2026-01-02 03:04:05"]`), "of.precision=0 truncate (applied)", true},
		{"v: {type: text, collation: [trimend, casefold]}", is("A "), is("a"), "collation=casefold,trimend (applied)", true},
		{"v: {type: text, collation: casefold}", is("a"), is("b"), "collation=casefold", false},
		{"v: {type: enum, legacy: {map: {N: new}}, target: {map: {n: new}}}", is("N"), is("n"), "legacy.map (applied), target.map (applied)", true},
		{"v: {type: enum, legacy: {map: {N: new}}}", is("X"), is("new"), "legacy.map (applied)", false},
		{"v: {type: enum, legacy: {map: {N: new}}}", null, is("new"), "legacy.map", false},
		{"v: {type: enum, legacy: {map: {N: new}, default: new, emptyIsNull: true}}", is(""), is("new"), "legacy.emptyIsNull (applied), legacy.map, legacy.default (applied)", true},
		{"v: {type: text, default: x}", null, is("x"), "legacy.default (applied), target.default", true},
		{"v: {type: text, target: {emptyIsNull: true}}", null, is(""), "target.emptyIsNull (applied)", true},
		{"v: {type: text, target: {emptyIsNull: true}}", is("a"), is("b"), "target.emptyIsNull", false},
		{"v: {type: text, legacy: {absent: true, default: x}}", null, is("x"), "legacy.absent (applied)", true},
		{"v: {type: text, legacy: {expr: \"v + 'b'\"}}", is("a"), is("ab"), "legacy.expr (applied)", true},
		{"v: {type: text, legacy: {expr: \"v + 'b'\"}}", null, is("ab"), "legacy.expr", false},
		{"v: {type: text, sensitive: true, collation: casefold}", is("A"), is("a"), "collation=casefold", true},
	} {
		e := entityOf(t, Postgres, MariaDB, c.field)
		legacy, target := Row{is("1"), c.legacy}, Row{is("1"), c.target}
		legacy[0].Name, target[0].Name = "id", "id"
		got := ""
		rules := e.FieldRules(legacy, target)
		if rule := RuleOf(rules, "v"); rule != nil {
			got = rule.String()
		}
		if got != c.want || len(rules) > 1 {
			t.Errorf("%s of %v and %v: %q, want %q", c.field, c.legacy, c.target, got, c.want)
		}
		if equal := e.Equal(e.Image(Legacy, legacy), e.Image(Target, target)); equal != c.equal {
			t.Errorf("%s of %v and %v: equal is %v", c.field, c.legacy, c.target, equal)
		}
		for _, rows := range [][2]Row{{nil, target}, {legacy, nil}, {nil, nil}} {
			for _, rule := range e.FieldRules(rows[0], rows[1]) {
				if len(rule.Applied) > 0 || !slices.Equal(rule.Rules, RuleOf(rules, "v").Rules) {
					t.Errorf("%s without a row: %+v", c.field, rule)
				}
			}
		}
	}
}

// Words of rules are those of the file, so that a reader of an event finds them there.
func TestFieldRulesAreNamedAsInTheFile(t *testing.T) {
	e := entityOf(t, Postgres, MariaDB, "v: {type: enum, legacy: {map: {N: new}, default: new, emptyIsNull: true}, target: {absent: true, default: new}}")
	schema := string(SchemaJSON())
	for _, rule := range e.FieldRules(nil, nil)[0].Rules {
		_, key, ok := strings.Cut(rule, ".")
		if !ok || !strings.Contains(schema, fmt.Sprintf("%q:", key)) {
			t.Errorf("rule %s is no key of the file", rule)
		}
	}
}
