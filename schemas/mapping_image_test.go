package schemas

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// entityOf reads a migration with one entity: its key is id, an integer, and
// fields are lines of migration.yaml.
func entityOf(t testing.TB, legacy, target Driver, fields ...string) *Entity {
	t.Helper()
	yaml := "apiVersion: trueup/v1\nkind: Migration\nmetadata: {name: test}\n"
	if legacy != "" {
		yaml += "stores:\n  legacy: {driver: " + string(legacy) + ", dsn: \"env:L\"}\n  target: {driver: " + string(target) + ", dsn: \"env:T\"}\n"
	}
	yaml += "entities:\n  - name: e\n    key: [id]\n    legacy: {table: l.t}\n    target: {table: t.t}\n    fields:\n      id: {type: integer}\n"
	for _, f := range fields {
		yaml += "      " + f + "\n"
	}
	return mustRules(t, yaml).Entities()[0]
}

func cell(name string, p Presence, text string) Column {
	return Column{Name: name, Presence: p, Text: text}
}

// "Unavailable ≠ NULL: unchanged TOAST / partial row image / missing column is
// unavailable; never equal to NULL", over {null, unavailable, empty, default}³.
func TestI9_UnavailableIsNotNull(t *testing.T) {
	e := entityOf(t, Postgres, MariaDB, "a: {type: text}", "b: {type: text}", "c: {type: text}")
	values := []Column{{Presence: Null}, {Presence: Unavailable}, {Text: ""}, {Text: "default"}}
	var rows []Row
	for i := range 64 {
		r := Row{cell("id", Value, "1")}
		for j, name := range []string{"a", "b", "c"} {
			v := values[i>>(2*j)&3]
			r = append(r, cell(name, v.Presence, v.Text))
		}
		rows = append(rows, r)
	}
	compared := 0
	for i, a := range rows {
		for j, b := range rows {
			imgA, imgB := e.Image(Legacy, a), e.Image(Target, b)
			unknown := slices.ContainsFunc(append(a[:len(a):len(a)], b...), func(c Column) bool { return c.Presence == Unavailable })
			want := i == j && !unknown
			if e.Equal(imgA, imgB) != want || e.Equal(imgB, imgA) != want {
				t.Errorf("%v and %v: equal is %v, want %v", a, b, !want, want)
			}
			if unknown == (len(imgA.Unavailable)+len(imgB.Unavailable) == 0) {
				t.Errorf("%v and %v: unavailable are %v and %v", a, b, imgA.Unavailable, imgB.Unavailable)
			}
			if diff := e.Diff(e.Values(Legacy, a), e.Values(Target, b)); (len(diff) == 0) != want {
				t.Errorf("%v and %v differ in %v", a, b, diff)
			}
			if !unknown && (imgA.Digest == imgB.Digest) != want {
				t.Errorf("%v and %v: digests are %x and %x", a, b, imgA.Digest, imgB.Digest)
			}
			compared++
		}
	}
	if compared != 64*64 {
		t.Errorf("compared %d pairs", compared)
	}
}

// A column that is not in a whole row at all is a mapping that cannot be
// applied, not a NULL.
func TestMissingColumnIsSchema(t *testing.T) {
	e := entityOf(t, Postgres, MariaDB, "a: {type: text, target: other}", "note: {type: text, ignore: true}")
	legacy, target := row("id", "1"), row("id", "1")
	a, b := e.Image(Legacy, legacy), e.Image(Target, target)
	if !slices.Equal(a.Schema, []string{"a"}) || !slices.Equal(b.Schema, []string{"a"}) || e.Equal(a, b) {
		t.Errorf("images %+v and %+v, equal %v", a, b, e.Equal(a, b))
	}
	null := append(legacy, cell("a", Null, ""))
	if e.Equal(e.Image(Legacy, null), b) || e.Equal(e.Image(Legacy, null), a) {
		t.Error("a missing column is equal to NULL")
	}
	if d := e.Diff(e.Values(Legacy, legacy), e.Values(Target, target)); !slices.Equal(d, []string{"a"}) {
		t.Errorf("they differ in %v", d)
	}
	if p := e.Problems(Target, target); len(p) != 1 || p[0] != "a: the row has no column other" {
		t.Errorf("problems are %q", p)
	}
}

