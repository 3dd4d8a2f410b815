package schemas

import (
	"testing"

	"pgregory.net/rapid"
)

// Forms that nearly all values have are read by a shorter way, which says what the
// longer one does.
func TestCommonFormsAreReadAsAllAre(t *testing.T) {
	digits := func(n int) *rapid.Generator[string] {
		return rapid.StringOfN(rapid.RuneFrom([]rune("0001239")), n, n, -1)
	}
	between := func(texts ...string) *rapid.Generator[string] { return rapid.SampledFrom(texts) }
	rapid.Check(t, func(t *rapid.T) {
		draw := func(g *rapid.Generator[string]) string { return g.Draw(t, "part") }
		check := func(any func([]byte, string) ([]byte, limits, error), c canonType, text string) {
			want, wantLimit, wantErr := any(nil, text)
			got, limit, err := c.canon(nil, text)
			if string(got) != string(want) || limit != wantLimit || (err == nil) != (wantErr == nil) {
				t.Fatalf("%s of %q: %q, %v, %v; want %q, %v, %v", c.declared(), text, got, limit, err, want, wantLimit, wantErr)
			}
		}
		number := draw(between("", "-", "+")) + draw(digits(rapid.IntRange(0, 3).Draw(t, "whole"))) + draw(between(".", "", "..")) +
			draw(digits(rapid.IntRange(0, 4).Draw(t, "fraction"))) + draw(between("", "", "", "e1", " "))
		for scale := range 4 {
			d := decimalType{scale}
			check(d.any, d, number)
		}
		stamp := draw(digits(4)) + "-" + draw(digits(2)) + draw(between("-", "-", "/")) + draw(digits(2)) + draw(between(" ", "T", "x")) +
			draw(digits(2)) + ":" + draw(digits(2)) + draw(between(":", ":", ".")) + draw(digits(2)) + draw(between("", ".", ".")) +
			draw(digits(rapid.IntRange(0, 7).Draw(t, "fraction"))) + draw(between("", "", "+00", "+01", "Z", " BC"))
		for precision := range 7 {
			for _, truncate := range []bool{false, true} {
				d := timestampType{granularity{precision, truncate}}
				check(d.any, d, stamp)
			}
		}
	})
}
