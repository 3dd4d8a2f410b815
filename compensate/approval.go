package compensate

import (
	"errors"
	"fmt"

	"github.com/trueup-io/trueup/schemas"
)

// decision takes what a person decided. An error says why it has no effect.
func (b *book) decision(d *schemas.Decision) ([]schemas.Event, error) {
	switch d.Action {
	case schemas.Pause:
		b.paused = true
		return nil, nil
	case schemas.Resume:
		if d.Scope != "" {
			return nil, b.resume(d.Scope, d.At)
		}
		b.paused = false
		return nil, nil
	case schemas.Trip:
		if closed, was := b.resumed[d.Scope]; was && d.At <= closed {
			return nil, fmt.Errorf("breaker %q was resumed at %s, after this", d.Scope, closed)
		}
		if _, open := b.breakers[d.Scope]; !open {
			b.breakers[d.Scope] = Breaker{ID: d.Scope, Reason: d.Why, At: d.At}
		}
		return nil, nil
	case schemas.Undo:
		return nil, errors.New("undo needs the log: see Runner.undo")
	}
	en := b.byID[d.CompensationID]
	if en == nil {
		return nil, errors.New("no such compensation waits: it was never proposed, or has an outcome")
	}
	if en.state != waiting {
		return nil, fmt.Errorf("compensation %s does not wait for a decision", d.CompensationID)
	}
	if en.c.ExpiresAt != 0 && d.At >= en.c.ExpiresAt {
		return b.expire(en), fmt.Errorf("compensation %s expired at %s", d.CompensationID, en.c.ExpiresAt)
	}
	o := Conclude(&en.c, schemas.Approved, d.Why)
	o.By, o.At = d.By, d.At
	if d.Action == schemas.Reject {
		o.Result = schemas.Rejected
		b.drop(en)
		return b.say(o), nil
	}
	b.enqueue(en)
	if left := b.toApprove(&en.c); left > 0 {
		b.approved[b.ruleKeyOf(&en.c)]++
		if left == 1 {
			b.trust(&en.c)
		}
	}
	return b.say(o), nil
}

// toApprove is how many writes of a compensation's rule still wait for a person
// before it acts alone.
func (b *book) toApprove(c *schemas.Compensation) int {
	e, ok := b.rules.Entity(c.Entity)
	if !ok || c.Mode != ModeApply || c.Undoes != "" {
		return 0
	}
	r, ok := e.Compensate.Rule(c.Rule)
	if !ok {
		return 0
	}
	return max(0, r.ApproveFirst-b.approved[ruleKey(e.Name, r)])
}

func (b *book) ruleKeyOf(c *schemas.Compensation) string {
	if e, ok := b.rules.Entity(c.Entity); ok {
		if r, ok := e.Compensate.Rule(c.Rule); ok {
			return ruleKey(e.Name, r)
		}
	}
	return c.Entity + "/" + c.Rule
}

// trust lets go what waited only because its rule was new.
func (b *book) trust(c *schemas.Compensation) {
	for _, en := range b.sorted(waiting) {
		if en.c.Mode == ModeApply && en.c.Entity == c.Entity && en.c.Rule == c.Rule {
			b.enqueue(en)
		}
	}
}

// expire ends a proposal that nobody decided on in time.
func (b *book) expire(en *entry) []schemas.Event {
	b.drop(en)
	o := Conclude(&en.c, schemas.Expired, "nobody decided in time")
	o.At = en.c.ExpiresAt
	return b.say(o)
}
