package mysql

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// statement is a statement and what is bound to its places.
type statement struct {
	text strings.Builder
	args []any
}

// writeStatement makes the statement that writes the row, with its precondition.
func writeStatement(t *table, c *schemas.Compensation) (*statement, error) {
	s := new(statement)
	s.text.WriteString("/* a repair by Trueup */ ") // for who reads the binlog; the same for all, so that it stays prepared
	name := quote(t.Schema) + "." + quote(t.Name)
	switch c.Statement {
	case schemas.InsertRow:
		names, places, err := s.values(t, c.Set)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&s.text, "INSERT INTO %s (%s) VALUES (%s)", name, strings.Join(names, ", "), strings.Join(places, ", "))
		return s, nil
	case schemas.UpdateRow:
		names, places, err := s.values(t, c.Set)
		if err != nil {
			return nil, err
		}
		for _, col := range c.Add {
			if known, err := t.column(col.Name); err != nil {
				return nil, err
			} else if known.generated {
				return nil, compensate.Refuse("column %q is computed from others: nothing can be added to it", col.Name)
			}
			// As a decimal: a text would make the sum a double.
			_, fraction, _ := strings.Cut(col.Text, ".")
			names = append(names, quote(col.Name))
			places = append(places, fmt.Sprintf("%s + CAST(? AS DECIMAL(65,%d))", quote(col.Name), len(fraction)))
			s.args = append(s.args, col.Text)
		}
		if names == nil {
			return nil, compensate.Refuse("only generated columns of %s.%s differ: what they are computed from has to change", t.Schema, t.Name)
		}
		for i := range names {
			names[i] += " = " + places[i]
		}
		names = append(names, t.kept(c)...)
		fmt.Fprintf(&s.text, "UPDATE %s SET %s", name, strings.Join(names, ", "))
	case schemas.DeleteRow:
		fmt.Fprintf(&s.text, "DELETE FROM %s", name)
	}
	return s, s.where(t, c)
}

// kept keeps columns that the store would write along, so that a repair changes
// what it says and nothing else.
func (t *table) kept(c *schemas.Compensation) (assignments []string) {
	for _, name := range slices.Sorted(maps.Keys(t.columns)) {
		if _, written := c.Set.Get(name); t.columns[name].touched && !written {
			assignments = append(assignments, quote(name)+" = "+quote(name))
		}
	}
	return assignments
}

// values binds the columns that can be written.
func (s *statement) values(t *table, set schemas.Row) (names, places []string, err error) {
	for _, col := range set {
		known, err := t.column(col.Name)
		if err != nil {
			return nil, nil, err
		}
		if known.generated {
			continue
		}
		place, arg, err := known.place(col.Name, col)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, quote(col.Name))
		places = append(places, place)
		s.args = append(s.args, arg)
	}
	return names, places, nil
}

// where finds the row by its key's index, and lets it pass only if every column
// as judged is still the same.
func (s *statement) where(t *table, c *schemas.Compensation) error {
	var conditions []string
	for _, key := range c.KeyColumns {
		known, err := t.column(key.Name)
		if err != nil {
			return err
		}
		if known.family == floating {
			continue // 0.1 = '0.1' is not true of a FLOAT
		}
		place, arg, err := known.place(key.Name, key)
		if err != nil {
			return err
		}
		conditions = append(conditions, quote(key.Name)+" = "+place)
		s.args = append(s.args, arg)
	}
	for _, col := range c.Add {
		conditions = append(conditions, quote(col.Name)+" IS NOT NULL")
	}
	for _, col := range c.Expect {
		known, err := t.column(col.Name)
		if err != nil {
			return err
		}
		if known.generated {
			continue // follows from the others
		}
		condition, args, err := known.same(col)
		if err != nil {
			return err
		}
		conditions = append(conditions, condition)
		s.args = append(s.args, args...)
	}
	s.text.WriteString(" WHERE " + strings.Join(conditions, " AND "))
	return nil
}
