package compensate

import (
	"context"
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// What is sensitive stands in the changes topic alone. An event of a divergence
// has keyed digests in its place and says where the changes stand; they are read
// there before anything is planned. What is planned is published with digests
// again, and kept here as it will be written; after a restart it is read anew.
// So what is signed and approved is what hides what is written.

// reveal puts an event's rows back into it. What the log no longer has stays
// hidden, and no repair is planned from it.
func (r *Runner) reveal(ctx context.Context, d *schemas.Divergence) error {
	e, ok := r.cfg.Rules.Entity(d.Entity)
	if !ok || !e.Sensitive() || d.Stage == schemas.Closed {
		return nil
	}
	for _, v := range []*schemas.Evidence{d.Authority, d.Follower} {
		if v == nil || v.Place == nil || !masked(v.Row) {
			continue
		}
		c, err := r.cfg.Log.Change(ctx, *v.Place)
		if err != nil {
			return fmt.Errorf("read what divergence %s hides: %w", d.ID, err)
		}
		if c == nil || c.EventID != v.EventID || c.Side != v.Side || c.Entity != d.Entity ||
			!slices.Equal(r.cfg.Rules.HideKey(e, c.Key), d.Key) || !slices.Equal(r.cfg.Rules.HideRow(e, v.Side, c.After), v.Row) {
			continue
		}
		v.Row, v.Values = c.After, e.Values(v.Side, c.After)
	}
	return nil
}

// revealed returns a compensation of the topic as it is written; itself where the
// log no longer has what it hides: then no applier takes it.
func (r *Runner) revealed(ctx context.Context, said *schemas.Compensation) (schemas.Compensation, error) {
	e, ok := r.cfg.Rules.Entity(said.Entity)
	if !ok || !masked(said.KeyColumns, said.Expect, said.Set) {
		return *said, nil
	}
	texts := map[schemas.Column]string{} // by column with its digest
	for _, place := range said.Rows {
		change, err := r.cfg.Log.Change(ctx, place)
		if err != nil {
			return *said, fmt.Errorf("read what compensation %s hides: %w", said.ID, err)
		}
		if change == nil || change.Side != place.Side || change.Entity != said.Entity {
			continue
		}
		row := change.After
		if place.Side != said.Side {
			row = written(e, said.Side, e.Values(place.Side, row))
		}
		for i, col := range r.cfg.Rules.HideRow(e, said.Side, row) {
			texts[col] = row[i].Text
		}
	}
	c := *said
	for _, row := range []*schemas.Row{&c.KeyColumns, &c.Expect, &c.Set} {
		*row = slices.Clone(*row)
		for i, col := range *row {
			if col.Presence != schemas.Masked {
				continue
			}
			text, ok := texts[col]
			if !ok {
				return *said, nil
			}
			(*row)[i] = schemas.Column{Name: col.Name, Text: text}
		}
	}
	return c, nil
}

// written are the columns of a side that can hold canonical values of the other.
func written(e *schemas.Entity, side schemas.Side, values map[string]*string) (row schemas.Row) {
	for i := range e.Fields {
		if cols, err := e.ColumnsOf(side, values, []string{e.Fields[i].Name}); err == nil {
			row = append(row, cols...)
		}
	}
	return row
}

func masked(rows ...schemas.Row) bool {
	for _, row := range rows {
		if slices.ContainsFunc(row, func(c schemas.Column) bool { return c.Presence == schemas.Masked }) {
			return true
		}
	}
	return false
}

// hide returns what is published of c, nil for c itself, and gives c the id that
// the published form has.
func hide(rules *schemas.Rules, c *schemas.Compensation) (*schemas.Compensation, error) {
	e, ok := rules.Entity(c.Entity)
	if !ok || !e.Sensitive() {
		return nil, nil
	}
	said := *c
	for _, row := range []*schemas.Row{&said.KeyColumns, &said.Expect, &said.Set} {
		*row = rules.HideRow(e, c.Side, *row)
	}
	if masked(rules.HideRow(e, c.Side, c.Add)) {
		return nil, not("a sensitive field would be added to: what is added would say how it changes")
	}
	said.ID = ID(&said)
	c.ID = said.ID
	return &said, nil
}

// places are where the rows of a divergence stand that are hidden in its event.
func places(d *schemas.Divergence) (out []schemas.RowPlace) {
	for _, v := range []*schemas.Evidence{d.Authority, d.Follower} {
		if v != nil && v.Place != nil {
			out = append(out, *v.Place)
		}
	}
	return out
}

// Quiet says of what a store answered only its code: its words may quote the row.
func Quiet(code string, err error) error { return quiet{code, err} }

type quiet struct {
	code string
	err  error
}

func (q quiet) Error() string {
	return "the store refused it with " + q.code + "; its words are not repeated here, because the row has sensitive values: see the store's own log"
}

func (q quiet) Unwrap() error { return q.err }
