package schemas

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Fields on whose legacy side NULL, or an empty text, stands for something else.
const (
	defaulted    = `v: {type: text, legacy: {default: EUR}}`
	emptyOnOne   = `v: {type: text, collation: trim, legacy: {emptyIsNull: true, writeNull: empty}}`
	absentColumn = `v: {type: decimal, scale: 2, legacy: {absent: true, default: 0}}`
	mappedNull   = `v: {type: enum, legacy: {map: {P: paid}, default: new}}`
)

// rowWith is a row of a side with one more column; nil is NULL.
func rowWith(v *string) Row {
	if v == nil {
		return Row{cell("id", Value, "1"), cell("v", Null, "")}
	}
	return row("id", "1", "v", *v)
}

func shownText(v *string) string {
	if v == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *v)
}

// What NULL and an empty text stand for is equal to what it stands for, and to
// nothing else; both ways of comparing say the same.
func TestNullsStandForWhatIsDeclared(t *testing.T) {
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		field          string
		legacy, target *string
		equal          bool
	}{
		{defaulted, nil, text("EUR"), true},
		{defaulted, text("EUR"), text("EUR"), true},
		{defaulted, nil, nil, false},
		{defaulted, nil, text("USD"), false},
		{defaulted, nil, text(""), false},
		{defaulted, text(""), text("EUR"), false},
		{emptyOnOne, text(""), nil, true},
		{emptyOnOne, text(" \t"), nil, true},
		{emptyOnOne, nil, nil, true},
		{emptyOnOne, text(""), text(""), false}, // only one side says that an empty text is NULL
		{emptyOnOne, text("a "), text("a"), true},
		{mappedNull, nil, text("new"), true},
		{mappedNull, text("P"), text("paid"), true},
		{mappedNull, nil, nil, false},
	} {
		e := entityOf(t, MariaDB, Postgres, c.field)
		a, b := rowWith(c.legacy), rowWith(c.target)
		if got := e.Equal(e.Image(Legacy, a), e.Image(Target, b)); got != c.equal {
			t.Errorf("%s: %s and %s: equal is %v", c.field, shownText(c.legacy), shownText(c.target), got)
		}
		if got := e.Diff(e.Values(Legacy, a), e.Values(Target, b)) == nil; got != c.equal {
			t.Errorf("%s: %s and %s: that they do not differ is %v", c.field, shownText(c.legacy), shownText(c.target), got)
		}
		if a := e.Image(Legacy, a); !a.Exact() {
			t.Errorf("%s: %s has an image that is not exact: %+v", c.field, shownText(c.legacy), a)
		}
	}
}

// A side without the column has the default in every row, and needs no column.
func TestAbsentColumnsHaveTheDefault(t *testing.T) {
	e := entityOf(t, MariaDB, Postgres, absentColumn)
	legacy := row("id", "1")
	for target, equal := range map[string]bool{"0": true, "0.00": true, "0.01": false} {
		if got := e.Equal(e.Image(Legacy, legacy), e.Image(Target, row("id", "1", "v", target))); got != equal {
			t.Errorf("no column and %s: equal is %v", target, got)
		}
	}
	f := e.field("v")
	if name, ok := f.Column(Legacy); ok || len(f.Needs(Legacy)) > 0 || !f.Absent(Legacy) || f.Absent(Target) {
		t.Errorf("the field has column %q and needs %v", name, f.Needs(Legacy))
	}
}

// "Unavailable ≠ NULL": what the log does not carry, a column that the row lacks and a
// value that is hidden are no NULLs, whatever NULL stands for.
func TestI9_DefaultsAreForNullAlone(t *testing.T) {
	for _, field := range []string{defaulted, emptyOnOne, mappedNull} {
		e := entityOf(t, MariaDB, Postgres, field)
		if img := e.Image(Legacy, row("id", "1")); len(img.Schema) != 1 {
			t.Errorf("%s: a row without the column has image %+v", field, img)
		}
		for _, p := range []Presence{Unavailable, Masked} {
			if img := e.Image(Legacy, Row{cell("id", Value, "1"), cell("v", p, "")}); len(img.Unavailable) != 1 {
				t.Errorf("%s: presence %d has image %+v", field, p, img)
			}
		}
	}
}