// A text that is not of its type is never equal to anything of the other side,
// not even to the same text, and shows no value.
func TestUnreadableTextIsSchema(t *testing.T) {
	e := entityOf(t, Postgres, MariaDB, "n: {type: integer}")
	r := row("id", "1", "n", "hunter2")
	a, b := e.Image(Legacy, r), e.Image(Target, r)
	if !slices.Equal(a.Schema, []string{"n"}) || e.Equal(a, b) || a.Exact() {
		t.Errorf("images %+v and %+v", a, b)
	}
	if !e.Equal(a, e.Image(Legacy, r)) {
		t.Error("the same row of the same side has two images")
	}
	if d := e.Diff(e.Values(Legacy, r), e.Values(Target, r)); !slices.Equal(d, []string{"n"}) {
		t.Errorf("they differ in %v", d)
	}
	if p := e.Problems(Legacy, r); len(p) != 1 || p[0] != "n: not a whole number" {
		t.Errorf("problems are %q", p)
	}
	if _, err := e.Columns(Target, e.Values(Legacy, r)); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("to write: %v", err)
	}
}

func TestAbsentRows(t *testing.T) {
	e := entityOf(t, Postgres, MariaDB, "a: {type: text}", "b: {type: text, ignore: true}", "c: {type: text}")
	present := row("id", "1", "a", "", "b", "", "c", "")
	absent, img := e.Image(Legacy, nil), e.Image(Target, present)
	if absent.Present || absent.Digest != (Digest{}) || e.Equal(absent, img) || e.Equal(img, absent) || !e.Equal(absent, e.Image(Target, nil)) {
		t.Errorf("absent is %+v, present is %+v", absent, img)
	}
	if e.Values(Legacy, nil) != nil {
		t.Error("an absent row has values")
	}
	if d := e.Diff(nil, e.Values(Target, present)); !slices.Equal(d, []string{"id", "a", "c"}) {
		t.Errorf("an absent row differs in %v", d)
	}
	if d := e.Diff(nil, nil); d != nil {
		t.Errorf("two absent rows differ in %v", d)
	}
	if img := e.Image(Legacy, Row{}); !img.Present || len(img.Schema) != 3 {
		t.Errorf("a row without columns is %+v", img)
	}
}

// Fields cannot run into each other: each is framed by its length.
func TestFieldsAreFramed(t *testing.T) {
	e := entityOf(t, Postgres, MariaDB, "a: {type: text}", "b: {type: text}")
	seen := map[Digest][]string{}
	for _, pair := range [][]string{{"a,b", "c"}, {"a", "b,c"}, {"", "a"}, {"a", ""}, {"x0", "y"}, {"x", "0y"}, {"", ""}, {"\x00", ""}, {"", "\x00"}} {
		img := e.Image(Legacy, row("id", "1", "a", pair[0], "b", pair[1]))
		if other, ok := seen[img.Digest]; ok {
			t.Errorf("%q and %q have one digest", pair, other)
		}
		seen[img.Digest] = pair
	}
}

func TestIgnoredFieldsAreNotCompared(t *testing.T) {
	e := entityOf(t, Postgres, MariaDB, "note: {type: integer, ignore: true}")
	a := e.Image(Legacy, row("id", "1", "note", "1"))
	for _, other := range []Row{row("id", "1", "note", "2"), row("id", "1", "note", "x"), row("id", "1"), {cell("id", Value, "1"), cell("note", Unavailable, "")}} {
		b := e.Image(Target, other)
		if !b.Exact() || !e.Equal(a, b) || e.Diff(e.Values(Legacy, row("id", "1", "note", "1")), e.Values(Target, other)) != nil {
			t.Errorf("%v is not equal: %+v", other, b)
		}
	}
	if v := e.Values(Legacy, row("id", "1", "note", "007")); v["note"] == nil || *v["note"] != "7" {
		t.Errorf("values are %v, want the ignored note in them", v)
	}
	if written, err := e.Columns(Target, e.Values(Legacy, row("id", "1", "note", "1"))); err != nil || len(written) != 1 {
		t.Errorf("to write are %v, %v", written, err)
	}
}

