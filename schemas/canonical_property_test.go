package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/apd/v3"
	"pgregory.net/rapid"
)

// mustCanon returns the canonical text of a text that has one.
func mustCanon(t *rapid.T, typ canonType, text string) string {
	t.Helper()
	b, _, err := typ.canon(nil, text)
	if err != nil {
		t.Fatalf("%s %q: %v", typ.declared(), text, err)
	}
	return string(b)
}

// genNumber draws the text of a decimal number, in any of the forms in which
// stores print numbers. Few digits, so that equal ones meet.
func genNumber(t *rapid.T, name string) string {
	sign := rapid.SampledFrom([]string{"", "-", "+"}).Draw(t, name+" sign")
	whole := rapid.StringMatching(`0{0,2}[0-9]{0,3}`).Draw(t, name+" whole")
	fraction := rapid.StringMatching(`(\.[0-9]{0,3}0{0,2})?`).Draw(t, name+" fraction")
	if whole == "" && len(fraction) < 2 {
		whole = "0"
	}
	exponent := rapid.StringMatching(`([eE][+-]?[0-4])?`).Draw(t, name+" exponent")
	return sign + whole + fraction + exponent
}

// "Canonicalisation is an equivalence relation (reflexive, symmetric,
// transitive) and lossless where claimed": two texts have the same canonical
// text exactly if an independent decimal library finds them equal.
func TestI22_DecimalsAreEqualByValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := decimalType{rapid.IntRange(0, 4).Draw(t, "scale")}
		a, b := genNumber(t, "a"), genNumber(t, "b")
		x, y := oracleDecimal(t, a), oracleDecimal(t, b)
		canonA, canonB := mustCanon(t, typ, a), mustCanon(t, typ, b)
		if (canonA == canonB) != (x.Cmp(y) == 0) {
			t.Fatalf("%q is %q and %q is %q; as numbers they compare as %d", a, canonA, b, canonB, x.Cmp(y))
		}
		if oracleDecimal(t, canonA).Cmp(x) != 0 {
			t.Fatalf("%q is another number than its canonical text %q", a, canonA)
		}
		if _, fraction, _ := strings.Cut(canonA, "."); len(fraction) < typ.scale {
			t.Fatalf("%q has less than %d digits after the point", canonA, typ.scale)
		}
	})
}

func oracleDecimal(t *rapid.T, text string) *apd.Decimal {
	d, _, err := apd.NewFromString(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return d
}

func TestI22_IntegersAreEqualByValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genNumber(t, "a"), genNumber(t, "b")
		x, y := oracleDecimal(t, a), oracleDecimal(t, b)
		canonA, _, errA := integerType{}.canon(nil, a)
		canonB, _, errB := integerType{}.canon(nil, b)
		var whole apd.Decimal
		if _, err := apd.BaseContext.WithPrecision(50).RoundToIntegralExact(&whole, x); err != nil {
			t.Fatal(err)
		}
		if (errA == nil) != (whole.Cmp(x) == 0) {
			t.Fatalf("%q: %v, and its whole part is %s", a, errA, &whole)
		}
		if errA == nil && errB == nil && bytes.Equal(canonA, canonB) != (x.Cmp(y) == 0) {
			t.Fatalf("%q is %q and %q is %q; as numbers they compare as %d", a, canonA, b, canonB, x.Cmp(y))
		}
	})
}

func TestI22_FloatsAreEqualByBits(t *testing.T) {
	formats := []byte{'e', 'f', 'g'}
	rapid.Check(t, func(t *rapid.T) {
		a := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		if math.IsNaN(a) || math.IsInf(a, 0) {
			t.Skip("has a vector of its own")
		}
		text := strconv.FormatFloat(a, rapid.SampledFrom(formats).Draw(t, "format"), rapid.SampledFrom([]int{-1, 17, 30}).Draw(t, "digits"), 64)
		if strings.HasPrefix(text, "0.") && len(text) > 300 {
			t.Skip("the digits end before the number begins")
		}
		back, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		canon := mustCanon(t, floatType{}, text)
		if math.Float64bits(valueOf([]byte(canon))) != math.Float64bits(back) {
			t.Fatalf("%q is %q, which is another float", text, canon)
		}
		next := math.Nextafter(back, math.Inf(1))
		if !math.IsInf(next, 0) && mustCanon(t, floatType{}, strconv.FormatFloat(next, 'g', -1, 64)) == canon {
			t.Fatalf("%v and the next float have the same canonical text %q", back, canon)
		}
	})
}

