package rollout

import (
	"slices"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// "Scoped to the diverging tenant or range where possible": keys go back alone where many
// divergences are of few of them, all of which the target has, and the trigger is about
// nothing else; otherwise all do.
func TestConfined(t *testing.T) {
	half := Ready(&schemas.Rollout{Name: "a", Salt: "a", Pins: []schemas.Pin{{Key: []string{"pinned"}, Side: schemas.Target}}}).At(Place{schemas.StageRamp, 50_000})
	primary := Ready(&schemas.Rollout{Name: "a", Salt: "a"}).At(Place{Stage: schemas.StageTargetPrimary})
	one, other, legacys := keyIn(0, 25_000), keyIn(25_000, 50_000), keyIn(50_000, schemas.Buckets)
	var many [][]string
	for bucket := range MaxReturned + 1 {
		many = append(many, keyIn(2_000*bucket, 2_000*bucket+2_000))
	}
	share := burning(t)
	dual := schemas.StageDualWrite
	file := gated(t).Rollback.Triggers[schemas.StageRamp]
	for _, c := range []struct {
		name string
		at   *Flag
		of   *schemas.Trigger
		open Opened
		want int
	}{
		{"one tenant", half, share, Opened{[][]string{one}, 5, true}, 1},
		{"named again and again", half, share, Opened{[][]string{one, one, other, one}, 10, true}, 2},
		{"a pin that is the target's", half, share, Opened{[][]string{{"pinned"}}, 5, true}, 1},
		{"where the target has all", primary, share, Opened{[][]string{one, legacys}, 10, true}, 2},
		{"as many as can", half, share, Opened{many[:MaxReturned], 5 * MaxReturned, true}, MaxReturned},
		{"more than can", half, share, Opened{many, 1000, true}, 0},
		{"too few to tell", half, share, Opened{[][]string{one, other}, 9, true}, 0},
		{"not all are named", half, share, Opened{[][]string{one}, 100, false}, 0},
		{"none is named", half, share, Opened{nil, 100, true}, 0},
		{"a key that is legacy's", half, share, Opened{[][]string{one, legacys}, 100, true}, 0},
		{"the file says where to", half, &schemas.Trigger{Criteria: share.Criteria, To: &dual}, Opened{[][]string{one}, 100, true}, 0},
		{"of a lag", half, &schemas.Trigger{Criteria: file[1].Criteria}, Opened{[][]string{one}, 100, true}, 0},
		{"pins would come into force", half.At(Place{Stage: schemas.StageTargetPrimary}), share, Opened{[][]string{one}, 100, true}, 0},
		{"where legacy has all", half.At(Place{Stage: schemas.StageShadowRead}), share, Opened{[][]string{one}, 100, true}, 0},
		{"beyond the way back", half.At(Place{Stage: schemas.StageComplete}), share, Opened{[][]string{one}, 100, true}, 0},
	} {
		keys := Confined(c.at, c.of, c.open)
		if len(keys) != c.want {
			t.Errorf("%s: have %q", c.name, keys)
			continue
		}
		if c.want == 0 {
			continue
		}
		back := c.at.Return(keys)
		for _, key := range append(slices.Clone(many), one, other, legacys, []string{"pinned"}) {
			was, is := Evaluate(c.at, key).Authority(), Evaluate(back, key).Authority()
			returned := slices.ContainsFunc(keys, func(k []string) bool { return slices.Equal(k, key) })
			if returned && is != schemas.Legacy || !returned && is != was {
				t.Errorf("%s: %q was %s's, and is %s's", c.name, key, was, is)
			}
		}
	}
}