func TestToleranceIsHeld(t *testing.T) {
	e := entityOf(t, Postgres, Postgres, "u: {type: float, ulps: 2}", "r: {type: float, relative: 0.01}", "x: {type: float}")
	equal := func(a, b Row) bool {
		imgA, imgB := e.Image(Legacy, a), e.Image(Target, b)
		if imgA.Tolerant == nil || imgA.Exact() {
			t.Errorf("image %+v says that its digest is all", imgA)
		}
		same := e.Equal(imgA, imgB)
		if same != e.Equal(imgB, imgA) || same != (e.Diff(e.Values(Legacy, a), e.Values(Target, b)) == nil) {
			t.Errorf("%v and %v: equal %v, and otherwise the other way round or by values", a, b, same)
		}
		return same
	}
	floats := func(u, r, x string) Row { return row("id", "1", "u", u, "r", r, "x", x) }
	base := floats("1", "100", "1")
	for _, c := range []struct {
		other Row
		want  bool
	}{
		{floats("1", "100", "1"), true},
		{floats("1.0000000000000004", "100", "1"), true}, // 2 steps
		{floats("1.0000000000000007", "100", "1"), false},
		{floats("0.9999999999999998", "100", "1"), true}, // 2 steps below
		{floats("0.9999999999999996", "100", "1"), false},
		{floats("1", "101", "1"), true}, // 1 of 101
		{floats("1", "101.1", "1"), false},
		{floats("1", "-100", "1"), false},
		{floats("1", "100", "1.0000000000000002"), false}, // exact
		{floats("NaN", "100", "1"), false},
		{floats("Infinity", "100", "1"), false},
		{floats("x", "100", "1"), false},
		{Row{cell("id", Value, "1"), cell("u", Null, ""), cell("r", Value, "100"), cell("x", Value, "1")}, false},
	} {
		if got := equal(base, c.other); got != c.want {
			t.Errorf("%v and %v: equal is %v", base, c.other, got)
		}
	}
	for _, same := range []Row{floats("NaN", "NaN", "NaN"), floats("-Infinity", "Infinity", "1"), floats("0", "0", "-0"),
		{cell("id", Value, "1"), cell("u", Null, ""), cell("r", Null, ""), cell("x", Null, "")}} {
		if !equal(same, same) {
			t.Errorf("%v is not equal to itself", same)
		}
	}
	if !equal(floats("0", "0", "1"), floats("-0", "-0", "1")) {
		t.Error("minus zero is farther than the tolerance from zero")
	}
	if equal(floats("x", "1", "1"), floats("x", "1", "1")) {
		t.Error("texts that are no floats are equal")
	}
}

// Equal takes no image on trust: state on disk can be damaged.
func TestDamagedTolerantValuesAreNotEqual(t *testing.T) {
	e := entityOf(t, Postgres, Postgres, "u: {type: float, ulps: 2}")
	img := e.Image(Legacy, row("id", "1", "u", "1"))
	for _, bad := range [][]byte{nil, {}, {1}, {9}, img.Tolerant[:5], append(slices.Clone(img.Tolerant), 0)} {
		other := img
		other.Tolerant = bad
		if e.Equal(img, other) || e.Equal(other, img) {
			t.Errorf("%x is equal to %x", bad, img.Tolerant)
		}
	}
}

