package schemas

import (
	"testing"
)

// A tag names the rollout by which a write was made, or says a number alone.
func TestFlagEpochIsReadFromATag(t *testing.T) {
	for tag, want := range map[string]struct {
		epoch uint64
		ok    bool
	}{
		"":                         {0, false},
		"7":                        {7, true},
		"orders:7":                 {7, true},
		"payments:3, orders:12":    {12, true},
		"payments:3":               {0, false},
		"orders:":                  {0, false},
		"orders:-1":                {0, false},
		"orders:x,orders:5":        {0, false},
		"green":                    {0, false},
		"orders:18446744073709551": {18446744073709551, true},
	} {
		if epoch, ok := FlagEpoch(tag, "orders"); epoch != want.epoch || ok != want.ok {
			t.Errorf("%q: got %d, %v, want %d, %v", tag, epoch, ok, want.epoch, want.ok)
		}
	}
}

func TestSameAuthorityIsThatOfEveryKey(t *testing.T) {
	at := func(stage RolloutStage, ramp RampShare, pins ...Pin) *Placed {
		return (&RolloutControl{Name: "orders", Revision: 1, Epoch: 1, Stage: stage, Ramp: ramp, Salt: "s", Pins: pins}).Placed()
	}
	pin := Pin{Key: []string{"1"}, Side: Target}
	for name, c := range map[string]struct {
		a, b *Placed
		want bool
	}{
		"off and shadow_read":         {at(StageOff, 0), at(StageShadowRead, 0), true},
		"shadow_read and primary":     {at(StageShadowRead, 0), at(StageTargetPrimary, 0), false},
		"primary and complete":        {at(StageTargetPrimary, 0), at(StageComplete, 0), true},
		"the same ramp":               {at(StageRamp, 500, pin), at(StageRamp, 500, pin), true},
		"another share":               {at(StageRamp, 500, pin), at(StageRamp, 501, pin), false},
		"other pins":                  {at(StageRamp, 500, pin), at(StageRamp, 500), false},
		"a ramp of none, and no ramp": {at(StageRamp, 0, pin), at(StageShadowRead, 0), false},
	} {
		if got := c.a.SameAuthority(c.b); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
