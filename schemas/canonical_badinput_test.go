package schemas

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// "Number 1e400, -0, 9007199254740993, 1.10 vs 1.1, 131,072-digit numeric:
// exact decimal path; no float; equal/unequal per rule."
func TestBadInput10_Numbers(t *testing.T) {
	e := entityOf(t, Postgres, MariaDB, "d: {type: decimal, scale: 2}", "j: {type: json}", "n: {type: integer}")
	image := func(side Side, n string) Image {
		return e.Image(side, row("id", "1", "d", n, "j", n, "n", "0"))
	}
	long := strings.Repeat("9", maxDigits)
	for _, c := range []struct {
		a, b  string
		equal bool
	}{
		{"1e400", "10e399", true},
		{"1e400", "1e401", false},
		{"1e400", "1.00000000000000000000000000000000000000001e400", false},
		{"-0", "0", true},
		{"-0.00", "0e7", true},
		{"9007199254740993", "9007199254740992", false},
		{"9007199254740993", "9007199254740993.0", true},
		{"1.10", "1.1", true},
		{"1.10", "1.11", false},
		{long, long, true},
		{long, long[1:] + "8", false},
		{long + ".5", long + ".50", true},
	} {
		a, b := image(Legacy, c.a), image(Target, c.b)
		if len(a.Schema)+len(b.Schema) > 0 {
			t.Errorf("%.20s and %.20s cannot be read: %v, %v", c.a, c.b, a.Schema, b.Schema)
		}
		if e.Equal(a, b) != c.equal {
			t.Errorf("%.20s and %.20s: equal is %v", c.a, c.b, !c.equal)
		}
	}
	if img := e.Image(Legacy, row("id", "1", "d", "1e400", "j", "0", "n", "0")); !slices.Equal(img.Unrepresentable, []string{"d"}) {
		t.Errorf("1e400 as a decimal for MariaDB: unrepresentable are %v", img.Unrepresentable)
	}
	for _, bomb := range []string{"1e999999999", "1e-999999999", "1e99999999999999999999", long + "9", "0." + long + "9", "-1e2147483648"} {
		if img := e.Image(Legacy, row("id", "1", "d", bomb, "j", "0", "n", bomb)); !slices.Contains(img.Schema, "d") || !slices.Contains(img.Schema, "n") {
			t.Errorf("%.20s is read as a number: %+v", bomb, img.Schema)
		}
	}
}

// "NaN, ±Infinity (PG) vs MySQL (cannot store): unrepresentable divergence
// kind, no crash, no auto-repair."
func TestBadInput11_NotNumbers(t *testing.T) {
	for _, c := range []struct {
		legacy, target  Driver
		unrepresentable bool
	}{{Postgres, MariaDB, true}, {Postgres, MySQL, true}, {Postgres, Postgres, false}, {"", "", true}} {
		e := entityOf(t, c.legacy, c.target, "d: {type: decimal, scale: 2}", "f: {type: float}", "u: {type: float, ulps: 1}")
		for _, special := range []string{"NaN", "Infinity", "-Infinity"} {
			r := row("id", "1", "d", special, "f", special, "u", special)
			img := e.Image(Legacy, r)
			if got := len(img.Unrepresentable) == 3; got != c.unrepresentable || len(img.Schema) > 0 {
				t.Errorf("%s from %s to %s: %+v", special, c.legacy, c.target, img)
			}
			if !e.Equal(img, e.Image(Target, r)) {
				t.Errorf("%s is not equal to itself", special)
			}
			for _, other := range []Row{row("id", "1", "d", "0", "f", "0", "u", "0"), {cell("id", Value, "1"), cell("d", Null, ""), cell("f", Null, ""), cell("u", Null, "")}} {
				if e.Equal(img, e.Image(Target, other)) {
					t.Errorf("%s is equal to %v", special, other)
				}
			}
			if _, err := e.Columns(Target, e.Values(Legacy, r)); (err != nil) != c.unrepresentable {
				t.Errorf("%s to write on %s: %v", special, c.target, err)
			}
		}
	}
}

