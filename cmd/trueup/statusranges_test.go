package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// "Per entity and key range, what was compared and how lately; no_data is never a pass":
// the status has the bounds of what is compared, as of when it was read, and the gaps
// with the side that lacks. Sensitive keys are digests in it.
func TestStatusSaysWhichKeysAreCompared(t *testing.T) {
	const migration = `apiVersion: trueup/v1
kind: Migration
metadata: {name: shop}
entities:
  - name: line
    key: [order, sku]
    fields: {order: {type: integer}, sku: {type: text, SENSITIVE}}
`
	for _, sensitive := range []bool{false, true} {
		m, err := schemas.ParseMigration([]byte(strings.Replace(migration, ", SENSITIVE", map[bool]string{true: ", sensitive: true"}[sensitive], 1)), "m.yaml")
		if err != nil {
			t.Fatal(err)
		}
		rules, err := m.Rules()
		if err != nil {
			t.Fatal(err)
		}
		rules = rules.Masked(func(_, _, text string) string { return "hidden-" + strings.Repeat("x", len(text)) })
		e := rules.Entities()[0]
		cut := func(behind bool, key ...string) reconcile.Cut {
			return reconcile.Cut{Key: e.OrderKey(key), Behind: behind}
		}
		since := func(legacy, target schemas.Micros) [3]schemas.Micros {
			return [3]schemas.Micros{schemas.Legacy: legacy * 1_000_000, schemas.Target: target * 1_000_000}
		}
		a, b, c := cut(false, "-5", "a"), cut(true, "70", "b"), cut(true, "900", "c")
		all := []reconcile.EntityRanges{{Entity: "line", Ranges: []reconcile.KeyRange{
			{To: a, Since: since(0, 3)}, {From: a, To: b, Since: since(5, 3)}, {From: b, To: c, Since: since(5, 0)}, {From: c, Since: since(7, 0)}}},
			{Entity: "gone", Ranges: []reconcile.KeyRange{{}}}}
		got := rangesStatusOf(rules, all, [3]schemas.Micros{schemas.Legacy: 9_000_000, schemas.Target: 8_000_000})
		said, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		hide := func(text string) string {
			if !sensitive {
				return text
			}
			return strings.NewReplacer(`"a"`, `"masked:hidden-x"`, `"b"`, `"masked:hidden-x"`, "/a", "/masked:hidden-x", "/b", "/masked:hidden-x").Replace(text)
		}
		want := hide(`[{"entity":"line","covered":[{"from":["-5","a"],"to":["70","b"],"as_of":{"legacy":"1970-01-01T00:00:05Z","target":"1970-01-01T00:00:03Z"}}],` +
			`"gaps":[{"before":["-5","a"],"missing":["legacy"]},{"after":["70","b"],"missing":["target"]}],"compared_to":"1970-01-01T00:00:08Z"}]`)
		if string(said) != want {
			t.Errorf("said\n%s\nwant\n%s", said, want)
		}
		var out strings.Builder
		printCoverage(&out, &statusFile{Ranges: got})
		text := hide("  compared  line keys from -5/a to 70/b, read as of 1970-01-01T00:00:05Z (legacy) and 1970-01-01T00:00:03Z (target)\n" +
			"  no data   line keys before -5/a: not read on legacy\n  no data   line keys after 70/b: not read on target\n")
		if out.String() != text {
			t.Errorf("said:\n%swant:\n%s", out.String(), text)
		}
	}
	whole := rangesStatus{Entity: "line", Covered: []coveredStatus{{AsOf: map[string]string{}}}}
	nothing := rangesStatus{Entity: "line", Gaps: []gapStatus{{Missing: []string{"legacy", "target"}}}}
	var out strings.Builder
	printCoverage(&out, &statusFile{Ranges: []rangesStatus{whole, nothing}})
	if out.Len() > 0 {
		t.Errorf("said of what is whole, and of what is not begun: %s", out.String())
	}
}
