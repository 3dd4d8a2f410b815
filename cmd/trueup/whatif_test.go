package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The difference that other rules make is what a person reads: a tolerance
// makes one of two divergences disappear.
func TestAuditWhatIfOfAFile(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const migration = `apiVersion: trueup/v1
kind: Migration
metadata: {name: lab, owner: team-lab}
entities:
  - name: measure
    key: [id]
    legacy: {table: public.measures}
    target: {table: lab.measures}
    fields:
      id: {type: integer}
      v: {type: float%s}
    settleWindow: 2s
`
	asIs, other := put("asis.yaml", fmt.Sprintf(migration, "")), put("other.yaml", fmt.Sprintf(migration, ", relative: 1e-6"))
	change := func(side, key, v string) string {
		return fmt.Sprintf(`{"kind":"change","side":%[1]q,"entity":"measure","key":[%[2]q],"op":"insert","source":"%[1]s-1","epoch":1,"pos":"000000000000000%[2]s","ordinal":0,"txn":%[2]q,"commit_ts":"2026-11-23T10:00:00Z","after":{"id":%[2]q,"v":%[3]q}}`, side, key, v)
	}
	progress := func(side string) string {
		return fmt.Sprintf(`{"kind":"progress","side":%[1]q,"source":"%[1]s-1","epoch":1,"pos":"0000000000000009","ts":"2026-11-23T10:00:10Z"}`, side)
	}
	log := put("log.jsonl", strings.Join([]string{
		`{"kind":"control","rules":"lab-v1","authority":"legacy","settle_window":"2s","baseline":"empty"}`,
		change("legacy", "1", "1.5"), change("legacy", "2", "2.5"), change("legacy", "3", "3.5"),
		change("target", "1", "1.5"), change("target", "2", "2.500000001"), change("target", "3", "4.5"),
		progress("legacy"), progress("target"), `{"kind":"end"}`, ""}, "\n"))

	out, _, err := execute(t.Context(), "audit", "--file", log, "--rules", asIs, "--what-if", other, "--json")
	if code := exitStatus(0); !errors.As(err, &code) || code != exitDiverged {
		t.Errorf("%v: key 3 diverges under both", err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, parts := range [][]string{
		{`"kind":"difference"`, `"class":"gone"`, `"verdict":"mismatch"`, `"key":["2"]`},
		{`"kind":"what_if"`, `"same":1`, `"gone":1`, `"new":0`, `"changed":0`, `"diverged":2`},
		{`"kind":"summary"`, `"compared":3`, `"equal":2`, `"diverged":1`},
	} {
		for _, part := range parts {
			if i >= len(lines) || !strings.Contains(lines[i], part) {
				t.Errorf("line %d lacks %s:\n%s", i+1, part, out)
			}
		}
	}
	out, _, _ = execute(t.Context(), "audit", "--file", log, "--rules", asIs, "--what-if", other)
	for _, says := range []string{"gone: mismatch", "1 divergences gone, 0 new, 0 changed; 1 the same", "as it is:", "what if:"} {
		if !strings.Contains(out, says) {
			t.Errorf("does not say %q:\n%s", says, out)
		}
	}
	t.Log(out)
}

// Maps, defaults and texts that stand for NULL are asked about like any rule: what
// they explain is gone, what they do not stays, and says by which rules it differs.
func TestAuditWhatIfOfMapsAndDefaults(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const migration = `apiVersion: trueup/v1
kind: Migration
metadata: {name: shop, owner: team-shop}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      status: {type: enum, %s}
      currency: {type: text, %s}
      note: {type: text, %s}
    settleWindow: 2s
`
	asIs := put("asis.yaml", fmt.Sprintf(migration, "legacy: status", "legacy: currency", "legacy: note"))
	other := put("other.yaml", fmt.Sprintf(migration, "legacy: {map: {N: new, P: paid}, default: new}", "legacy: {absent: true, default: EUR}", "legacy: {emptyIsNull: true}"))
	change := func(side, key, after string) string {
		return fmt.Sprintf(`{"kind":"change","side":%[1]q,"entity":"order","key":[%[2]q],"op":"insert","source":"%[1]s-1","epoch":1,"pos":"000000000000000%[2]s","ordinal":0,"txn":%[2]q,"commit_ts":"2026-11-23T10:00:00Z","after":{"id":%[2]q,%[3]s}}`, side, key, after)
	}
	progress := func(side string) string {
		return fmt.Sprintf(`{"kind":"progress","side":%[1]q,"source":"%[1]s-1","epoch":1,"pos":"0000000000000009","ts":"2026-11-23T10:00:10Z"}`, side)
	}
	lines := []string{`{"kind":"control","rules":"shop-v1","authority":"legacy","settle_window":"2s","baseline":"empty"}`}
	for i, rows := range [][2]string{
		{`"status":"N","currency":"EUR","note":"a"`, `"status":"new","currency":"EUR","note":"a"`},   // a map
		{`"status":null,"currency":"EUR","note":"a"`, `"status":"new","currency":"EUR","note":"a"`},  // a default
		{`"status":"N","note":""`, `"status":"new","currency":"EUR","note":null`},                    // no column, and an empty text
		{`"status":"P","currency":"EUR","note":"a"`, `"status":"new","currency":"EUR","note":"a"`},   // another state
		{`"status":"X","currency":"EUR","note":"a"`, `"status":"X","currency":"EUR","note":"a"`},     // a value outside the map
		{`"status":"new","currency":"EUR","note":"a"`, `"status":"new","currency":"EUR","note":"a"`}, // one that looks the same, and is not in it
	} {
		key := fmt.Sprint(i + 1)
		lines = append(lines, change("legacy", key, rows[0]), change("target", key, rows[1]))
	}
	log := put("log.jsonl", strings.Join(append(lines, progress("legacy"), progress("target"), `{"kind":"end"}`, ""), "\n"))

	audit := func(args ...string) string {
		out, _, err := execute(t.Context(), append([]string{"audit", "--file", log}, args...)...)
		if code := exitStatus(0); !errors.As(err, &code) || code != exitDiverged {
			t.Errorf("%v: %v: key 4 diverges under all rules", args, err)
		}
		return out
	}
	out := audit("--rules", asIs, "--what-if", other, "--json")
	for key, class := range map[string]string{"1": "gone", "2": "gone", "3": "gone", "5": "new", "6": "new"} {
		if n := strings.Count(out, `"class":"`+class+`"`); n == 0 || !strings.Contains(out, `"key":["`+key+`"]`) {
			t.Errorf("key %s is not %s:\n%s", key, class, out)
		}
	}
	if want := `"kind":"what_if","same":1,"gone":3,"new":2,"changed":0`; !strings.Contains(out, want) {
		t.Errorf("want %s in\n%s", want, out)
	}
	out = audit("--rules", other, "--json")
	for key, want := range map[string]string{
		"4": `"verdict":"mismatch"`,
		"5": `"verdict":"schema"`,
		"6": `"verdict":"schema"`,
	} {
		i := strings.Index(out, `"key":["`+key+`"]`)
		if i < 0 {
			t.Fatalf("no divergence of key %s:\n%s", key, out)
		}
		start := strings.LastIndex(out[:i], "\n") + 1
		line, _, _ := strings.Cut(out[start:], "\n")
		const rules = `"field_rules":[{"field":"status","rules":["legacy.map","legacy.default"],"applied":["legacy.map"]},` +
			`{"field":"currency","rules":["legacy.absent"],"applied":["legacy.absent"]},{"field":"note","rules":["legacy.emptyIsNull"]}]`
		if !strings.Contains(line, want) || !strings.Contains(line, `"fields":["status"]`) || !strings.Contains(line, rules) {
			t.Errorf("key %s: want %s and %s in\n%s", key, want, rules, line)
		}
	}
	if out = audit("--rules", other); strings.Count(out, "by legacy.map (applied), legacy.default") != 3 || !strings.Contains(out, "3 equal, 3 diverged") {
		t.Errorf("does not say by what three fields differ:\n%s", out)
	}
}
