package compensate

import (
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// recall rebuilds a book from what was published: outcomes first, then
// compensations and decisions, each topic in order. What had been planned and has
// no outcome is live again; what may have been written is doubted.
type recall struct {
	book *book
	// reveal returns a compensation as it is written.
	reveal func(*schemas.Compensation) (schemas.Compensation, error)

	results   map[string]schemas.Outcome // the final one of each compensation
	proposed  map[string]bool            // said to be proposed
	approved  map[string]bool            // said to be approved
	order     []schemas.Compensation     // live ones
	decisions []schemas.Decision
	undos     []schemas.Decision
	undone    map[string]bool  // compensations of which an inverse was published
	pause     schemas.Decision // the latest pause or resume
}

func newRecall(b *book, reveal func(*schemas.Compensation) (schemas.Compensation, error)) *recall {
	return &recall{book: b, reveal: reveal, results: make(map[string]schemas.Outcome), proposed: make(map[string]bool), approved: make(map[string]bool), undone: make(map[string]bool)}
}

// outcome takes one of the outcomes' topic.
func (r *recall) outcome(o *schemas.Outcome) {
	switch {
	case o.Result == schemas.Proposed:
		r.proposed[o.CompensationID] = true
	case o.Result == schemas.Approved:
		r.approved[o.CompensationID] = true
	case r.results[o.CompensationID].Result != schemas.Confirmed:
		if was := r.results[o.CompensationID]; o.Result == schemas.Confirmed && was.Result == schemas.Applied {
			o.At = was.At // when it was written, for the budgets
		}
		r.results[o.CompensationID] = *o
		r.book.final.put(o.CompensationID, o.Result)
	}
}

// compensation takes one of the compensations' topic that is genuine, after all
// outcomes.
func (r *recall) compensation(c *schemas.Compensation) error {
	if c.Undoes != "" {
		r.undone[c.Undoes] = true
	}
	o, done := r.results[c.ID]
	switch result := o.Result; {
	case result == schemas.Confirmed:
		r.book.spent(c, o.At)
	case result == schemas.Applied || result == schemas.AlreadyApplied:
		bare, err := r.reveal(c)
		if err != nil {
			return err
		}
		r.book.wrote(&bare)
		if w, ok := r.book.written[bare.DivergenceID]; ok {
			w.seen = true // its event may have been taken before the restart
			r.book.written[bare.DivergenceID] = w
		}
		r.book.spent(c, o.At)
	case !done && c.Mode != ModeReport:
		r.order = append(r.order, *c)
	}
	return nil
}

// decision takes one of the compensations' topic.
func (r *recall) decision(d *schemas.Decision) {
	switch {
	case stops(d):
		// They may stand in several partitions, between which only their times order them.
		if d.At >= r.pause.At {
			r.pause = *d
		}
	case d.Action == schemas.Undo:
		r.undos = append(r.undos, *d)
	default:
		r.decisions = append(r.decisions, *d)
	}
}

// finish makes the book whole and returns what had been left unsaid.
func (r *recall) finish() ([]schemas.Event, error) {
	var out []schemas.Event
	for _, c := range r.order {
		said, err := r.revive(c)
		if err != nil {
			return nil, err
		}
		out = append(out, said...)
	}
	slices.SortStableFunc(r.decisions, func(x, y schemas.Decision) int { return int(x.At - y.At) })
	for i := range r.decisions {
		said, err := r.book.decision(&r.decisions[i])
		if err == nil { // it had been said already otherwise
			out = append(out, said...)
		}
	}
	r.book.paused = r.pause.Action == schemas.Pause
	return out, nil
}

// unheard are the undos that were asked for and never answered.
func (r *recall) unheard() []schemas.Decision {
	return slices.DeleteFunc(r.undos, func(d schemas.Decision) bool { return r.undone[d.CompensationID] })
}

// revive makes c live again.
func (r *recall) revive(c schemas.Compensation) ([]schemas.Event, error) {
	b := r.book
	key := keyOf(c.Entity, c.Key)
	var out []schemas.Event
	if old := b.live[key]; old != nil {
		if old.c.ID == c.ID {
			return nil, nil // published twice
		}
		// The one after it was published, so it was superseded, and cannot have been written.
		b.drop(old)
		out = b.say(Conclude(&old.c, schemas.Superseded, "compensation "+c.ID+" came after it"))
	}
	bare, err := r.reveal(&c)
	if err != nil {
		return nil, err
	}
	var said *schemas.Compensation
	if e, ok := b.rules.Entity(c.Entity); ok && e.Sensitive() {
		said = &c
	}
	en := b.add(bare, said, key)
	en.state, en.revoked = waiting, b.revoked(&c)
	switch {
	case c.Mode == ModeApply && !r.proposed[c.ID], r.approved[c.ID]:
		en.state = doubted
	case en.revoked != "":
		return append(out, b.outcome(en, Conclude(&c, schemas.Refused, en.revoked))...), nil
	case !r.proposed[c.ID]:
		out = append(out, b.say(Conclude(&c, schemas.Proposed, ""))...)
	}
	return out, nil
}

// revoked says why what was planned once would not be planned today (bad input 26:
// a rule that was disabled meanwhile).
func (b *book) revoked(c *schemas.Compensation) string {
	e, ok := b.rules.Entity(c.Entity)
	switch {
	case ok && c.Undoes != "":
		return "" // no rule planned it
	case !ok:
		return fmt.Sprintf("the rules in force have no entity %q", c.Entity)
	}
	rule, ok := e.Compensate.Rule(c.Rule)
	switch {
	case !ok:
		return fmt.Sprintf("it was planned by rule %s, which is not in force any more", c.Rule)
	case !chose(rule, c):
		return fmt.Sprintf("it was planned in mode %s under %s; the rules in force say %s, %s", c.Mode, c.Policy, rule.Mode, rule.Policy)
	case c.RolloutEpoch == 0 && e.AuthoritySet && e.Authority == c.Side && !rule.WritesAuthority(e.Authority):
		return fmt.Sprintf("the %s store is the authority now", c.Side)
	}
	return ""
}
