package story

import (
	"slices"
	"strings"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
)

// Equal is a field of a divergence that was closed whose two stores hold different
// things, and why they are the same for all that.
type Equal struct {
	Field          string
	Legacy, Target schemas.Column
	By             []string // the rules that applied; none: the field's type
	Type           string
}

// equals finds what the closing event calls equal and the stores' texts do not.
// Nothing is said of sensitive fields.
func (s *Story) equals(e *schemas.Entity) (out []Equal) {
	d := &s.Events[len(s.Events)-1].Divergence
	if d.Stage != schemas.Closed || d.Authority == nil || d.Follower == nil {
		return nil
	}
	legacy, target := d.Authority.Row, d.Follower.Row
	if d.Side == schemas.Target {
		legacy, target = target, legacy
	}
	if legacy == nil || target == nil {
		return nil
	}
	for i := range e.Fields {
		f := &e.Fields[i]
		if f.Ignore || f.Sensitive {
			continue
		}
		a := columnOf(e, schemas.Legacy, legacy, f.Name)
		b := columnOf(e, schemas.Target, target, f.Name)
		if a.Text == b.Text && a.Presence == b.Presence {
			continue
		}
		same := Equal{Field: f.Name, Legacy: a, Target: b, Type: f.Type}
		if rule := schemas.RuleOf(d.FieldRules, f.Name); rule != nil {
			same.By = rule.Applied
		}
		out = append(out, same)
	}
	return out
}

// columnOf is what a store holds; one that is not known where there is no column.
func columnOf(e *schemas.Entity, side schemas.Side, row schemas.Row, field string) schemas.Column {
	if c, ok := e.StoreColumn(side, row, field); ok {
		return c
	}
	return schemas.Column{Presence: schemas.Unavailable}
}

// by says what makes the two equal.
func (q *Equal) by() string {
	if len(q.By) == 0 {
		return "its type, " + inert.Text(q.Type)
	}
	return inert.Text(strings.Join(q.By, ", "))
}

// held says what a store holds.
func held(c schemas.Column, limit int) string {
	if c.Name == "" {
		return "(no column)"
	}
	return columnText(c, true, limit)
}

// comparedBy lists the fields that are not compared by their type alone, those
// that differ first, and by what.
func (s *Story) comparedBy() (out [][2]string) {
	d := &s.Divergence
	for _, differ := range []bool{true, false} {
		for i := range d.FieldRules {
			if r := &d.FieldRules[i]; slices.Contains(d.Fields, r.Field) == differ {
				text := r.String()
				if differ {
					text += "; differs"
				}
				out = append(out, [2]string{inert.Text(r.Field), inert.Text(text)})
			}
		}
	}
	return out
}
