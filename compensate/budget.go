package compensate

import (
	"fmt"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// limit is a budget that a write has to fit into.
type limit struct {
	name string
	most int
}

// limitsOf are the budgets of a compensation: its entity's, its rule's, and for a
// delete the entity's one for deletes.
func (b *book) limitsOf(c *schemas.Compensation) []limit {
	e, ok := b.rules.Entity(c.Entity)
	if !ok {
		return nil
	}
	g := &e.Compensate.Guards
	out := []limit{{c.Entity, g.WritesPerMinute}}
	if c.Statement == schemas.DeleteRow {
		out = append(out, limit{c.Entity + ": deletes", g.DeletesPerMinute})
	}
	if r, ok := e.Compensate.Rule(c.Rule); ok && r.WritesPerMinute > 0 {
		out = append(out, limit{c.Entity + ": rule " + r.Name, r.WritesPerMinute})
	}
	return out
}

// spend takes a write out of all its budgets, or out of none and says which is
// empty.
func (b *book) spend(c *schemas.Compensation, now time.Time) (empty string) {
	limits := b.limitsOf(c)
	for _, l := range limits {
		if u := b.budgets[l.name]; l.most == 0 || u != nil && u.used(now) >= l.most {
			return fmt.Sprintf("budget of %s: %d a minute", l.name, l.most)
		}
	}
	for _, l := range limits {
		if b.budgets[l.name] == nil {
			b.budgets[l.name] = new(budget)
		}
		b.budgets[l.name].spend(now)
	}
	return ""
}

// spent counts a write that was made before a restart.
func (b *book) spent(c *schemas.Compensation, at schemas.Micros) {
	if b.now().Sub(at.Time()) > time.Minute+budgetSpan {
		return
	}
	for _, l := range b.limitsOf(c) {
		if b.budgets[l.name] == nil {
			b.budgets[l.name] = new(budget)
		}
		b.budgets[l.name].spend(b.now())
	}
}

// held says why an entry may not be written now: "" if it may.
func (b *book) held(en *entry, now time.Time) string {
	if br, ok := b.breakers.over(en); ok {
		return "breaker " + br.ID
	}
	e, ok := b.rules.Entity(en.c.Entity)
	if ok && en.c.Undoes == "" {
		for _, side := range schemas.Sides {
			if b.lag[side] > e.Compensate.Guards.LagMax {
				return fmt.Sprintf("the %s is %s behind, guards.maxLag is %s", side, b.lag[side].Round(time.Second), e.Compensate.Guards.LagMax)
			}
		}
	}
	return b.spend(&en.c, now)
}

// release lets everything that was held be looked at again.
func (b *book) release() {
	for _, en := range b.heldBack {
		if b.byID[en.c.ID] == en && en.state == holding {
			b.enqueue(en)
		}
	}
	b.heldBack = nil
	clear(b.holds)
}
