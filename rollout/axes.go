package rollout

import (
	"errors"
	"fmt"

	"github.com/trueup-io/trueup/schemas"
)

// Writes says which sides an application writes, and in which order.
type Writes string

// The ways of writing.
const (
	WriteLegacy           Writes = "legacy"
	WriteShadow           Writes = "legacy_shadow_target" // the target beside, after the answer; its failure is counted alone
	WriteLegacyThenTarget Writes = "legacy_then_target"   // both before the answer
	WriteTargetThenLegacy Writes = "target_then_legacy"   // both before the answer
	WriteTarget           Writes = "target"
)

// Compared says what of the two sides is compared.
type Compared string

// What can be compared.
const (
	CompareNothing        Compared = "nothing"
	CompareWrites         Compared = "writes"           // the two histories, from the logs
	CompareWritesAndReads Compared = "writes_and_reads" // and the answers that both give to a read
)

// Synced says what is brought from the authority to the follower beside the
// application's own writes: repairs, and rows that a baseline found missing.
type Synced string

// The directions.
const (
	SyncNothing        Synced = "nothing"
	SyncLegacyToTarget Synced = "legacy_to_target"
	SyncTargetToLegacy Synced = "target_to_legacy" // keeps the way back open
)

// Axes is what a stage means for one key. Which side has authority follows: the
// one that is written first.
type Axes struct {
	Writes  Writes       `json:"writes"`
	Reads   schemas.Side `json:"-"`
	Compare Compared     `json:"compare"`
	Sync    Synced       `json:"sync"`
}

// Authority is the side that is written first, or alone.
func (a Axes) Authority() schemas.Side {
	if a.Writes == WriteTarget || a.Writes == WriteTargetThenLegacy {
		return schemas.Target
	}
	return schemas.Legacy
}

// written says whether a side has a write before the application has its
// answer, and whether it is written at all.
func (a Axes) written(side schemas.Side) (first, ever bool) {
	switch a.Writes {
	case WriteLegacyThenTarget, WriteTargetThenLegacy:
		return true, true
	case WriteShadow:
		return side == schemas.Legacy, true
	}
	only := side == a.Authority()
	return only, only
}

// Validate says everything that makes a point no stage of a migration:
//
//   - reads come from the authority, so that one sees one's own writes;
//   - answers are compared only where both sides have the write by then, and
//     histories only where both are written;
//   - what is brought along goes from the authority to the other side.
func (a Axes) Validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch a.Writes {
	case WriteLegacy, WriteShadow, WriteLegacyThenTarget, WriteTargetThenLegacy, WriteTarget:
	default:
		refuse("writes %q: there is no such way", a.Writes)
		return errors.Join(errs...)
	}
	authority := a.Authority()
	if a.Reads != authority {
		refuse("reads from %s: %s is written first, and a read has to see it", a.Reads, authority)
	}
	first, ever := a.written(authority.Other())
	switch a.Compare {
	case CompareNothing:
	case CompareWrites, CompareWritesAndReads:
		if !ever {
			refuse("compare %s: %s is not written", a.Compare, authority.Other())
		} else if a.Compare == CompareWritesAndReads && !first {
			refuse("compare %s: %s may have the write later than the answer", a.Compare, authority.Other())
		}
	default:
		refuse("compare %q: there is no such thing", a.Compare)
	}
	switch a.Sync {
	case SyncNothing:
	case SyncLegacyToTarget, SyncTargetToLegacy:
		if (a.Sync == SyncTargetToLegacy) != (authority == schemas.Target) {
			refuse("sync %s: %s has authority", a.Sync, authority)
		}
	default:
		refuse("sync %q: there is no such direction", a.Sync)
	}
	return errors.Join(errs...)
}

// points are the stages. The ramp is none: its keys are at one of its two
// neighbours.
var points = [...]Axes{
	schemas.StageOff:           {WriteLegacy, schemas.Legacy, CompareNothing, SyncNothing},
	schemas.StageShadow:        {WriteShadow, schemas.Legacy, CompareWrites, SyncLegacyToTarget},
	schemas.StageDualWrite:     {WriteLegacyThenTarget, schemas.Legacy, CompareWrites, SyncLegacyToTarget},
	schemas.StageShadowRead:    {WriteLegacyThenTarget, schemas.Legacy, CompareWritesAndReads, SyncLegacyToTarget},
	schemas.StageRamp:          {},
	schemas.StageTargetPrimary: {WriteTargetThenLegacy, schemas.Target, CompareWritesAndReads, SyncTargetToLegacy},
	schemas.StageComplete:      {WriteTarget, schemas.Target, CompareNothing, SyncNothing},
}

// AxesOf returns what a stage means for a key; onTarget says whether the ramp
// has given the key to the target, and changes nothing at other stages. It
// panics for what is no stage.
func AxesOf(stage schemas.RolloutStage, onTarget bool) Axes {
	switch {
	case stage != schemas.StageRamp:
		return points[stage]
	case onTarget:
		return points[schemas.StageTargetPrimary]
	}
	return points[schemas.StageShadowRead]
}
