package compensate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Modes of an entity's compensations.
const (
	ModeReport  = "report"  // nothing is written
	ModePropose = "propose" // a person approves each
	ModeApply   = "apply"
)

// NotPlannable says why a divergence has no compensation. It is an answer, not a
// failure: the outcome is Refused.
type NotPlannable struct{ Reason string }

func (e *NotPlannable) Error() string { return "not plannable: " + e.Reason }

func not(format string, args ...any) error {
	return &NotPlannable{Reason: fmt.Sprintf(format, args...)}
}

// Plan returns the write that the rule has for a divergence, or a *NotPlannable.
// It is pure: the same event under the same rule gives the same write, with the
// same id. The stage is the migration's.
//
// The precondition is the written side's whole row as judged. An update writes the
// columns of those fields alone that differ canonically: a value that is equal in
// another spelling is left as its store has it, an ignored field is never touched,
// and a column that nobody complained of cannot be harmed. An insert writes every
// compared field. A delete needs positive evidence that the other side has no row:
// a delete, or a truncate, that was read, or a covered range in which it never had
// the key.
//
// Where both sides have had authority over what differs, a rule's apply is a propose.
//
// The values are read anew from the rows under the rules in force, so that
// evidence which they read otherwise is not acted upon (I26).
func Plan(d schemas.Divergence, e *schemas.Entity, r *schemas.CompensateRule, stage string) (schemas.Compensation, error) {
	if err := answerable(&d, e); err != nil {
		return schemas.Compensation{}, err
	}
	p, err := newPair(&d, e)
	if err != nil {
		return schemas.Compensation{}, err
	}
	w, err := p.decide(r, stage)
	if err != nil {
		return schemas.Compensation{}, err
	}
	c := schemas.Compensation{
		DivergenceID: d.ID,
		Sequence:     d.Sequence,
		Entity:       d.Entity,
		Key:          slices.Clone(d.Key),
		Side:         w.side,
		Policy:       r.Policy,
		Rule:         r.Version,
		Mode:         r.Mode,
		Schema:       e.Table(w.side).Schema,
		Table:        e.Table(w.side).Name,
		Sources:      w.sources,
		Rules:        d.Rules,
		CreatedAt:    d.At,
		Rows:         places(&d),
	}
	if d.RolloutEpoch != 0 {
		c.Authority, c.RolloutEpoch = d.Side, d.RolloutEpoch
	}
	if of := p.of(w.side.Other()); of != nil {
		c.DerivedOf = of.EventID
	}
	switch {
	case w.reportOnly:
		c.Mode = ModeReport
	case c.Mode == ModeApply && unsure(&d):
		c.Mode = ModePropose
	}
	if c.Table == "" {
		return schemas.Compensation{}, not("the rules name no %s table of %s", w.side, e.Name)
	}
	if c.Mode != ModeReport && r.Expire > 0 {
		c.ExpiresAt = d.At + schemas.Micros(r.Expire.Microseconds())
	}
	if err := p.fill(&c, &w); err != nil {
		return schemas.Compensation{}, err
	}
	c.ID = ID(&c)
	return c, nil
}

// answerable says why nothing can be written for a divergence, whatever its rows
// hold.
func answerable(d *schemas.Divergence, e *schemas.Entity) error {
	switch {
	case d.Entity != e.Name:
		return not("it is of entity %q, the rules given are of %q", d.Entity, e.Name)
	case d.Stage == schemas.Closed:
		return not("it is closed")
	case d.Side != schemas.Legacy && d.Side != schemas.Target:
		return not("it names no authority")
	case d.RolloutEpoch == 0 && e.AuthoritySet && d.Side != e.Authority:
		return not("it was judged with %s as the authority, which is %s now", d.Side, e.Authority)
	case d.Verdict == schemas.Unrepresentable:
		return not("one store cannot hold the other's value of %s", strings.Join(d.Fields, ", "))
	case d.Verdict == schemas.Schema:
		return not("the mapping cannot be applied to %s", strings.Join(d.Fields, ", "))
	case d.Authority == nil && d.AuthorityAbsent && d.Follower == nil:
		return not("neither side has a row")
	case d.Authority == nil && !d.AuthorityAbsent:
		return not("no version of the %s was ever read: that is no evidence of absence", d.Side)
	}
	if err := sound(d.Authority, d.Side); err != nil {
		return err
	}
	return sound(d.Follower, d.Side.Other())
}

// unsure says that which side is right only a person can say: two sides ruled the key.
func unsure(d *schemas.Divergence) bool { return d.HandedOver || d.Verdict == schemas.SplitBrain }

// sound wants evidence to be of its side, and to have a row unless it says that
// there is none.
func sound(v *schemas.Evidence, side schemas.Side) error {
	if v == nil {
		return nil
	}
	absent := v.Op == schemas.OpDelete || v.Op == schemas.OpTruncate
	switch {
	case masked(v.Row):
		return not("the values of the %s row that are hidden here are not in the log any more", side)
	case v.Side != side:
		return not("the evidence of the %s is of the %s", side, v.Side)
	case absent != (v.Row == nil):
		return not("the evidence of the %s says %s, with a row of %d columns", side, v.Op, len(v.Row))
	}
	return nil
}

