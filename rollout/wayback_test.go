package rollout

import (
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// "The point of no return, computed": every step of the graph says what becomes of the way
// back, by what it does to the keys' authority.
func TestEveryStepSaysWhatBecomesOfTheWayBack(t *testing.T) {
	places := []Place{{Stage: schemas.StageRamp, Ramp: 5_000}, {Stage: schemas.StageRamp, Ramp: 50_000}, {Stage: schemas.StageRamp, Ramp: schemas.WholeRamp}}
	for _, stage := range schemas.RolloutStages {
		if stage != schemas.StageRamp {
			places = append(places, Place{Stage: stage})
		}
	}
	seen, definition := map[WayBack]int{}, Ready(&schemas.Rollout{Name: "a", Salt: "a"})
	for _, from := range places {
		for _, to := range places {
			step, err := Step(definition.At(from), definition.At(to))
			if err != nil {
				continue
			}
			have := step.WayBack()
			seen[have]++
			var given, returned int // keys of which the target, or legacy, gets the authority
			for bucket := range schemas.Buckets {
				was, is := bucket < int(from.targetShare()), bucket < int(to.targetShare())
				if is && !was {
					given++
				}
				if was && !is {
					returned++
				}
			}
			want := WayStays
			switch {
			case AxesOf(to.Stage, true).Writes == WriteTarget:
				want = WayEnds
			case returned > 0:
				want = WayTaken
			case given > 0 || to.targetShare() > 0:
				want = WayNears
			}
			if have != want {
				t.Errorf("from %s to %s: want %q, have %q", from, to, want, have)
			}
		}
	}
	if seen[WayEnds] != 1 || seen[WayNears] == 0 || seen[WayTaken] == 0 || seen[WayStays] == 0 {
		t.Errorf("have %v", seen)
	}
}
