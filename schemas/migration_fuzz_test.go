package schemas

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// No file makes reading a migration panic; what is refused is refused with
// places that are in the file, and what is read has rules.
func FuzzParseMigration(f *testing.F) {
	for _, dir := range []string{"good", "bad"} {
		entries, err := os.ReadDir("testdata/migration/" + dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, entry := range entries {
			if src, err := os.ReadFile("testdata/migration/" + dir + "/" + entry.Name()); err == nil && strings.HasSuffix(entry.Name(), ".yaml") {
				f.Add(src)
			}
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		m, err := ParseMigration(src, "m.yaml")
		if err != nil {
			var all ConfigErrors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			for i, e := range all {
				if e.Line < 1 || e.Column < 0 || e.Problem == "" || strings.Contains(e.Problem, "%!") {
					t.Errorf("%d: %+v", i, e)
				}
			}
			return
		}
		rules, err := m.Rules()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range rules.Entities() {
			e.Image(Legacy, Row{})
			if _, err := e.Key(Target, Row{}); err == nil {
				t.Errorf("a row without columns has a key of %s", e.Name)
			}
		}
	})
}

// A name that is read is a name that is written and read again.
func FuzzTableName(f *testing.F) {
	for _, text := range []string{"a", "a.b", `"a.b"."c""d"`, "`a``b`", `"`, "a.", ".a", "a b", "оrders", `""`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range append([]Driver{""}, Drivers...) {
			name, err := parseTableName(text, d)
			if err != nil {
				continue
			}
			quoted := `"` + strings.ReplaceAll(name.Name, `"`, `""`) + `"`
			if name.Schema != "" {
				quoted = `"` + strings.ReplaceAll(name.Schema, `"`, `""`) + `".` + quoted
			}
			again, err := parseTableName(quoted, d)
			if err != nil || again != name {
				t.Errorf("%q for %q is %q, which is written as %s and read as %q, %v", text, d, name, quoted, again, err)
			}
		}
	})
}

// No expression makes compiling or evaluating panic.
func FuzzExpression(f *testing.F) {
	for _, expr := range []string{"", "a + b", "a == null ? dyn(null) : a.trim()", "columns['x'] + a", "[a].map(x, x)[0]", "int(a) / 0", "a.b", "columns", "a +", "has(a.b)"} {
		f.Add(expr, "x")
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		x, problems := compileExpression(expr)
		if (x == nil) != (len(problems) > 0) {
			t.Fatalf("%q: %v and %v", expr, x, problems)
		}
		for _, p := range problems {
			if p.line < 0 || p.column < 0 || p.message == "" {
				t.Errorf("%q: %+v", expr, p)
			}
		}
		if x == nil {
			return
		}
		var r Row
		for _, name := range x.columns {
			r = append(r, cell(name, Value, text))
		}
		if got := x.read(&rowCursor{row: r}); got.missing || got.presence == Unavailable {
			t.Errorf("%q over %v: %+v", expr, r, got)
		}
	})
}