// A point in time printed in any zone is the same point in time.
func TestI22_TimestampsAreEqualByInstant(t *testing.T) {
	typ := timestampType{granularity{precision: 6}}
	const from, to = -62135596800, 253402300799 // the years 1 to 9999
	genInstant := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(from, to).Draw(t, "seconds"), 1000*rapid.Int64Range(0, 999_999).Draw(t, "µs")).UTC()
	})
	genOffset := rapid.Custom(func(t *rapid.T) int {
		return 900 * rapid.IntRange(-56, 56).Draw(t, "quarters of an hour")
	})
	rapid.Check(t, func(t *rapid.T) {
		a := genInstant.Draw(t, "a")
		b := a
		if rapid.Bool().Draw(t, "other") {
			b = genInstant.Draw(t, "b")
		}
		textA, textB := inZone(a, genOffset.Draw(t, "offset of a")), inZone(b, genOffset.Draw(t, "offset of b"))
		canonA, canonB := mustCanon(t, typ, textA), mustCanon(t, typ, textB)
		if (canonA == canonB) != a.Equal(b) {
			t.Fatalf("%q is %q, %q is %q", textA, canonA, textB, canonB)
		}
		if back, err := time.Parse(time.RFC3339Nano, canonA); err != nil || !back.Equal(a) {
			t.Fatalf("%q is %q, which is %v, %v", textA, canonA, back, err)
		}
	})
}

// inZone prints an instant as PostgreSQL does in a zone, years before Christ
// included.
func inZone(at time.Time, offset int) string {
	local := at.In(time.FixedZone("", offset))
	era := ""
	year := local.Year()
	if year <= 0 {
		year, era = 1-year, " BC"
	}
	return fmt.Sprintf("%04d", year) + local.Format("-01-02 15:04:05.999999-07:00") + era
}

// Digits beyond the declared precision are rounded or cut; what is left is a
// fixed point.
func TestI22_PrecisionIsReducedAsDeclared(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := granularity{precision: rapid.IntRange(0, 6).Draw(t, "precision"), truncate: rapid.Bool().Draw(t, "truncate")}
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), 1000*rapid.Int64Range(0, 999_999).Draw(t, "µs")).UTC()
		unit := time.Duration(math.Pow10(9 - g.precision))
		want := at.Round(unit)
		if g.truncate {
			want = at.Truncate(unit)
		}
		canon := mustCanon(t, timestampType{g}, at.Format("2006-01-02 15:04:05.000000"))
		if got, err := time.Parse(time.RFC3339Nano, canon); err != nil || !got.Equal(want) {
			t.Fatalf("%v at %+v is %q, want %v; %v", at, g, canon, want, err)
		}
	})
}

// jsonTree is a JSON value and how it is written.
type jsonTree struct {
	name  string // of a member
	kind  byte   // n t f # " [ {
	text  string // of a number or a string
	parts []*jsonTree
}

func genJSON(t *rapid.T, depth int) *jsonTree {
	kinds := []byte{'n', 't', 'f', '#', '"', '[', '{'}
	if depth == 0 {
		kinds = kinds[:5]
	}
	tree := &jsonTree{kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	switch tree.kind {
	case '#':
		tree.text = rapid.StringMatching(`-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,9})?(e[+-]?[0-9]{1,2})?`).Draw(t, "number")
	case '"':
		tree.text = rapid.String().Draw(t, "string")
	case '[':
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			tree.parts = append(tree.parts, genJSON(t, depth-1))
		}
	case '{':
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[ab"\\é\x01]{0,2}`), 0, 4, rapid.ID[string]).Draw(t, "names")
		for _, name := range names {
			part := genJSON(t, depth-1)
			part.name = name
			tree.parts = append(tree.parts, part)
		}
	}
	return tree
}

// print writes the tree with the order of members, white space, escapes and
// forms of numbers that t draws.
func (j *jsonTree) print(t *rapid.T) string {
	space := func() string { return rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "space") }
	switch j.kind {
	case 'n':
		return "null"
	case 't':
		return "true"
	case 'f':
		return "false"
	case '#':
		return j.printNumber(t)
	case '"':
		return printString(t, j.text)
	}
	parts := j.parts
	if j.kind == '{' {
		parts = rapid.Permutation(parts).Draw(t, "order")
	}
	var texts []string
	for _, part := range parts {
		text := space() + part.print(t) + space()
		if j.kind == '{' {
			text = space() + printString(t, part.name) + space() + ":" + text
		}
		texts = append(texts, text)
	}
	if j.kind == '{' {
		return "{" + strings.Join(texts, ",") + space() + "}"
	}
	return "[" + strings.Join(texts, ",") + space() + "]"
}

func (j *jsonTree) printNumber(t *rapid.T) string {
	mantissa, exponent, _ := strings.Cut(j.text, "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += "."
		mantissa += "0"
	}
	mantissa += rapid.SampledFrom([]string{"", "0", "000"}).Draw(t, "zeros")
	if exponent == "" {
		exponent = "0"
	}
	return mantissa + rapid.SampledFrom([]string{"e", "E"}).Draw(t, "e") + exponent
}

