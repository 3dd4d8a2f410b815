package rollout

import (
	"maps"

	"github.com/trueup-io/trueup/schemas"
)

// Reason says why a key is where it is.
type Reason string

// The reasons.
const (
	ByStage Reason = "stage" // the stage is the same for all keys
	ByRamp  Reason = "ramp"  // the ramp is under way, and the key's bucket decided
	ByPin   Reason = "pin"   // the ramp is under way, and the file holds the key on a side
	Stale   Reason = "stale" // the stage is not known any more: the declared safe stage
)

// Flag is a rollout made ready for evaluation. It is not changed after Ready,
// and any number of goroutines may use it.
type Flag struct {
	name  string
	salt  string
	place Place
	safe  schemas.RolloutStage
	pins  schemas.PinSet
}

// Ready makes a definition ready.
func Ready(r *schemas.Rollout) *Flag {
	return &Flag{name: r.Name, salt: r.Salt, place: Place{r.Stage, r.Ramp}, safe: r.SafeStage, pins: schemas.PinSetOf(r.Pins)}
}

// At is the same flag at another place, for a preview. The place is not checked
// against the graph.
func (f *Flag) At(p Place) *Flag {
	moved := *f
	moved.place = p
	return &moved
}

// Back is the flag after it went back to a place. A process that does not know the stage
// is no further than that either, if it heard of it.
func (f *Flag) Back(p Place) *Flag {
	moved := f.At(p)
	moved.safe = min(f.safe, p.Stage)
	if p.Stage == schemas.StageRamp { // no process follows a ramp alone
		moved.safe = f.safe
	}
	return moved
}

// SameSpread says whether a ramp spreads keys as another flag does.
func (f *Flag) SameSpread(o *Flag) bool { return f.salt == o.salt && maps.Equal(f.pins, o.pins) }

// Safe is the stage of a process that no longer knows the stage.
func (f *Flag) Safe() schemas.RolloutStage { return f.safe }

// Name is the rollout's name.
func (f *Flag) Name() string { return f.name }

// Place is where the rollout stands.
func (f *Flag) Place() Place { return f.place }

// Decision is what a flag says of a key.
type Decision struct {
	Stage  schemas.RolloutStage
	Axes   Axes
	Bucket int // from 0 to schemas.Buckets-1, at each stage the same
	Reason Reason
}

// Authority is the side whose value of the key is right.
func (d Decision) Authority() schemas.Side { return d.Axes.Authority() }

// Evaluate says how a key is read and written. It depends on the flag and the
// key alone. key is the canonical texts of the key's parts.
func Evaluate(f *Flag, key []string) Decision {
	d := Decision{Stage: f.place.Stage, Bucket: schemas.BucketOf(f.salt, key), Reason: ByStage}
	onTarget := false
	if d.Stage == schemas.StageRamp {
		d.Reason = ByRamp
		var pinned bool
		if onTarget, pinned = f.pins.OnTarget(f.place.Ramp, d.Bucket, key); pinned {
			d.Reason = ByPin
		}
	}
	d.Axes = AxesOf(d.Stage, onTarget)
	return d
}

// EvaluateStale is the answer of a process that no longer knows the stage: the
// safe stage that the definition declares, and never anything else.
func EvaluateStale(f *Flag, key []string) Decision {
	return Decision{Stage: f.safe, Axes: AxesOf(f.safe, false), Bucket: schemas.BucketOf(f.salt, key), Reason: Stale}
}

// Point is the stage that the key is at: at the ramp one of its two neighbours.
func (d Decision) Point() schemas.RolloutStage {
	switch {
	case d.Stage != schemas.StageRamp:
		return d.Stage
	case d.Authority() == schemas.Target:
		return schemas.StageTargetPrimary
	}
	return schemas.StageShadowRead
}
