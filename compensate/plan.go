package compensate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Policy says whose value is written.
type Policy string

const (
	AuthorityWins Policy = "authority_wins" // the follower gets the authority's values
	ReportOnly    Policy = "report_only"    // what authority_wins would write is said, and never written
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

// Plan returns the write that makes the follower's row equal to the authority's
// version that the divergence rests on, or a *NotPlannable. It is pure: the same
// event under the same policy gives the same write, with the same id.
//
// The precondition is the follower's whole row as judged. An update writes the
// columns of those fields alone that differ canonically: a value that is equal in
// another spelling is left as its store has it, an ignored field is never touched,
// and a column that nobody complained of cannot be harmed. An insert writes every
// compared field. A delete needs positive evidence: a delete, or a truncate, of the
// authority's that was read, or a covered range in which it never had the key.
//
// The values are read anew from the authority's row under the rules in force, so
// that evidence which they read otherwise is not acted upon (I26).
func Plan(d schemas.Divergence, e *schemas.Entity, p Policy) (schemas.Compensation, error) {
	if err := answerable(&d, e); err != nil {
		return schemas.Compensation{}, err
	}
	follower := d.Side.Other()
	c := schemas.Compensation{
		DivergenceID: d.ID,
		Sequence:     d.Sequence,
		Entity:       d.Entity,
		Key:          slices.Clone(d.Key),
		Side:         follower,
		Policy:       string(p),
		Mode:         e.Compensate.Mode,
		Schema:       e.Table(follower).Schema,
		Table:        e.Table(follower).Name,
		Rules:        d.Rules,
		CreatedAt:    d.At,
	}
	if d.Authority != nil {
		c.DerivedOf = d.Authority.EventID
	}
	if d.Authority != nil {
		c.DerivedOf = d.Authority.EventID
	}
	switch p {
	case AuthorityWins:
	case ReportOnly:
		c.Mode = ModeReport
	default:
		return schemas.Compensation{}, not("policy %q is not known: want %s or %s", p, AuthorityWins, ReportOnly)
	}
	if c.Table == "" {
		return schemas.Compensation{}, not("the rules name no %s table of %s", follower, e.Name)
	}
	if err := fill(&c, &d, e); err != nil {
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
	case e.AuthoritySet && d.Side != e.Authority:
		return not("it was judged with %s as the authority, which is %s now", d.Side, e.Authority)
	case d.Verdict == schemas.Unrepresentable:
		return not("one store cannot hold the other's value of %s", strings.Join(d.Fields, ", "))
	case d.Verdict == schemas.Schema:
		return not("the mapping cannot be applied to %s", strings.Join(d.Fields, ", "))
	case d.Authority == nil && d.AuthorityAbsent:
		if d.Follower == nil {
			return not("neither side has a row")
		}
		return sound(d.Follower, d.Side.Other())
	case d.Authority == nil && !d.AuthorityAbsent:
		return not("no version of the %s was ever read: that is no evidence of absence", d.Side)
	}
	if err := sound(d.Authority, d.Side); err != nil {
		return err
	}
	return sound(d.Follower, d.Side.Other())
}

// sound wants evidence to be of its side, and to have a row unless it says that
// there is none.
func sound(v *schemas.Evidence, side schemas.Side) error {
	if v == nil {
		return nil
	}
	absent := v.Op == schemas.OpDelete || v.Op == schemas.OpTruncate
	switch {
	case v.Side != side:
		return not("the evidence of the %s is of the %s", side, v.Side)
	case absent != (v.Row == nil):
		return not("the evidence of the %s says %s, with a row of %d columns", side, v.Op, len(v.Row))
	}
	return nil
}

// fill says what is written, and on what condition.
func fill(c *schemas.Compensation, d *schemas.Divergence, e *schemas.Entity) error {
	desired, err := values(d.Authority, d, e)
	if err != nil {
		return err
	}
	if rowOf(d.Follower) == nil {
		if desired == nil {
			return not("neither side has a row")
		}
		c.Statement = schemas.InsertRow
		if c.Set, err = e.Columns(c.Side, desired); err != nil {
			return not("%v", err)
		}
		return keyColumns(c, e, c.Set)
	}
	judged, err := values(d.Follower, d, e)
	if err != nil {
		return err
	}
	for _, col := range d.Follower.Row {
		if col.Presence == schemas.Unavailable {
			return not("the log does not carry column %s of the %s row: what it has to be is not known", col.Name, c.Side)
		}
	}
	c.Expect = slices.Clone(d.Follower.Row)
	if desired == nil {
		c.Statement = schemas.DeleteRow
		return keyColumns(c, e, c.Expect)
	}
	c.Statement = schemas.UpdateRow
	differ := e.Diff(desired, judged)
	if len(differ) == 0 {
		return not("the rules in force find no difference")
	}
	if c.Set, err = e.ColumnsOf(c.Side, desired, differ); err != nil {
		return not("%v", err)
	}
	return keyColumns(c, e, c.Expect)
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
	case !slices.Equal(key, d.Key):
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