// fill says what is written, and on what condition.
func (p *pair) fill(c *schemas.Compensation, w *writing) (err error) {
	written, other := p.of(w.side), w.side.Other()
	desired := p.values[other]
	if rowOf(written) == nil {
		switch {
		case desired == nil:
			return not("neither side has a row")
		case w.side == p.d.Side && written != nil:
			return not("the %s deleted the row: writing it again would bring back what was deleted on purpose", w.side)
		}
		c.Statement = schemas.InsertRow
		if c.Set, err = p.e.Columns(c.Side, desired); err != nil {
			return not("%v", err)
		}
		return keyColumns(c, p.e, c.Set)
	}
	for _, col := range written.Row {
		if col.Presence == schemas.Unavailable {
			return not("the log does not carry column %s of the %s row: what it has to be is not known", col.Name, c.Side)
		}
	}
	c.Expect = slices.Clone(written.Row)
	if desired == nil {
		if other != p.d.Side && p.of(other) == nil {
			return not("no delete of the %s was ever read: that is no evidence of absence", other)
		}
		c.Statement = schemas.DeleteRow
		return keyColumns(c, p.e, c.Expect)
	}
	c.Statement = schemas.UpdateRow
	fields := w.fields
	if fields == nil {
		fields = p.differ
	}
	if len(fields)+len(w.add) == 0 {
		return not("the rules in force find no difference")
	}
	// Nothing can be added to NULL, though it stands for a number: it gets the value, on the condition that it still is NULL.
	maps.DeleteFunc(w.add, func(name, _ string) bool {
		col, ok := p.e.StoreColumn(w.side, written.Row, name)
		return ok && col.Presence == schemas.Null
	})
	if err := keyColumns(c, p.e, c.Expect); err != nil {
		return err
	}
	fields = slices.DeleteFunc(slices.Clone(fields), func(name string) bool { return w.add[name] != "" })
	if len(fields) > 0 {
		if c.Set, err = p.e.ColumnsOf(c.Side, desired, fields); err != nil {
			return not("%v", err)
		}
	}
	return p.count(c, w.add)
}

// count takes the columns of counters out of the precondition, and says what is
// added to them.
func (p *pair) count(c *schemas.Compensation, add map[string]string) error {
	for i := range p.e.Fields {
		f := &p.e.Fields[i]
		by, ok := add[f.Name]
		if !ok {
			continue
		}
		column, plain := f.Column(c.Side)
		switch {
		case f.Absent(c.Side):
			return not("field %s has no column on the %s side, so nothing can be added to it", f.Name, c.Side)
		case !plain:
			return not("field %s is an expression on the %s side, which cannot be written to", f.Name, c.Side)
		}
		c.Add = append(c.Add, schemas.Column{Name: column, Text: by})
		c.Expect = slices.DeleteFunc(c.Expect, func(col schemas.Column) bool { return col.Name == column })
	}
	return nil
}

// values are the canonical values of a version, nil where it is absent. Every
// compared field has to be known, and the key to be the divergence's.
func values(v *schemas.Evidence, d *schemas.Divergence, e *schemas.Entity) (map[string]*string, error) {
	if v == nil || v.Row == nil {
		return nil, nil
	}
	image := e.Image(v.Side, v.Row)
	for _, problem := range []struct {
		what   string
		fields []string
	}{
		{"the log does not carry", image.Unavailable},
		{"the other store cannot hold", image.Unrepresentable},
		{"the mapping cannot be applied to", image.Schema},
	} {
		if len(problem.fields) > 0 {
			return nil, not("%s field %s of the %s row", problem.what, strings.Join(problem.fields, ", "), v.Side)
		}
	}
	key, err := e.Key(v.Side, v.Row)
	switch {
	case err != nil:
		return nil, not("%v", err)
	case !e.SameKey(key, d.Key):
		return nil, not("the %s row has another key", v.Side)
	}
	read := e.Values(v.Side, v.Row)
	if v.Values != nil && !maps.EqualFunc(read, v.Values, equalText) {
		return nil, not("the rules in force read the %s row otherwise than %s did", v.Side, d.Rules)
	}
	return read, nil
}

func rowOf(v *schemas.Evidence) schemas.Row {
	if v == nil {
		return nil
	}
	return v.Row
}

func equalText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// keyColumns takes the key's columns from a row of the follower.
func keyColumns(c *schemas.Compensation, e *schemas.Entity, row schemas.Row) error {
	for i := range e.Fields {
		f := &e.Fields[i]
		if !slices.Contains(e.KeyFields, f.Name) {
			continue
		}
		name, ok := f.Column(c.Side)
		if !ok {
			return not("key field %s is an expression on the %s side", f.Name, c.Side)
		}
		col, ok := row.Get(name)
		if !ok || col.Presence != schemas.Value {
			return not("the %s row has no value of key column %s", c.Side, name)
		}
		c.KeyColumns = append(c.KeyColumns, col)
	}
	return nil
}

// Refusal is the outcome of a divergence event that Plan found no compensation
// for. Its time is the event's, so that it is the same whenever it is made.
func Refusal(d *schemas.Divergence, reason string) schemas.Outcome {
	return schemas.Outcome{
		CompensationID: RefusalID(d),
		DivergenceID:   d.ID,
		Entity:         d.Entity,
		Key:            d.Key,
		Result:         schemas.Refused,
		Detail:         reason,
		At:             d.At,
	}
}