// "infinity timestamp, year 294276, MySQL 0000-00-00, DST gap, leap second,
// BC: canonical or unrepresentable; never a silently shifted time."
func TestBadInput12_Times(t *testing.T) {
	toMaria := entityOf(t, Postgres, MariaDB, "at: {type: timestamp, precision: 6}", "d: {type: date}")
	toPostgres := entityOf(t, MariaDB, Postgres, "at: {type: timestamp, precision: 6}", "d: {type: date}")
	for _, c := range []struct {
		e        *Entity
		at, date string
	}{
		{toMaria, "infinity", "infinity"},
		{toMaria, "-infinity", "-infinity"},
		{toMaria, "294276-12-31 23:59:59.999999+00", "294276-12-31"},
		{toMaria, "0044-03-15 12:00:00+00 BC", "0044-03-15 BC"},
		{toPostgres, "0000-00-00 00:00:00", "0000-00-00"},
		{toPostgres, "2026-02-31 00:00:00", "2026-02-31"},
	} {
		r := row("id", "1", "at", c.at, "d", c.date)
		img := c.e.Image(Legacy, r)
		if !slices.Equal(img.Unrepresentable, []string{"at", "d"}) || len(img.Schema) > 0 {
			t.Errorf("%s, %s: %+v", c.at, c.date, img)
		}
		if _, err := c.e.Columns(Target, c.e.Values(Legacy, r)); err == nil {
			t.Errorf("%s can be written to the target", c.at)
		}
	}
	// There is no gap of daylight saving in UTC: every hour of the night is a time of its own.
	seen := map[Digest]string{}
	for _, at := range []string{"2026-03-29 00:30:00+00", "2026-03-29 01:30:00+00", "2026-03-29 02:30:00+00", "2026-10-25 00:30:00+00", "2026-10-25 01:30:00+00"} {
		img := toMaria.Image(Legacy, row("id", "1", "at", at, "d", "2026-03-29"))
		if other, ok := seen[img.Digest]; ok || !img.Exact() {
			t.Errorf("%s is %+v, as is %q", at, img, other)
		}
		seen[img.Digest] = at
		if plain := toMaria.Image(Target, row("id", "1", "at", strings.TrimSuffix(at, "+00"), "d", "2026-03-29")); !toMaria.Equal(img, plain) {
			t.Errorf("%s is shifted on the other side", at)
		}
	}
	for _, bad := range []string{"2016-12-31 23:59:60+00", "2026-13-01 00:00:00", "2026-11-23 25:00:00", "now", "2026-11-23 10:00:00 CET"} {
		if img := toMaria.Image(Legacy, row("id", "1", "at", bad, "d", "2026-11-23")); !slices.Equal(img.Schema, []string{"at"}) {
			t.Errorf("%s is read as a time: %+v", bad, img)
		}
	}
}

// "Invalid UTF-8, NUL in text, lone surrogate, overlong, RTL override, 4-byte
// emoji vs utf8mb3: bytes preserved in digest; compare per rule."
func TestBadInput13_Texts(t *testing.T) {
	e := entityOf(t, MariaDB, Postgres, "a: {type: text}")
	folded := entityOf(t, MariaDB, Postgres, "a: {type: text, collation: [nfc, casefold, trimend]}")
	texts := []string{"", "\xff", "\xff\xfe", "a\x00", "a\x00b", "\xed\xa0\x80", "\xed\xb0\x80", "\xc0\x80", "\xc1\x81", "\u202eabc", "abc", "😀", "?", "\ufffd", "\xf0\x9f\x98"}
	for i, a := range texts {
		imgA := e.Image(Legacy, row("id", "1", "a", a))
		needs := strings.Contains(a, "\x00") || strings.ToValidUTF8(a, "") != a
		if got := len(imgA.Unrepresentable) > 0; got != needs || len(imgA.Schema) > 0 {
			t.Errorf("%q for PostgreSQL: %+v", a, imgA)
		}
		for j, b := range texts {
			if e.Equal(imgA, e.Image(Target, row("id", "1", "a", b))) != (i == j) {
				t.Errorf("%q and %q: equal is %v", a, b, i != j)
			}
			if folded.Equal(folded.Image(Legacy, row("id", "1", "a", a)), folded.Image(Target, row("id", "1", "a", b))) != (i == j) {
				t.Errorf("%q and %q under a collation: equal is %v", a, b, i != j)
			}
		}
		if v := e.Values(Legacy, row("id", "1", "a", a))["a"]; v == nil || *v != a {
			t.Errorf("%q has value %v", a, v)
		}
	}
}

