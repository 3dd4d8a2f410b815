package schemas

import "slices"

// The ways in which a field's value is made of a side's columns.
const (
	AdapterColumn     = "column"     // a column, as it is
	AdapterValues     = "map"        // a column whose values stand for others
	AdapterExpression = "expression" // computed; it is compared, and cannot be written
	AdapterAbsent     = "absent"     // no column: every row has the default
)

// Adapter says how the field's value is made of a side's columns.
func (f *Field) Adapter(side Side) string {
	switch s := &f.sources[side]; {
	case s.expr != nil:
		return AdapterExpression
	case s.nulls.absent:
		return AdapterAbsent
	case s.values != nil:
		return AdapterValues
	}
	return AdapterColumn
}

// Means is what a side's text stands for by the field's map; itself where there is none. It is
// false where the map does not have it.
func (f *Field) Means(side Side, text string) (string, bool) {
	m := f.sources[side].values
	if m == nil {
		return text, true
	}
	member, ok := m[text]
	return member, ok
}

// NullMeans is the value that a side's NULL, or a column that it does not have, stands for. It is
// false where NULL is NULL.
func (f *Field) NullMeans(side Side) (string, bool) {
	if n := f.sources[side].nulls.fallback; n != nil {
		return *n, true
	}
	return "", false
}

// EmptyIsNull says whether a side's empty text is NULL.
func (f *Field) EmptyIsNull(side Side) bool { return f.sources[side].nulls.emptyIsNull }

// WritesNull says whether NULL is written to a side as NULL, and not as an empty text.
func (f *Field) WritesNull(side Side) bool { return f.sources[side].nulls.writeNull != writeNullEmpty }

// Members lists what the values of a side's map stand for; nil where there is none.
func (f *Field) Members(side Side) (out []string) {
	for _, member := range f.sources[side].values {
		out = append(out, member)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// CanHold says whether a store has a place for the value that a text has in the field's type. A
// text that is no value of the type is held by none.
func (f *Field) CanHold(d Driver, text string) bool {
	_, limit, err := f.canonical.canon(nil, text)
	return err == nil && (limit == 0 || !limit.beyond(d))
}

// Driver is the kind of a side's store; empty where the rules do not know it.
func (e *Entity) Driver(side Side) Driver { return e.drivers[side] }

// TableShape is a table as its store's catalog has it.
type TableShape struct {
	Table   TableName     `json:"table"`
	Columns []ColumnShape `json:"columns"` // in the table's order
}

// ColumnShape is a column of it.
type ColumnShape struct {
	Name     string `json:"name"`
	Type     string `json:"type"` // as the store writes it, with its bounds: numeric(20,4), varchar(10)
	Nullable bool   `json:"nullable,omitempty"`
	// Default says that the store fills it where a write does not: a default, a sequence, or computed from other columns.
	Default   bool `json:"default,omitempty"`
	Generated bool `json:"generated,omitempty"` // computed: a write must not fill it
}

// Column returns the named column; nil: there is none.
func (t *TableShape) Column(name string) *ColumnShape {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}