// genEntityRow draws a row of the entity below as PostgreSQL prints it.
func genEntityRow(t *rapid.T) Row {
	draw := func(name, expr string) Column {
		switch rapid.IntRange(0, 5).Draw(t, name+" presence") {
		case 0:
			return cell(name, Null, "")
		default:
			return cell(name, Value, rapid.StringMatching(expr).Draw(t, name))
		}
	}
	return Row{
		cell("id", Value, rapid.StringMatching(`-?[1-9][0-9]{0,20}`).Draw(t, "id")),
		draw("amount", `-?[0-9]{1,6}(\.[0-9]{1,4})?`),
		draw("ok", `[tf]`),
		draw("placed", `20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8]) [01][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?\+(00|02|05:30)`),
		draw("day", `[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])`),
		draw("at", `[01][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?`),
		draw("name", `[a-zé" \\\t]{0,8}`),
		draw("raw", `\\x([0-9a-f]{2}){0,8}`),
		draw("uid", `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`),
		draw("ratio", `-?[0-9]{1,8}\.[0-9]{1,8}(e-?[0-9]{1,2})?`),
		draw("doc", `\{"b": ?(0|[1-9][0-9]{0,2})(\.[0-9]{1,3})?, "a": \[true, null, "[a-z]{0,3}"\]\}`),
		draw("tags", `\{("[a-z]{0,3}",|NULL,){0,3}"z"\}`),
	}
}

// What is written to the other side so that it is equal is equal when it is
// read back.
func TestWrittenRowsAreEqual(t *testing.T) {
	fields := []string{"amount: {type: decimal, scale: 2}", "ok: {type: boolean}", "placed: {type: timestamp, precision: 3}",
		"day: {type: date}", "at: {type: time, precision: 3}", "name: {type: text, collation: [casefold, trimend]}", "raw: {type: bytes}",
		"uid: {type: uuid}", "ratio: {type: float, ulps: 1}", "doc: {type: json}", "tags: {type: array, of: text}"}
	for _, target := range Drivers {
		e := entityOf(t, Postgres, target, fields...)
		t.Run(string(target), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				legacy := genEntityRow(t)
				img := e.Image(Legacy, legacy)
				if len(img.Schema) > 0 || len(img.Unrepresentable) > 0 {
					t.Fatalf("%v has image %+v: %q", legacy, img, e.Problems(Legacy, legacy))
				}
				written, err := e.Columns(Target, e.Values(Legacy, legacy))
				if err != nil {
					t.Fatal(err)
				}
				if again := e.Image(Target, written); !e.Equal(img, again) {
					t.Fatalf("%v is written as %v, which differs in %v", legacy, written, e.Diff(e.Values(Legacy, legacy), e.Values(Target, written)))
				}
				for i := range written {
					if legacy[i].Name == "name" && written[i].Text != legacy[i].Text {
						t.Fatalf("name %q is written as %q: folding is for comparing", legacy[i].Text, written[i].Text)
					}
				}
				if back, err := e.Columns(Legacy, e.Values(Target, written)); err != nil || !e.Equal(img, e.Image(Legacy, back)) {
					t.Fatalf("back on legacy it is %v, %v", back, err)
				}
			})
		})
	}
}

func TestColumnsRefuses(t *testing.T) {
	text := func(s string) *string { return &s }
	e := entityOf(t, Postgres, MariaDB, "n: {type: decimal, scale: 2}", "full: {type: text, target: {expr: 'first + last'}, legacy: full}",
		"note: {type: text, ignore: true}")
	whole := map[string]*string{"id": text("1"), "n": text("1.00"), "full": nil, "note": nil}
	if _, err := e.Columns(Legacy, whole); err != nil {
		t.Errorf("a whole row: %v", err)
	}
	for name, c := range map[string]struct {
		side   Side
		change map[string]*string
		drop   string
		want   string
	}{
		"expression":      {Target, nil, "", "write e on target: field full: it is an expression there, which cannot be written to"},
		"unknown field":   {Legacy, map[string]*string{"x": nil}, "", `write e on legacy: it has no field "x"`},
		"no value":        {Legacy, nil, "n", "write e on legacy: field n: its value is not known"},
		"not canonical":   {Legacy, map[string]*string{"n": text("1,0")}, "", "write e on legacy: field n: not a decimal number"},
		"unrepresentable": {Target, map[string]*string{"n": text("NaN")}, "", "write e on target: field n: mariadb cannot hold its value"},
	} {
		values := map[string]*string{}
		for k, v := range whole {
			values[k] = v
		}
		for k, v := range c.change {
			values[k] = v
		}
		if c.drop != "" {
			delete(values, c.drop)
		}
		if _, err := e.Columns(c.side, values); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
