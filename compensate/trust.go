package compensate

import (
	"errors"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// forged is why a compensation or a decision of the topic is not acted upon.
type forged struct{ reason string }

func (f forged) Error() string { return f.reason }

// genuine says why a compensation that stands on the topic, or is about to be
// written, is not ours.
func (r *Runner) genuine(c *schemas.Compensation) error {
	if err := r.cfg.Key.Verify(c); err != nil {
		return forged{fmt.Sprintf("compensation %.64q: %v; it is never written", c.ID, err)}
	}
	if ID(c) != c.ID {
		return forged{fmt.Sprintf("compensation %.64q is not what its id says: it is never written", c.ID)}
	}
	return nil
}

// decided says why a decision that stands on the topic is nobody's who may decide:
// it is not signed with our key, or it is a copy of one that a later one has
// overtaken.
func (r *Runner) decided(d *schemas.Decision) error {
	if err := r.cfg.Key.VerifyDecision(d); err != nil {
		return forged{fmt.Sprintf("%s %.64q by %.64q: %v; it has no effect", d.Action, d.CompensationID+d.Scope, d.By, err)}
	}
	if stops(d) && d.At < r.stopped {
		return forged{fmt.Sprintf("%s by %.64q is of %s, and one of %s came before it: it has no effect; if it is no copy, see the clocks", d.Action,
			d.By, d.At, r.stopped)}
	}
	return nil
}

// stops says whether a decision is a pause, or the end of one.
func stops(d *schemas.Decision) bool {
	return d.Action == schemas.Pause || d.Action == schemas.Resume && d.Scope == ""
}

// futureTolerance is how far a clock may be ahead of ours.
const futureTolerance = 5 * time.Minute

// warranted is what is asked of every compensation right before it is written,
// whatever was asked before: bad input 27.
func (r *Runner) warranted(en *entry) error {
	c := en.published()
	if err := r.genuine(c); err != nil {
		return err
	}
	if en.said != nil { // what is written is what was signed, and perhaps approved
		bare := en.c
		if again, err := hide(r.cfg.Rules, &bare); err != nil || again == nil || again.ID != c.ID {
			return forged{fmt.Sprintf("what compensation %.64q hides is not what would be written", c.ID)}
		}
	}
	e, ok := r.cfg.Rules.Entity(c.Entity)
	if !ok {
		return fmt.Errorf("the rules in force have no entity %q", c.Entity)
	}
	if rule, ok := e.Compensate.Rule(c.Rule); c.Undoes == "" && (!ok || !chose(rule, c)) {
		return fmt.Errorf("rule %q with policy %q in mode %q is not in force", c.Rule, c.Policy, c.Mode)
	}
	if err := r.ruled(e, c); err != nil {
		return err
	}
	if ahead := time.Until(c.CreatedAt.Time()); ahead > futureTolerance {
		return fmt.Errorf("it answers an event that is %s in the future", ahead.Round(time.Second))
	}
	if r.cfg.Reach == nil || c.DerivedOf.Source == "" {
		return nil
	}
	epoch, pos, ok := r.cfg.Reach(c.DerivedOf.Source)
	if ok && (c.DerivedOf.Epoch > epoch || c.DerivedOf.Epoch == epoch && c.DerivedOf.Pos > pos) {
		return fmt.Errorf("it rests on position %s of epoch %d of %s, which has been read up to %s of epoch %d", c.DerivedOf.Pos, c.DerivedOf.Epoch,
			c.DerivedOf.Source, pos, epoch)
	}
	return nil
}

// chose says that a rule, as it is in force, has c written in its mode, or more carefully.
func chose(rule *schemas.CompensateRule, c *schemas.Compensation) bool {
	careful := c.RolloutEpoch != 0 && rule.Mode == ModeApply && c.Mode == ModePropose
	return rule.Policy == c.Policy && (rule.Mode == c.Mode || careful)
}

// ruled says why c is of an authority that has ended: what was right when it was planned
// may be what is to be overwritten now. What a person takes back is his to judge.
func (r *Runner) ruled(e *schemas.Entity, c *schemas.Compensation) error {
	if r.cfg.Rollout == nil || c.Undoes != "" {
		return nil
	}
	place, known := r.cfg.Rollout()
	switch {
	case !known:
		return errors.New("where the rollout stands is not known")
	case place == nil:
		return nil
	}
	was, is := c.Authority, place.Authority(e.RolloutKey(c.Key))
	if c.RolloutEpoch == 0 {
		was = e.Authority
	}
	if was != is {
		return fmt.Errorf("it was planned in epoch %d of %s with %s as the authority, which is %s in epoch %d: a newer event of the divergence gives another",
			c.RolloutEpoch, place.Name, was, is, place.Epoch)
	}
	return nil
}

// mayWrite says that nothing keeps all writes back: no pause, and it is known where the
// rollout stands.
func (r *Runner) mayWrite() bool {
	if r.book.paused {
		return false
	}
	if r.cfg.Rollout == nil {
		return true
	}
	_, known := r.cfg.Rollout()
	return known
}
