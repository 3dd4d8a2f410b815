package reconcile

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Positions compare as their texts do, whichever way they are held, and say them again.
func TestPositionsCompareAsTexts(t *testing.T) {
	texts := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("%016X", rapid.Uint64().Draw(t, "number")) }),
		rapid.StringMatching(`[0-9A-G/:;@a-f]{16}`),
		rapid.StringN(0, 20, 20),
		rapid.SampledFrom([]string{"", "0000000000000000", "FFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFE", "000000000000000", "00000000000000000"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		a, b := texts.Draw(t, "a"), texts.Draw(t, "b")
		p, o := positionOf(a), positionOf(b)
		if p.String() != a || p.none() != (a == "") {
			t.Fatalf("%q became %q", a, p)
		}
		if p.before(o) != (a < b) || p.equal(o) != (a == b) {
			t.Fatalf("%q and %q: before %v, equal %v, want as texts: %d", a, b, p.before(o), p.equal(o), cmp.Compare(a, b))
		}
		written := appendPos(nil, p)
		d := &decoder{b: written}
		if read := d.pos(); d.err() != nil || !read.equal(p) {
			t.Fatalf("%q was written as %x and read as %q: %v", a, written, read, d.err())
		}
	})
}

// Sixteen characters are a number where every one of them is an upper-case hex digit, and nowhere else.
func TestHexNumberOfEveryCharacter(t *testing.T) {
	for i := range 16 {
		for c := range 256 {
			text := []byte("0123456789ABCDEF")
			text[i] = byte(c)
			got, ok := hexNumber(string(text))
			want, err := strconv.ParseUint(string(text), 16, 64)
			if good := err == nil && !strings.ContainsAny(string(text), "abcdef"); ok != good || ok && got != want {
				t.Fatalf("%q is %x, %v; want %x, %v", text, got, ok, want, good)
			}
		}
	}
}
