package compensate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// policyUndo stands for a policy in a compensation that takes another one back.
const policyUndo = "undo"

// Invert returns the compensation that takes c back, or why there is none. Its
// precondition is the row as c left it, which its echo in the log shows: whoever
// has changed the row since keeps what he wrote.
//
// What c wrote gets the values that it had; what triggers did along with it is not
// taken back. A delete can be taken back only where every column of the row is
// mapped, because nothing else may be written.
func Invert(c *schemas.Compensation, echo *schemas.Change, t Table) (schemas.Compensation, error) {
	inverse := *c
	inverse.Undoes, inverse.Policy, inverse.Mode = c.ID, policyUndo, ModeApply
	inverse.Set, inverse.Add, inverse.Sources, inverse.ExpiresAt, inverse.Signature = nil, nil, nil, 0, ""
	inverse.DerivedOf = echo.EventID
	inverse.Expect = slices.Clone(echo.After)
	switch {
	case c.Undoes != "":
		return inverse, fmt.Errorf("compensation %s takes another one back: what is wrong now is for the next divergence", c.ID)
	case (c.Statement == schemas.DeleteRow) != (echo.After == nil):
		return inverse, fmt.Errorf("the change under the tag of %s is no %s: somebody else wrote it", c.ID, c.Statement)
	}
	for _, col := range echo.After {
		if col.Presence == schemas.Unavailable {
			return inverse, fmt.Errorf("the log does not carry column %q of the row that was written", col.Name)
		}
	}
	switch c.Statement {
	case schemas.InsertRow:
		inverse.Statement = schemas.DeleteRow
	case schemas.DeleteRow:
		inverse.Statement = schemas.InsertRow
		for _, col := range c.Expect {
			if !slices.Contains(t.Columns, col.Name) {
				return inverse, fmt.Errorf("column %q of %s.%s is not mapped: the row cannot be written again as it was", col.Name, t.Schema, t.Name)
			}
		}
		inverse.Set = slices.Clone(c.Expect)
	case schemas.UpdateRow:
		for _, col := range c.Set {
			old, ok := c.Expect.Get(col.Name)
			if !ok {
				return inverse, fmt.Errorf("what column %q was is not known", col.Name)
			}
			inverse.Set = append(inverse.Set, old)
		}
		for _, col := range c.Add {
			by, err := schemas.Negate(col.Text)
			if err != nil {
				return inverse, err
			}
			inverse.Add = append(inverse.Add, schemas.Column{Name: col.Name, Text: by})
			inverse.Expect = slices.DeleteFunc(inverse.Expect, func(e schemas.Column) bool { return e.Name == col.Name })
		}
	}
	inverse.ID = ID(&inverse)
	return inverse, nil
}

// undo makes the inverse of what a person wants back, and has it written. An
// error says why nothing comes of it.
func (r *Runner) undo(ctx context.Context, d *schemas.Decision) ([]schemas.Event, error) {
	c, err := r.find(ctx, d.CompensationID)
	if err != nil {
		return nil, err
	}
	a := r.cfg.Appliers[c.Side]
	if a == nil {
		return nil, fmt.Errorf("nothing is there to write the %s store", c.Side)
	}
	switch _, written, err := a.Ledger(ctx, c.ID); {
	case err != nil:
		return nil, err
	case !written:
		return nil, fmt.Errorf("compensation %s was never written", c.ID)
	}
	t, ok := TablesOf(r.cfg.Rules, c.Side).Find(c.Schema, c.Table)
	if !ok {
		return nil, fmt.Errorf("table %s.%s is not mapped any more", c.Schema, c.Table)
	}
	echo, place, err := r.cfg.Log.Echo(ctx, c)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for the echo of %s: %w", c.ID, err)
	case echo == nil:
		return nil, fmt.Errorf("the echo of %s is not in the log: it has not come yet, or the log no longer has it", c.ID)
	}
	bare, err := r.revealed(ctx, c)
	if err != nil {
		return nil, err
	}
	inverse, err := Invert(&bare, echo, t)
	if err != nil {
		return nil, err
	}
	inverse.CreatedAt = d.At
	if inverse.Rows != nil {
		inverse.Rows = append(slices.Clone(inverse.Rows), place)
	}
	return r.book.undo(inverse, d)
}

// errFound ends a search.
var errFound = errors.New("found")

// find reads a compensation back from its topic.
func (r *Runner) find(ctx context.Context, id string) (found *schemas.Compensation, err error) {
	from, to, err := r.cfg.Log.Bounds(ctx, Compensations)
	if err != nil {
		return nil, err
	}
	err = r.cfg.Log.Read(ctx, Compensations, from, to, func(rec Record) error {
		if rec.Event != nil && rec.Event.Compensation != nil && rec.Event.Compensation.ID == id && r.genuine(rec.Event.Compensation) == nil {
			found = rec.Event.Compensation
			return errFound
		}
		return nil
	})
	switch {
	case found != nil:
		return found, nil
	case err != nil:
		return nil, err
	}
	return nil, fmt.Errorf("the log has no compensation %s", id)
}

// undo takes the inverse of a compensation. The key is left alone from then on:
// what was taken back would be planned again at once.
func (b *book) undo(inverse schemas.Compensation, d *schemas.Decision) ([]schemas.Event, error) {
	key := keyOf(inverse.Entity, inverse.Key)
	said, err := hide(b.rules, &inverse)
	if err != nil {
		return nil, err
	}
	if result, done := b.final.get(inverse.ID); done {
		return nil, fmt.Errorf("compensation %s was to be taken back before: %s", inverse.Undoes, result)
	}
	var out []schemas.Event
	if en := b.live[key]; en != nil {
		if en.state != waiting && en.state != holding {
			return nil, fmt.Errorf("compensation %s of the same row is under way", en.c.ID)
		}
		b.drop(en)
		out = b.say(Conclude(&en.c, schemas.Superseded, "an earlier compensation of the row is taken back"))
	}
	out = append(out, b.trip(keyBreaker(breakerUndone, inverse.Entity, key), "%s took compensation %s back: %s", d.By, inverse.Undoes, d.Why)...)
	en := &entry{c: inverse, said: said, key: key}
	b.key.Sign(en.published())
	b.live[key], b.byID[inverse.ID] = en, en
	b.enqueue(en)
	o := Conclude(&en.c, schemas.Approved, d.Why)
	o.By, o.At = d.By, d.At
	return append(append(out, schemas.Event{Compensation: en.published()}), b.say(o)...), nil
}
