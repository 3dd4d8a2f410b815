package rollout

import (
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

const (
	// MaxReturned bounds the keys that one rollback gives back alone: a spread over more is no matter of a few.
	MaxReturned = 16
	// minOpenedEach is how many divergences there have to be for each key that they are confined to. What hits
	// keys at random hits so few of them so often hardly ever.
	minOpenedEach = 5
)

// Opened is what divergences were opened, of which keys.
type Opened struct {
	Keys  [][]string // as rollouts ask for them
	Count uint64     // of divergences
	Whole bool       // no other key has one
}

// Return is the flag with keys given back to legacy, whatever their bucket. Where the target
// has all keys it is at the whole ramp then, where keys can differ.
func (f *Flag) Return(keys [][]string) *Flag {
	if len(keys) == 0 {
		return f
	}
	moved := *f
	if moved.place.Stage == schemas.StageTargetPrimary {
		moved.place = Place{Stage: schemas.StageRamp, Ramp: schemas.WholeRamp}
	}
	moved.pins = f.pins.With(keys, schemas.Legacy)
	return &moved
}

// Returnable says whether a rollback can give keys back alone: the target has each of them,
// and at its stage, or beside it, keys can differ. At target_primary pins are not in force,
// and would come into it.
func (f *Flag) Returnable(keys [][]string) bool {
	if f.place.Stage != schemas.StageRamp && (f.place.Stage != schemas.StageTargetPrimary || len(f.pins) > 0) {
		return false
	}
	return len(keys) > 0 && !slices.ContainsFunc(keys, func(key []string) bool { return len(key) == 0 || Evaluate(f, key).Authority() != schemas.Target })
}

// Confined are the keys that a trigger can take back alone, because all divergences are theirs: the
// trigger is about nothing else than divergences that were opened, it does not say where
// to go, and so many of so few keys are no chance. None: it takes back the whole.
func Confined(f *Flag, t *schemas.Trigger, o Opened) [][]string {
	if t.To != nil || !o.Whole || len(t.Criteria) == 0 || !slices.Equal(t.Criteria[0].Condition.Names(), []string{"divergence"}) {
		return nil
	}
	keys := slices.Clone(o.Keys)
	slices.SortFunc(keys, slices.Compare)
	keys = slices.CompactFunc(keys, slices.Equal)
	if len(keys) > MaxReturned || o.Count < uint64(minOpenedEach*len(keys)) || !f.Returnable(keys) {
		return nil
	}
	return keys
}
