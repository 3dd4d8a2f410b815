package schemas

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// RolloutControl is where a rollout stands from a point of the log on, and what the
// authority of a key follows from.
type RolloutControl struct {
	Name     string
	Revision uint64 // counts the rollout's changes
	Epoch    uint64 // counts those after which keys may be read or written otherwise
	Stage    RolloutStage
	Ramp     RampShare // of stage ramp, otherwise 0
	Salt     string
	Pins     []Pin
	// Fence is when it was decided, on our clock: what was written by it committed after, and what was not, before.
	Fence Micros
}

// Place is the stage, with the share at the ramp: ramp 12.5%.
func (r *RolloutControl) Place() string {
	if r.Stage == StageRamp {
		return r.Stage.String() + " " + r.Ramp.String()
	}
	return r.Stage.String()
}

// Placed is a rollout's place made ready for asking about keys. It is not changed after.
type Placed struct {
	RolloutControl
	pins PinSet
}

// Placed makes it ready.
func (r *RolloutControl) Placed() *Placed { return &Placed{*r, PinSetOf(r.Pins)} }

// Authority is the side that has authority for a key by its canonical texts: the same
// that whoever reads and writes by the rollout finds.
func (p *Placed) Authority(key []string) Side {
	target := p.Stage > StageRamp
	if p.Stage == StageRamp {
		target, _ = p.pins.OnTarget(p.Ramp, BucketOf(p.Salt, key), key)
	}
	if target {
		return Target
	}
	return Legacy
}

// Uniform says that all keys have the same authority.
func (p *Placed) Uniform() bool { return p.Stage != StageRamp }

// SameAuthority says that every key surely has the authority that it has under o.
func (p *Placed) SameAuthority(o *Placed) bool {
	if p.Uniform() && o.Uniform() {
		return p.Authority(nil) == o.Authority(nil)
	}
	return p.Stage == o.Stage && p.Ramp == o.Ramp && p.Salt == o.Salt &&
		slices.EqualFunc(p.Pins, o.Pins, func(a, b Pin) bool { return a.Side == b.Side && slices.Equal(a.Key, b.Key) })
}

// FlagEpoch reads a tag's flag_epoch: NAME:EPOCH of the rollouts that a write was made
// by, joined by commas, or the number alone, which is of whichever rollout moves the
// data. It is false where this rollout's is not said.
func FlagEpoch(tag, rollout string) (epoch uint64, ok bool) {
	for tag != "" {
		var one string
		one, tag, _ = strings.Cut(tag, ",")
		name, number, named := strings.Cut(strings.TrimSpace(one), ":")
		if !named {
			name, number = rollout, name
		}
		if name != rollout {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 64)
		return n, err == nil
	}
	return 0, false
}

func checkRollout(r *RolloutControl) error {
	switch {
	case !migrationName.MatchString(r.Name):
		return fmt.Errorf("rollout %q: want 1 to 63 of the characters a-z, 0-9 and -", r.Name)
	case r.Epoch == 0 || r.Revision == 0 || r.Epoch > math.MaxInt64 || r.Revision > math.MaxInt64:
		return fmt.Errorf("rollout %s: epochs and revisions are counted from 1", r.Name)
	case r.Stage > StageComplete:
		return fmt.Errorf("rollout %s: there is no %s", r.Name, r.Stage)
	case r.Ramp > WholeRamp || r.Ramp != 0 && r.Stage != StageRamp:
		return fmt.Errorf("rollout %s: a share of %s does not belong to %s", r.Name, r.Ramp, r.Stage)
	}
	for _, p := range r.Pins {
		if p.Side != Legacy && p.Side != Target || len(p.Key) == 0 {
			return fmt.Errorf("rollout %s: a pin needs a key and a side", r.Name)
		}
	}
	return checkTimes(r.Fence)
}