// A repair writes what stands for the value there, and nothing where nothing does or
// it is not said which of two.
func TestNullsAreWrittenAsWhatStandsForThem(t *testing.T) {
	const undecided = `v: {type: text, target: {emptyIsNull: true}}`
	const nullWritten = `v: {type: text, emptyIsNull: true, writeNull: "null"}`
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		field   string
		side    Side
		value   *string
		wrote   string // "" is no column
		problem string
	}{
		{defaulted, Legacy, text("EUR"), `"EUR"`, ""},
		{defaulted, Legacy, nil, "", "nothing stands for NULL"},
		{defaulted, Target, nil, "NULL", ""},
		{emptyOnOne, Legacy, nil, `""`, ""},
		{emptyOnOne, Legacy, text("  "), "", "nothing stands for an empty text"},
		{emptyOnOne, Target, text("  "), `"  "`, ""},
		{emptyOnOne, Target, nil, "NULL", ""},
		{undecided, Target, nil, "", "writeNull does not say which one to write"},
		{undecided, Legacy, nil, "NULL", ""},
		{nullWritten, Legacy, nil, "NULL", ""},
		{mappedNull, Legacy, text("new"), "NULL", ""},
		{mappedNull, Legacy, text("paid"), `"P"`, ""},
		{mappedNull, Legacy, text("held"), "", "no value that stands for it"},
		{mappedNull, Legacy, nil, "", "nothing stands for NULL"},
		{absentColumn, Legacy, text("0.00"), "", ""},
		{absentColumn, Legacy, text("1.00"), "", "it has no column there, and its value is not the default"},
		{absentColumn, Legacy, nil, "", "it has no column there"},
	} {
		e := entityOf(t, MariaDB, Postgres, c.field)
		id := "1"
		written, err := e.Columns(c.side, map[string]*string{"id": &id, "v": c.value})
		if c.problem != "" {
			if err == nil || !strings.Contains(err.Error(), "field v: ") || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%s: %s on %s is written as %v, %v; want %q", c.field, shownText(c.value), c.side, written, err, c.problem)
			}
			continue
		}
		got := ""
		if col, ok := written.Get("v"); ok && col.Presence == Null {
			got = "NULL"
		} else if ok {
			got = fmt.Sprintf("%q", col.Text)
		}
		if err != nil || got != c.wrote {
			t.Errorf("%s: %s on %s is written as %s, %v; want %s", c.field, shownText(c.value), c.side, got, err, c.wrote)
		}
	}
}

// What NULL stands for changes what a row means, not how it is encoded, and is part of
// the rules; what a repair writes for it is not.
func TestNullsStandInTheDefinition(t *testing.T) {
	plain := entityOf(t, MariaDB, Postgres, "v: {type: text}")
	e := entityOf(t, MariaDB, Postgres, defaulted)
	if e.Image(Legacy, rowWith(nil)).Digest != plain.Image(Legacy, row("id", "1", "v", "EUR")).Digest {
		t.Error("a default has another digest than the value that it is")
	}
	seen := map[string]string{plain.Fingerprint(): "none"}
	for _, field := range []string{defaulted, emptyOnOne, mappedNull, absentColumn, strings.Replace(defaulted, "EUR", "USD", 1)} {
		fingerprint := entityOf(t, MariaDB, Postgres, field).Fingerprint()
		if other, twice := seen[fingerprint]; twice {
			t.Errorf("%s and %s have the same fingerprint", field, other)
		}
		seen[fingerprint] = field
	}
	a := entityOf(t, MariaDB, Postgres, `v: {type: text, emptyIsNull: true, writeNull: "null"}`)
	b := entityOf(t, MariaDB, Postgres, `v: {type: text, emptyIsNull: true, writeNull: empty}`)
	if a.Fingerprint() != b.Fingerprint() {
		t.Error("what a repair writes for NULL changes the fingerprint")
	}
	all := `v: {type: enum, legacy: {column: state, map: {P: paid}, emptyIsNull: true, default: new}, target: {absent: true, default: new}}`
	definition := mustRules(t, strings.Replace(contractMigration, "      note:", "      "+strings.Replace(all, "column: state", "column: s2", 1)+"\n      note:", 1)).Definition
	if want := `"legacy":{"column":"s2","default":"new","emptyIsNull":true,"map":{"P":"paid"}},"name":"v","target":{"absent":true,"default":"new"}`; !strings.Contains(definition, want) {
		t.Errorf("definition is %s", definition)
	}
	if canon, _, err := (jsonType{}).canon(nil, definition); err != nil || string(canon) != definition {
		t.Errorf("definition is not canonical: %s, %v", definition, err)
	}
}