// "'Abc' vs 'abc', 'x' vs 'x ', NFC vs NFD: diverged unless the mapping
// declares the collation; CAS stays binary."
func TestBadInput14_Collations(t *testing.T) {
	for _, c := range []struct {
		a, b string
		by   string // the collation that finds them equal
	}{{"Abc", "abc", "casefold"}, {"STRASSE", "straße", "casefold"}, {"x", "x ", "trimend"}, {"\u00e9", "e\u0301", "nfc"},
		{"É", "e\u0301", "nfc, casefold"}, {"É ", "e\u0301", "nfc, casefold, trimend"}} {
		for _, collation := range []string{"", "binary", "casefold", "trimend", "nfc", "nfc, casefold", "nfc, casefold, trimend"} {
			declared := ""
			switch {
			case strings.Contains(collation, ","):
				declared = ", collation: [" + collation + "]"
			case collation != "":
				declared = ", collation: " + collation
			}
			e := entityOf(t, Postgres, MariaDB, "a: {type: text"+declared+"}")
			want := true
			for _, need := range strings.Split(c.by, ", ") {
				want = want && slices.Contains(strings.Split(collation, ", "), need)
			}
			a, b := row("id", "1", "a", c.a), row("id", "1", "a", c.b)
			if e.Equal(e.Image(Legacy, a), e.Image(Target, b)) != want || (e.Diff(e.Values(Legacy, a), e.Values(Target, b)) == nil) != want {
				t.Errorf("%q and %q under %q: equal is %v", c.a, c.b, collation, !want)
			}
			if written, err := e.Columns(Target, e.Values(Legacy, a)); err != nil || written[1].Text != c.a {
				t.Errorf("%q under %q is written as %v, %v: a collation is for comparing", c.a, collation, written, err)
			}
		}
	}
}

// Nothing short takes long or much memory, and nothing deep overflows.
func TestBadInput9_DeepValues(t *testing.T) {
	for _, c := range []struct {
		typ  canonType
		text string
	}{
		{jsonType{}, strings.Repeat("[", 100_000)},
		{jsonType{}, strings.Repeat(`{"a":`, 100_000)},
		{jsonType{}, strings.Repeat("[", 513) + strings.Repeat("]", 513)},
		{arrayType{integerType{}}, strings.Repeat("{", 100_000)},
		{arrayType{integerType{}}, strings.Repeat("[", 100_000)},
		{arrayType{integerType{}}, strings.Repeat("{", 513) + strings.Repeat("}", 513)},
	} {
		if _, _, err := c.typ.canon(nil, c.text); err == nil {
			t.Errorf("%s %.20s…: read", c.typ.declared(), c.text)
		}
	}
	deepest := strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting)
	if got, _, err := (jsonType{}).canon(nil, deepest); err != nil || string(got) != deepest {
		t.Errorf("JSON nested %d deep: %v", maxNesting, err)
	}
	var wide strings.Builder
	wide.WriteString("{")
	for i := range 20_000 {
		fmt.Fprintf(&wide, `"%d":{"b":1,"a":2},`, 20_000-i)
	}
	wide.WriteString(`"":0}`)
	if _, _, err := (jsonType{}).canon(nil, wide.String()); err != nil {
		t.Errorf("a wide object: %v", err)
	}
}

// White space differs only where the mapping says that it matters: each
// collation sees what it does not name.
func TestI22_WhiteSpaceByCollation(t *testing.T) {
	for _, c := range []struct {
		a, b string
		by   []string // the collations that find them equal
	}{
		{"a\r\nb", "a\nb", []string{"newlines", "squeeze"}},
		{"a\rb", "a\nb", []string{"newlines", "squeeze"}},
		{"a\r\n\r\nb", "a\n\nb", []string{"newlines", "squeeze"}},
		{"a\n\nb", "a\nb", []string{"squeeze"}},
		{"a \t\u00a0b", "a b", []string{"squeeze"}},
		{"ab", "a b", nil},
		{" \u2003x\n", "x", []string{"trim"}},
		{"x \t", "x ", []string{"squeeze", "trim"}},
		{"x ", "x", []string{"trim", "trimend"}},
		{"\xff  \xfe", "\xff \xfe", []string{"squeeze"}},
		{"x\x85", "x", nil}, // a byte that is no UTF-8 is no white space
	} {
		for _, word := range []string{"newlines", "squeeze", "trim", "trimend"} {
			e := entityOf(t, MariaDB, MariaDB, "a: {type: text, collation: "+word+"}")
			a, b := row("id", "1", "a", c.a), row("id", "1", "a", c.b)
			want := slices.Contains(c.by, word)
			if got := e.Equal(e.Image(Legacy, a), e.Image(Target, b)); got != want {
				t.Errorf("%q and %q under %s: equal is %v", c.a, c.b, word, got)
			}
			if got := e.Diff(e.Values(Legacy, a), e.Values(Target, b)) == nil; got != want {
				t.Errorf("%q and %q under %s: that they do not differ is %v", c.a, c.b, word, got)
			}
			if written, err := e.Columns(Target, e.Values(Legacy, a)); err != nil || written[1].Text != c.a {
				t.Errorf("%q under %s is written as %v, %v", c.a, word, written, err)
			}
		}
	}
}
