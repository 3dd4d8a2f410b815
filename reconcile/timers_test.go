package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

// Timers come back in the order of their times, then of their keys, whatever
// the order in which they were set.
func TestTimersComeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type want struct {
			at schemas.Micros
			id string
		}
		var due timers
		var left []want
		now := schemas.Micros(0)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "what") > 0 {
				at := now + schemas.Micros(rapid.SampledFrom([]int{0, 1, 5, 100, 105}).Draw(t, "at"))
				w := want{at, fmt.Sprint("k", rapid.IntRange(0, 9).Draw(t, "key"))}
				due.add(w.at, &keyState{id: w.id})
				left = append(left, w)
				continue
			}
			now += schemas.Micros(rapid.IntRange(0, 60).Draw(t, "by"))
			slices.SortFunc(left, func(a, b want) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) })
			for {
				got, ok := due.due(now)
				if !ok {
					break
				}
				if len(left) == 0 || left[0] != (want{got.at, got.id}) || got.at >= now {
					t.Fatalf("at %d came %d %s, want the first of %v", now, got.at, got.id, left)
				}
				left = left[1:]
			}
			if len(left) > 0 && left[0].at < now {
				t.Fatalf("at %d, %v did not come", now, left[0])
			}
		}
	})
}
