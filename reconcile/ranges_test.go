package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// shownRanges writes ranges of one-byte keys for people: [a is from a, (a is behind it.
func shownRanges(n *EntityRanges) string {
	var b strings.Builder
	for _, r := range n.Ranges {
		from, to := "(", ")"
		if r.From.Key != nil && !r.From.Behind {
			from = "["
		}
		if r.To.Behind {
			to = "]"
		}
		fmt.Fprintf(&b, "%s%s %s%s:%d/%d ", from, r.From.Key, r.To.Key, to, r.Since[schemas.Legacy], r.Since[schemas.Target])
	}
	if n.More {
		b.WriteString("more")
	}
	return strings.TrimSpace(b.String())
}

func rangesOf(spans ...struct {
	side     schemas.Side
	from, to string
	since    schemas.Micros
}) *EntityRanges {
	n := &EntityRanges{Entity: "e", Ranges: []KeyRange{{}}}
	for _, s := range spans {
		x := span{since: s.since}
		if s.from != "" {
			x.from = []byte(s.from)
		}
		if s.to != "" {
			x.to = []byte(s.to)
		}
		n.cover(&x, s.side)
	}
	n.join()
	return n
}

type told = struct {
	side     schemas.Side
	from, to string
	since    schemas.Micros
}

// "Per entity and key range, what was compared and how lately": the ranges are all keys,
// each with what is known of it; where two tell of the same keys, the later one counts.
func TestRangesAreAllKeys(t *testing.T) {
	const L, T = schemas.Legacy, schemas.Target
	for _, c := range []struct {
		told []told
		want string
	}{
		{nil, "( ):0/0"},
		{[]told{{L, "", "", 5}}, "( ):5/0"},
		{[]told{{L, "", "", 5}, {T, "", "m", 7}}, "( m]:5/7 (m ):5/0"},
		{[]told{{L, "c", "m", 5}, {T, "h", "t", 7}}, "( c):0/0 [c h):5/0 [h m]:5/7 (m t]:0/7 (t ):0/0"},
		{[]told{{L, "c", "m", 5}, {L, "h", "t", 7}}, "( c):0/0 [c h):5/0 [h t]:7/0 (t ):0/0"},
		{[]told{{L, "h", "t", 7}, {L, "c", "m", 5}}, "( c):0/0 [c h):5/0 [h t]:7/0 (t ):0/0"},
		{[]told{{L, "a", "c", 5}, {L, "c", "d", 5}}, "( a):0/0 [a d]:5/0 (d ):0/0"},
		{[]told{{L, "b", "b", 5}}, "( b):0/0 [b b]:5/0 (b ):0/0"},
		{[]told{{L, "b", "b", 5}, {T, "", "b", 6}, {T, "c", "", 7}}, "( b):0/6 [b b]:5/6 (b c):0/0 [c ):0/7"},
	} {
		if got := shownRanges(rangesOf(c.told...)); got != c.want {
			t.Errorf("%v: %s, want %s", c.told, got, c.want)
		}
	}
}

// What is told of a key is what each span and each partition says of it, whatever their
// order: against asking them one by one.
func TestRangesSayOfEachKeyWhatIsKnown(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	letter := func() string {
		if rng.IntN(6) == 0 {
			return ""
		}
		return string(rune('a' + rng.IntN(20)))
	}
	for range 300 {
		var parts [][]EntityRanges
		var spans [][]told
		for range 1 + rng.IntN(3) {
			var one []told
			for range rng.IntN(6) {
				s := told{schemas.Sides[rng.IntN(2)], letter(), letter(), schemas.Micros(1 + rng.IntN(9))}
				if s.from != "" && s.to != "" && s.from > s.to {
					s.from, s.to = s.to, s.from
				}
				one = append(one, s)
			}
			parts, spans = append(parts, []EntityRanges{*rangesOf(one...)}), append(spans, one)
		}
		joined := JoinRanges(parts)[0]
		for key := 'a'; key <= 'u'; key++ {
			for _, text := range []string{string(key), string(key) + "!"} {
				var want [3]schemas.Micros
				for i, one := range spans {
					var part [3]schemas.Micros
					for _, s := range one {
						if (s.from == "" || text >= s.from) && (s.to == "" || text <= s.to) {
							part[s.side] = max(part[s.side], s.since)
						}
					}
					for _, side := range schemas.Sides {
						if want[side] = min(want[side], part[side]); i == 0 {
							want[side] = part[side]
						}
					}
				}
				in := slices.DeleteFunc(slices.Clone(joined.Ranges), func(r KeyRange) bool {
					at := Cut{Key: []byte(text)}
					return compareStarts(r.From, at) > 0 || r.To.Key != nil && compareStarts(r.To, at) <= 0
				})
				if len(in) != 1 || in[0].Since != want {
					t.Fatalf("%v: key %s is in %v, want %v; ranges %s", spans, text, in, want, shownRanges(&joined))
				}
			}
		}
	}
}

// What is told is bounded, and says that it is not all; what is left out is never told
// as covered.
func TestI20_RangesAreBounded(t *testing.T) {
	var many []told
	for i := range 100 {
		many = append(many, told{schemas.Legacy, fmt.Sprintf("%03d", 2*i), fmt.Sprintf("%03d", 2*i), 5})
	}
	n := rangesOf(many...)
	last := n.Ranges[len(n.Ranges)-1]
	if len(n.Ranges) != maxKeyRanges || !n.More || last.To.Key != nil || last.Since != [3]schemas.Micros{} {
		t.Errorf("%d ranges, the last %+v, more: %v", len(n.Ranges), last, n.More)
	}
	if got := JoinRanges([][]EntityRanges{{*n}, {}}); shownRanges(&got[0]) != "( ):0/0 more" {
		t.Errorf("of an entity that a partition does not know: %s", shownRanges(&got[0]))
	}
}
