package schemas

import (
	"fmt"
	"strings"
)

// Values returns the canonical texts of a row's fields, ignored ones included;
// nil for NULL, a nil map for an absent row. A field that the log does not
// carry, and one that the mapping cannot be applied to, is not in it.
//
// A text stands as the store has it, also where its collation sees fewer
// differences.
func (e *Entity) Values(side Side, row Row) map[string]*string {
	if row == nil {
		return nil
	}
	values := make(map[string]*string, len(e.Fields))
	c := rowCursor{row: row}
	for i := range e.Fields {
		f := &e.Fields[i]
		r := f.read(side, &c)
		switch {
		case r.missing || r.presence == Unavailable || r.problem != nil:
		case r.presence == Null:
			values[f.Name] = nil
		default:
			if b, _, err := f.canonical.canon(nil, r.text); err == nil {
				text := string(b)
				values[f.Name] = &text
			}
		}
	}
	return values
}

// Diff returns the compared fields that differ, in the entity's order: all of
// them where one of the rows is absent. A field that is in neither map is not
// known to be equal, so it differs.
func (e *Entity) Diff(a, b map[string]*string) []string {
	if a == nil && b == nil {
		return nil
	}
	var differ []string
	for i := range e.Fields {
		f := &e.Fields[i]
		if f.Ignore {
			continue
		}
		x, inA := a[f.Name]
		y, inB := b[f.Name]
		if !inA || !inB || !f.equal(x, y) {
			differ = append(differ, f.Name)
		}
	}
	return differ
}

// equal compares two canonical texts of the field; nil is NULL.
func (f *Field) equal(a, b *string) bool {
	switch {
	case a == nil || b == nil:
		return a == b
	case *a == *b:
		return true
	case f.tolerance != nil:
		x, errA := floatOf(*a)
		y, errB := floatOf(*b)
		return errA == nil && errB == nil && f.tolerance.equal(x, y)
	case f.fold != nil:
		return f.fold.fold(*a) == f.fold.fold(*b)
	}
	return false
}

// Problems says for each field of a row that the mapping cannot be applied to
// why not, in the entity's order. It quotes no value.
func (e *Entity) Problems(side Side, row Row) []string {
	var problems []string
	c := rowCursor{row: row}
	for i := range e.Fields {
		f := &e.Fields[i]
		if f.Ignore {
			continue
		}
		if err := f.problem(side, f.read(side, &c)); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", f.Name, err))
		}
	}
	return problems
}

func (f *Field) problem(side Side, r reading) error {
	switch {
	case r.missing:
		return fmt.Errorf("the row has no column %s", strings.Join(f.sources[side].columns(), ", or no column "))
	case r.problem != nil:
		return r.problem
	case r.presence != Value:
		return nil
	}
	_, _, err := f.canonical.canon(nil, r.text)
	return err
}

// columns lists the columns that a source needs.
func (s *source) columns() []string {
	switch {
	case s.expr != nil:
		return s.expr.columns
	case s.nulls.absent:
		return nil
	}
	return []string{s.column}
}

// Columns returns what to write into a side's columns so that its row has the
// given canonical values: the texts of its store, in the entity's order.
// Ignored fields are left out, and those that have no column there and their default
// as their value. A value is written as it is compared: a timestamp at its declared
// precision. It is an error if a field has no value, or one that is not canonical, that
// the store cannot hold, that an expression stands for, or that nothing there, or
// more than one thing, stands for.
func (e *Entity) Columns(side Side, values map[string]*string) (Row, error) {
	for name := range values {
		if e.field(name) == nil {
			return nil, fmt.Errorf("write %s on %s: it has no field %q", e.Name, side, name)
		}
	}
	row := make(Row, 0, len(e.Fields))
	for i := range e.Fields {
		f := &e.Fields[i]
		if f.Ignore {
			continue
		}
		column, there, err := f.write(side, e.drivers[side], values)
		if err != nil {
			return nil, fmt.Errorf("write %s on %s: field %s: %w", e.Name, side, f.Name, err)
		}
		if there {
			row = append(row, column)
		}
	}
	return row, nil
}

// write returns the column that holds the field's value on a side; false where
// there is none, and none is needed.
func (f *Field) write(side Side, d Driver, values map[string]*string) (Column, bool, error) {
	s := &f.sources[side]
	value, ok := values[f.Name]
	switch {
	case s.expr != nil:
		return Column{}, false, fmt.Errorf("it is an expression there, which cannot be written to")
	case !ok:
		return Column{}, false, fmt.Errorf("its value is not known")
	case s.nulls.absent && f.equal(value, s.nulls.fallback):
		return Column{}, false, nil
	case s.nulls.absent:
		return Column{}, false, fmt.Errorf("it has no column there, and its value is not the default")
	case value == nil:
		column, err := s.nulls.write(s.column)
		return column, true, err
	}
	b, limit, err := f.canonical.canon(nil, *value)
	switch text := string(b); {
	case err != nil:
		return Column{}, false, err
	case limit != 0 && limit.beyond(d):
		return Column{}, false, fmt.Errorf("%s cannot hold its value", nameOf(d))
	case s.nulls.emptyIsNull && f.empty(text):
		return Column{}, false, fmt.Errorf("an empty text stands for NULL there, so nothing stands for an empty text")
	case s.values != nil:
		column, err := s.writeMapped(text)
		return column, true, err
	default:
		return Column{Name: s.column, Text: string(f.canonical.write(nil, text, d))}, true, nil
	}
}

func nameOf(d Driver) string {
	if d == "" {
		return "a store that is not known"
	}
	return string(d)
}
