package rollout

import "github.com/trueup-io/trueup/schemas"

// WayBack is what a step does to the way back to legacy.
type WayBack string

// What a step does to the way back.
const (
	WayStays WayBack = ""      // legacy has authority for all keys, before it and behind it
	WayNears WayBack = "nears" // keys are written on the target first behind it: going back from there loses what legacy does not have by then
	WayTaken WayBack = "taken" // it gives keys back to legacy, and loses what these are on the target alone
	WayEnds  WayBack = "ends"  // the point of no return: legacy is not written behind it
)

// WayBack is what the step does to the way back.
func (t Transition) WayBack() WayBack {
	switch {
	case t.To.Stage == schemas.StageComplete:
		return WayEnds
	case !t.Forward && t.Fenced:
		return WayTaken
	case t.To.Stage >= schemas.StageRamp:
		return WayNears
	}
	return WayStays
}
