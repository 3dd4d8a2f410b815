package schemas

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// withExpression makes an entity whose field v is an expression on legacy.
func withExpression(t testing.TB, declared, expr string) *Entity {
	t.Helper()
	return entityOf(t, Postgres, MariaDB, fmt.Sprintf("v: {%s, legacy: {expr: %q}}", declared, expr))
}

func TestExpressionGivesAValue(t *testing.T) {
	null := Column{Presence: Null}
	text := func(s string) Column { return Column{Text: s} }
	for _, c := range []struct {
		declared, expr string
		a, b           Column
		want           *string // nil: NULL
	}{
		{"type: text", "a + ' ' + b", text("x"), text("y"), ptr("x y")},
		{"type: text", "a == null ? dyn(null) : a.trim()", null, text(""), nil},
		{"type: text", "a == null ? dyn(null) : a.trim()", text(" x "), text(""), ptr("x")},
		{"type: text", "a", null, text(""), nil},
		{"type: integer", "string(int(double(a) * 100.0))", text("10.5"), text(""), ptr("1050")},
		{"type: integer", "int(a) + int(b)", text("40"), text("2"), ptr("42")},
		{"type: integer", "uint(a)", text("18446744073709551615"), text(""), ptr("18446744073709551615")},
		{"type: decimal, scale: 2", "double(a) / 100.0", text("1050"), text(""), ptr("10.50")},
		{"type: float", "double(a)", text("0.1"), text(""), ptr("0.1")},
		{"type: boolean", "a in ['paid', 'shipped']", text("paid"), text(""), ptr("true")},
		{"type: boolean", "a != null", null, text(""), ptr("false")},
		{"type: bytes", "bytes(a)", text("\x01é"), text(""), ptr(`\x01c3a9`)},
		{"type: timestamp, precision: 3", "timestamp(a)", text("2026-11-23T10:00:00.1239+02:00"), text(""), ptr("2026-11-23T08:00:00.123Z")},
		{"type: text", "columns['a'] + columns['odd name']", text("x"), text("y"), ptr("xz")},
		{"type: enum", "a.split('-')[1].upperAscii()", text("x-new"), text(""), ptr("NEW")},
		{"type: text", "[a, b].filter(p, p != '').map(p, string(p)).join(',')", text(""), text("y"), ptr("y")},
		{"type: text", "'int'+a", text("x"), text(""), ptr("intx")},
	} {
		e := withExpression(t, c.declared, c.expr)
		c.a.Name, c.b.Name = "a", "b"
		r := Row{cell("id", Value, "1"), c.a, c.b, cell("odd name", Value, "z")}
		values := e.Values(Legacy, r)
		got, ok := values["v"]
		if !ok || (got == nil) != (c.want == nil) || (got != nil && *got != *c.want) {
			t.Errorf("%s of %v is %v (%v), want %v: %v", c.expr, r, show(got), ok, show(c.want), e.Problems(Legacy, r))
			continue
		}
		target := Row{cell("id", Value, "1"), {Name: "v", Presence: Null}}
		if c.want != nil {
			target[1] = cell("v", Value, *c.want)
		}
		if !e.Equal(e.Image(Legacy, r), e.Image(Target, target)) {
			t.Errorf("%s of %v is not equal to %v", c.expr, r, target)
		}
	}
}

func ptr(s string) *string { return &s }

func show(s *string) string {
	if s == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *s)
}

// Columns that the log does not carry make the field unavailable, columns that
// are not there make it a schema divergence, whatever the expression would do
// with them.
func TestExpressionNeedsItsColumns(t *testing.T) {
	e := withExpression(t, "type: text", "a == 'x' ? a : columns['b']")
	for _, c := range []struct {
		r                   Row
		unavailable, schema bool
	}{
		{Row{cell("id", Value, "1"), cell("a", Value, "x"), cell("b", Unavailable, "")}, true, false},
		{Row{cell("id", Value, "1"), cell("a", Value, "x")}, false, true},
		{Row{cell("id", Value, "1"), cell("a", Unavailable, "")}, false, true},
		{Row{cell("id", Value, "1"), cell("a", Value, "x"), cell("b", Null, "")}, false, false},
	} {
		img := e.Image(Legacy, c.r)
		if slices.Contains(img.Unavailable, "v") != c.unavailable || slices.Contains(img.Schema, "v") != c.schema {
			t.Errorf("%v: %+v", c.r, img)
		}
	}
	if p := e.Problems(Legacy, row("id", "1", "a", "x")); len(p) != 1 || p[0] != "v: the row has no column a, or no column b" {
		t.Errorf("problems are %q", p)
	}
}

// An expression that fails on a row says so without showing the row, and rows
// on which it fails stay apart.
func TestExpressionThatFailsIsSchema(t *testing.T) {
	for _, expr := range []string{"int(a)", "string(1 / int(a))", "a.split(',')[1]", "timestamp(a)", "string(a == null) + string(int(a))"} {
		e := withExpression(t, "type: text", expr)
		a, b := e.Image(Legacy, row("id", "1", "a", "hunter2")), e.Image(Legacy, row("id", "1", "a", "other"))
		if !slices.Equal(a.Schema, []string{"v"}) || e.Equal(a, b) || e.Equal(a, e.Image(Target, row("id", "1", "v", "hunter2"))) {
			t.Errorf("%s: %+v and %+v", expr, a, b)
		}
		problems := strings.Join(e.Problems(Legacy, row("id", "1", "a", "hunter2")), "")
		if problems == "" || strings.Contains(problems, "hunter2") {
			t.Errorf("%s: problems are %q", expr, problems)
		}
		if values := e.Values(Legacy, row("id", "1", "a", "hunter2")); len(values) != 1 {
			t.Errorf("%s has values %v", expr, values)
		}
	}
}

// Rules are shared by many goroutines.
func TestRulesAreSharedSafely(t *testing.T) {
	e := withExpression(t, "type: text", "a + columns['b']")
	want := e.Image(Legacy, row("id", "1", "a", "x", "b", "y"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if img := e.Image(Legacy, row("id", "1", "a", "x", "b", "y")); img.Digest != want.Digest {
					t.Errorf("image %+v", img)
				}
			}
		})
	}
	wg.Wait()
}
