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
