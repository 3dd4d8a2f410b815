package reconcile

import (
	"fmt"

	"github.com/trueup-io/trueup/schemas"
)

// Rows reads back the changes that verdicts point at.
type Rows interface {
	// Change returns the change at an offset of the partition, nil if the log no longer has it.
	Change(offset int64) (*schemas.Change, error)
}

// PlacedRows are rows of the changes topic itself, where a reader of the event
// can find them.
type PlacedRows interface {
	Rows
	Partition() int32
}

// Complete reads a verdict's evidence back from the log. A version that the
// log no longer has leaves its evidence nil, as if there had been none: a
// repair planned from it finds its condition unmet and writes nothing.
//
// What is sensitive is hidden behind the rules' mask; then the evidence says
// where the change stands, if the rows are placed.
func Complete(v *Verdict, rules *schemas.Rules, rows Rows) (schemas.Divergence, error) {
	d := v.Divergence
	e, ok := rules.Entity(d.Entity)
	if !ok {
		return d, fmt.Errorf("complete divergence %s: entity %q is not in rules %s", d.ID, d.Entity, rules.Version)
	}
	follower := d.Side.Other()
	var known []hidden
	for _, part := range []struct {
		ref  Ref
		to   **schemas.Evidence
		side schemas.Side
		full bool
	}{{v.Authority, &d.Authority, d.Side, true}, {v.Follower, &d.Follower, follower, true},
		{v.Cause, &d.Cause, 0, false}, {v.Closer, &d.ClosedBy, 0, false}} {
		if part.ref.Offset < 0 {
			continue
		}
		c, err := rows.Change(part.ref.Offset)
		if err != nil {
			return d, fmt.Errorf("complete divergence %s: read offset %d: %w", d.ID, part.ref.Offset, err)
		}
		if c == nil {
			continue
		}
		if d.Key == nil && c.Op != schemas.OpTruncate {
			d.Key = c.Key
		}
		*part.to = evidence(c, e, part.full)
		(*part.to).Unlogged = part.ref.Unlogged
		if e.Sensitive() {
			known = append(known, hidden{*part.to, c, part.ref.Offset, part.full})
		}
	}
	d.AuthorityAbsent = v.Authority.KnownAbsent
	var a, f map[string]*string
	if d.Authority != nil {
		a = d.Authority.Values
	}
	if d.Follower != nil {
		f = d.Follower.Values
	}
	d.Fields = e.Diff(a, f)
	if d.Stage == schemas.Closed {
		d.Fields = nil
	}
	d.FieldRules = e.FieldRules(rowOf(&d, schemas.Legacy), rowOf(&d, schemas.Target))
	for _, h := range known {
		h.hide(rules, e, rows)
	}
	d.ID, d.Key = rules.DivergenceID(d.Entity, d.ID), rules.HideKey(e, d.Key)
	return d, nil
}

// rowOf is the row of a side as the verdict rests on it, nil where it has none.
func rowOf(d *schemas.Divergence, side schemas.Side) schemas.Row {
	v := d.Follower
	if side == d.Side {
		v = d.Authority
	}
	if v == nil {
		return nil
	}
	return v.Row
}

// hidden is evidence of an entity with sensitive fields.
type hidden struct {
	evidence *schemas.Evidence
	change   *schemas.Change
	offset   int64
	latest   bool
}

func (h *hidden) hide(rules *schemas.Rules, e *schemas.Entity, rows Rows) {
	if placed, ok := rows.(PlacedRows); ok && h.latest && h.evidence.Row != nil {
		h.evidence.Place = &schemas.RowPlace{Side: h.evidence.Side, Partition: placed.Partition(), Offset: h.offset}
	}
	rules.HideEvidence(e, h.evidence, h.change)
}

func evidence(c *schemas.Change, e *schemas.Entity, full bool) *schemas.Evidence {
	v := &schemas.Evidence{EventID: c.EventID, Side: c.Side, Op: c.Op, Txn: c.Txn, CommitTS: c.CommitTS, Tag: c.Tag}
	if full && c.After != nil {
		v.Row = c.After
		v.Values = e.Values(c.Side, c.After)
	}
	return v
}