func printString(t *rapid.T, text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		escaped := r < ' ' || r == '"' || r == '\\' || rapid.IntRange(0, 9).Draw(t, "escape") == 0
		switch {
		case escaped && r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04X\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case escaped:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// The same JSON value has the same canonical text however it is written, and
// an independent reader finds the same value in it.
func TestI22_JSONIsEqualByValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := genJSON(t, 3)
		a, b := tree.print(t), tree.print(t)
		canonA, canonB := mustCanon(t, jsonType{}, a), mustCanon(t, jsonType{}, b)
		if canonA != canonB {
			t.Fatalf("%s is %s, and %s is %s", a, canonA, b, canonB)
		}
		if !sameJSON(t, decodeJSON(t, a), decodeJSON(t, canonA)) {
			t.Fatalf("%s is %s, which is another value", a, canonA)
		}
		other := genJSON(t, 1).print(t)
		if (mustCanon(t, jsonType{}, other) == canonA) != sameJSON(t, decodeJSON(t, other), decodeJSON(t, a)) {
			t.Fatalf("%s and %s are equal by one reader only", a, other)
		}
	})
}

func decodeJSON(t *rapid.T, text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

func sameJSON(t *rapid.T, a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		m, ok := b.(map[string]any)
		if !ok || len(a) != len(m) {
			return false
		}
		for name, v := range a {
			if other, ok := m[name]; !ok || !sameJSON(t, v, other) {
				return false
			}
		}
		return true
	case []any:
		l, ok := b.([]any)
		if !ok || len(a) != len(l) {
			return false
		}
		for i := range a {
			if !sameJSON(t, a[i], l[i]) {
				return false
			}
		}
		return true
	case json.Number:
		n, ok := b.(json.Number)
		return ok && oracleDecimal(t, a.String()).Cmp(oracleDecimal(t, n.String())) == 0
	}
	return a == b
}

// An array printed by PostgreSQL and the same array as JSON are equal, and no
// element is lost.
func TestI22_ArraysAreEqualByElements(t *testing.T) {
	typ := arrayType{textType{}}
	genItem := rapid.Ptr(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "NULL", "null", `"`, `\`, "{", "a,b", " a "})), true)
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfN(genItem, 0, 5).Draw(t, "items")
		var literal []byte
		for i, item := range items {
			if i > 0 {
				literal = append(literal, ',')
			}
			if item == nil {
				literal = append(literal, "NULL"...)
			} else {
				literal = appendArrayItem(literal, []byte(*item))
			}
		}
		asJSON, err := json.Marshal(items)
		if err != nil {
			t.Fatal(err)
		}
		if items == nil {
			asJSON = []byte("[]")
		}
		canonA, canonB := mustCanon(t, typ, "{"+string(literal)+"}"), mustCanon(t, typ, string(asJSON))
		if canonA != canonB {
			t.Fatalf("{%s} is %s, and %s is %s", literal, canonA, asJSON, canonB)
		}
		var back []*string
		if err := json.Unmarshal([]byte(canonA), &back); err != nil || len(back) != len(items) {
			t.Fatalf("%s: %d elements of %d, %v", canonA, len(back), len(items), err)
		}
		for i := range items {
			if (items[i] == nil) != (back[i] == nil) || (items[i] != nil && *items[i] != *back[i]) {
				t.Fatalf("%s: element %d is another", canonA, i)
			}
		}
	})
}

// Bytes, UUIDs and text lose nothing.
func TestI22_BytesLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		if got := mustCanon(t, textType{}, string(b)); got != string(b) {
			t.Fatalf("text %q is %q", b, got)
		}
		lower, upper := fmt.Sprintf(`\x%x`, b), fmt.Sprintf(`\x%X`, b)
		if got := mustCanon(t, bytesType{}, upper); got != lower {
			t.Fatalf("bytes %q are %q", upper, got)
		}
		if len(b) < 16 {
			return
		}
		u := b[:16]
		want := fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
		for _, text := range []string{want, strings.ToUpper(want), fmt.Sprintf(`\x%x`, u), fmt.Sprintf("{%s}", want)} {
			if got := mustCanon(t, uuidType{}, text); got != want {
				t.Fatalf("UUID %q is %q, want %q", text, got, want)
			}
		}
	})
}

// A declared collation makes classes of texts: equality under it is
// reflexive, symmetric and transitive, and the class's text is in the class.
func TestI22_CollationsMakeClasses(t *testing.T) {
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "A", "ä", "Ä", "ß", "s", "S", "ſ", "K", "\u212a", "\u0308", "\u0338",
			" ", "\t", "\r", "\n", "\r\n", "\u00a0", "\u0085", "\u2001", "\u2028", "\x85", "\xc2", "\xff"}), 0, 7).Draw(t, "parts"), "")
	})
	rapid.Check(t, func(t *rapid.T) {
		var fold folding
		for _, word := range foldingWords {
			*fold.on(word) = rapid.Bool().Draw(t, word)
		}
		a, b, c := text.Draw(t, "a"), text.Draw(t, "b"), text.Draw(t, "c")
		same := func(x, y string) bool { return fold.fold(x) == fold.fold(y) }
		switch {
		case !same(a, a), same(a, b) != same(b, a), same(a, b) && same(b, c) && !same(a, c):
			t.Fatalf("%q, %q, %q under %s", a, b, c, fold.declared())
		case !same(a, fold.fold(a)):
			t.Fatalf("%q is not equal to what it folds to, %q, under %s", a, fold.fold(a), fold.declared())
		}
	})
}
