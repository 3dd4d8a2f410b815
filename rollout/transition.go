package rollout

import (
	"fmt"
	"maps"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Place is where a rollout stands: a stage and, at the ramp, the target's share.
type Place struct {
	Stage schemas.RolloutStage
	Ramp  schemas.RampShare // 0 at other stages
}

// String writes a place as people say it: ramp 12.5%.
func (p Place) String() string {
	if p.Stage == schemas.StageRamp {
		return p.Stage.String() + " " + p.Ramp.String()
	}
	return p.Stage.String()
}

// MarshalText gives what String writes.
func (p Place) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ParsePlace reads what String writes.
func ParsePlace(text string) (p Place, err error) {
	name, share, ramps := strings.Cut(text, " ")
	if p.Stage, err = schemas.ParseRolloutStage(name); err != nil {
		return Place{}, err
	}
	if ramps != (p.Stage == schemas.StageRamp) {
		return Place{}, fmt.Errorf("place %q: a share belongs to stage ramp, and to it alone", text)
	}
	if ramps {
		p.Ramp, err = schemas.ParseRampShare(share)
	}
	return p, err
}

// targetShare is the share of the keys for which the target has authority.
func (p Place) targetShare() schemas.RampShare {
	switch {
	case p.Stage == schemas.StageRamp:
		return p.Ramp
	case p.Stage > schemas.StageRamp:
		return schemas.WholeRamp
	}
	return 0
}

// Transition is a step of a rollout that the graph has.
type Transition struct {
	From, To Place
	// Forward says that for some key the target is used more than before: gates have a say. A step that only goes back needs none.
	Forward bool
	// Fenced says that for some keys another side gets authority: writes under the old epoch have to end first.
	Fenced bool
}

// Next lists the stages that a rollout can go to from a stage: the next one,
// and all earlier ones, the nearest first. From complete there is no way.
func Next(from schemas.RolloutStage) (to []schemas.RolloutStage) {
	if from == schemas.StageComplete {
		return nil
	}
	to = append(to, from+1)
	for s := from; s > schemas.StageOff; {
		s--
		to = append(to, s)
	}
	return to
}

// Step checks a transition against the graph, and says what it needs. Forward is
// one stage at a time, and off the ramp only from its end. Back is any earlier
// stage, at once. Two flags at the ramp have the same salt: with another one,
// keys would move both ways.
func Step(was, is *Flag) (Transition, error) {
	from, to := was.place, is.place
	refuse := func(why string, args ...any) (Transition, error) {
		return Transition{}, fmt.Errorf("step from %s to %s: %s", from, to, fmt.Sprintf(why, args...))
	}
	for _, p := range []Place{from, to} {
		switch {
		case p.Stage > schemas.StageComplete:
			return refuse("there is no %s", p.Stage)
		case p.Ramp > schemas.WholeRamp || p.Ramp != 0 && p.Stage != schemas.StageRamp:
			return refuse("a share of %s does not belong to %s", p.Ramp, p.Stage)
		}
	}
	ramps := from.Stage == schemas.StageRamp && to.Stage == schemas.StageRamp
	pins := !maps.Equal(was.pins, is.pins)
	switch {
	case ramps && was.salt != is.salt:
		return refuse("another salt would move keys both ways: go back to %s first", schemas.StageShadowRead)
	case from == to && !(ramps && pins):
		return refuse("it is there already")
	case from.Stage == schemas.StageComplete:
		return refuse("legacy has missed writes since, there is no way back")
	case to.Stage > from.Stage+1:
		return refuse("%s comes first", from.Stage+1)
	case from.Stage == schemas.StageRamp && to.Stage == schemas.StageTargetPrimary && from.Ramp != schemas.WholeRamp:
		return refuse("the ramp is at %s, raise it to 100%% first", from.Ramp)
	}
	t := Transition{From: from, To: to, Forward: to.Stage > from.Stage || ramps && to.Ramp > from.Ramp || ramps && pins,
		Fenced: from.targetShare() != to.targetShare()}
	if ramps {
		t.Fenced = t.Fenced || pins
	} else { // pins come into force, or cease to be
		t.Fenced = t.Fenced || from.Stage == schemas.StageRamp && len(was.pins) > 0 || to.Stage == schemas.StageRamp && len(is.pins) > 0
	}
	return t, nil
}
