package schemas

import (
	"fmt"
	"slices"
)

// RolloutStage is a named point of a rollout: how far a migration has moved. The zero
// value is off.
type RolloutStage uint8

// The stages, from the first to the last.
const (
	StageOff           RolloutStage = iota // the target is not used
	StageShadow                            // the target is written beside; what becomes of that concerns nobody who waits
	StageDualWrite                         // both are written, legacy first; a write that fails on one fails
	StageShadowRead                        // and both are read; legacy answers
	StageRamp                              // for a share of the keys the target has authority, for the others legacy
	StageTargetPrimary                     // the target has authority for all; legacy is kept true, as the way back
	StageComplete                          // legacy is no longer used; there is no way back
)

// RolloutStages lists them from the first to the last.
var RolloutStages = []RolloutStage{StageOff, StageShadow, StageDualWrite, StageShadowRead, StageRamp, StageTargetPrimary, StageComplete}

var stageNames = []string{"off", "shadow", "dual_write", "shadow_read", "ramp", "target_primary", "complete"}

// String returns the stage's name in files and events.
func (s RolloutStage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("stage(%d)", uint8(s))
}

// MarshalText gives the name.
func (s RolloutStage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseRolloutStage reads a stage's name.
func ParseRolloutStage(text string) (RolloutStage, error) {
	if i := slices.Index(stageNames, text); i >= 0 {
		return RolloutStage(i), nil
	}
	return 0, fmt.Errorf("stage %q: want one of %v", text, stageNames)
}