// What repairs cannot write is known when the file is read, and said only where
// something is repaired.
func TestRepairGaps(t *testing.T) {
	gaps := func(compensate string, fields ...string) (out []string) {
		yaml := "apiVersion: trueup/v1\nkind: Migration\nmetadata: {name: test}\nentities:\n  - name: e\n    key: [id]\n" + compensate +
			"    fields:\n      id: {type: integer}\n"
		for _, f := range fields {
			yaml += "      " + f + "\n"
		}
		for _, g := range mustRules(t, yaml).RepairGaps() {
			if g.Entity != "e" || g.Remedy == "" {
				t.Errorf("gap %+v", g)
			}
			out = append(out, fmt.Sprintf("%s on %s: %s", g.Field, g.Side, g.Detail))
		}
		return out
	}
	const apply = "    compensate: {mode: apply, policy: legacy_wins}\n"
	twice := `s: {type: enum, target: {map: {N: new, P: paid, Q: paid}}, legacy: {map: {n: new, h: held}, default: gone}}`
	for _, c := range []struct {
		compensate, field string
		want              []string
	}{
		{"", twice, nil},
		{"    compensate: {mode: apply, policy: target_wins}\n    authority: target\n", `s: {type: enum, target: {map: {P: paid, Q: paid}}}`, nil},
		{apply, `s: {type: enum, target: {map: {P: paid, N: new}}, legacy: {map: {p: paid, n: new, q: paid}}}`, nil},
		{apply, twice, []string{
			`s on target: no value there stands for "gone", which the legacy has: repairs to it are refused`,
			`s on target: no value there stands for "held", which the legacy has: repairs to it are refused`,
			`s on target: "P" and "Q" are all "paid" there: repairs to it are refused`}},
		{apply, `s: {type: text, target: {default: x}}`, []string{
			`s on target: NULL stands for its default there, so nothing stands for a NULL of the legacy: repairs to it are refused`}},
		{apply, `s: {type: text, default: x}`, nil},
		{apply, `s: {type: text, target: {emptyIsNull: true, writeNull: empty}}`, []string{
			`s on target: an empty text stands for NULL there, so nothing stands for an empty text of the legacy: repairs to it are refused`}},
		{apply, `s: {type: text, emptyIsNull: true, writeNull: empty}`, nil},
		{apply, `s: {type: date, target: {emptyIsNull: true, writeNull: empty}}`, nil},
		{apply, `s: {type: text, target: {absent: true, default: x}}`, []string{
			`s on target: it has no column there: repairs of rows whose value is not the default are refused`}},
		{apply, `s: {type: text, target: {expr: "a"}}`, []string{
			`s on target: it is an expression there, which cannot be written to: every repair that has to write it is refused`}},
		{apply, `s: {type: text, ignore: true, target: {expr: "a"}}`, nil},
	} {
		if got := gaps(c.compensate, c.field); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s%s has gaps\n%s\nwant\n%s", c.compensate, c.field, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// Whatever the rules of a field are: reading is a function into canonical values that
// stand, and what a repair may write for a value reads back as that value.
func FuzzRules(f *testing.F) {
	types := []string{"text", "text, collation: trim", "text, collation: [casefold, nfc, squeeze]", "enum", "integer", "decimal, scale: 2",
		"boolean", "timestamp, precision: 3", "date", "json", "uuid"}
	defaults := map[string]string{"integer": "0", "decimal, scale: 2": "0", "boolean": "false", "timestamp, precision: 3": `"2026-01-01 00:00:00"`,
		"date": `"2026-01-01"`, "json": `"{}"`, "uuid": `"00112233-4455-6677-8899-aabbccddeeff"`}
	var entities []*Entity
	for _, typ := range types {
		def := defaults[typ]
		if def == "" {
			def = "new"
		}
		sides := []string{"{default: " + def + "}", "{emptyIsNull: true}", "{emptyIsNull: true, writeNull: empty}", "{emptyIsNull: true, writeNull: \"null\"}",
			"{emptyIsNull: true, default: " + def + "}", "{absent: true, default: " + def + "}"}
		if typ == "enum" {
			sides = append(sides, "{map: {N: new, P: paid}}", "{map: {N: new, P: paid, Q: paid}}", "{map: {P: paid}, default: new}",
				"{map: {N: new, P: paid}, default: new, emptyIsNull: true}", `{map: {"": new, P: paid}, default: paid}`)
		}
		sides = append(sides, "v")
		for i, side := range sides {
			entities = append(entities, entityOf(f, Postgres, MariaDB, "v: {type: "+typ+", legacy: "+side+", target: "+sides[(i+len(sides)/2)%len(sides)]+"}"))
			entities = append(entities, entityOf(f, Postgres, MariaDB, "v: {type: "+typ+", legacy: "+side+", target: "+sides[len(sides)-1]+"}"))
		}
	}
	for which := range entities {
		f.Add([]string{"", "N", "0", " "}[which%4], "new", uint16(which))
	}
	f.Fuzz(func(t *testing.T, text, other string, which uint16) {
		e := entities[int(which)%len(entities)]
		for _, side := range Sides {
			for _, v := range []*string{nil, &text, &other} {
				readsBack(t, e, side, v)
			}
		}
	})
}

// readsBack reads a column's value, writes what it stands for on both sides, and reads
// that again.
func readsBack(t *testing.T, e *Entity, side Side, v *string) {
	read := rowWith(v)
	img := e.Image(side, read)
	values := e.Values(side, read)
	if !img.Exact() {
		return
	}
	for _, to := range Sides {
		written, err := e.Columns(to, values)
		if err != nil {
			continue // refused
		}
		again := e.Image(to, written)
		if back := e.Values(to, written); !e.Equal(img, again) || len(e.Diff(values, back)) > 0 {
			t.Errorf("%s: %s of %s is %s, written to %s as %v, which is %s", e.Fields[1].Type, shownText(v), side, shownText(values["v"]), to, written, shownText(back["v"]))
		}
		if twice, err := e.Columns(to, e.Values(to, written)); err != nil || !slices.Equal(written, twice) {
			t.Errorf("%s: %v on %s is written again as %v, %v", e.Fields[1].Type, written, to, twice, err)
		}
	}
}
