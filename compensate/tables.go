package compensate

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// Table is a table that compensations may write: an applier touches no other
// one, whatever a compensation says.
type Table struct {
	Entity  string
	Schema  string   // of the table; the database on MySQL and MariaDB
	Name    string   //
	Key     []string // the columns of the entity's key
	Columns []string // the mapped columns, those of the key included: all that may be written
	// Sensitive says that the store's own words about a row may not be repeated.
	Sensitive bool
}

// Tables is an allow-list.
type Tables []Table

// TablesOf are the tables of a side that the rules map, with the columns of their
// compared fields. Where an expression stands for a key field there is no key to
// write by, and every compensation of the table is refused.
func TablesOf(rules *schemas.Rules, side schemas.Side) Tables {
	var ts Tables
	for _, e := range rules.Entities() {
		name := e.Table(side)
		if name == (schemas.TableName{}) {
			continue
		}
		t := Table{Entity: e.Name, Schema: name.Schema, Name: name.Name, Sensitive: e.Sensitive()}
		whole := true
		for i := range e.Fields {
			f := &e.Fields[i]
			isKey := slices.Contains(e.KeyFields, f.Name)
			column, ok := f.Column(side)
			switch {
			case !ok:
				whole = whole && !isKey
				continue
			case isKey:
				t.Key = append(t.Key, column)
			case f.Ignore:
				continue
			}
			t.Columns = append(t.Columns, column)
		}
		if !whole {
			t.Key = nil
		}
		ts = append(ts, t)
	}
	return ts
}

// compensationID is what an id may be made of: it stands in a comment of a
// statement, where nothing can be bound.
var compensationID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// addend is what can be added to a counter.
var addend = regexp.MustCompile(`^-?[0-9]{1,65}(\.[0-9]{1,30})?$`)

// Find returns the table of that name.
func (ts Tables) Find(schema, name string) (Table, bool) {
	for _, t := range ts {
		if t.Schema == schema && t.Name == name {
			return t, true
		}
	}
	return Table{}, false
}

// Check says why c may not be written to a table of side, whoever made it; nil if
// it may. What it lets pass names only allowed tables and columns, states a whole
// precondition, and writes nothing that its key does not identify.
func (ts Tables) Check(side schemas.Side, c *schemas.Compensation) error {
	for _, row := range []schemas.Row{c.KeyColumns, c.Expect, c.Set, c.Add} {
		for _, col := range row {
			if col.Presence == schemas.Masked {
				return fmt.Errorf("column %q is hidden: its value is not in the log any more", col.Name)
			}
		}
	}
	return ts.CheckShown(side, c)
}

// CheckShown is Check for a compensation as it is published, which is shown and
// never written: of sensitive columns it has digests.
func (ts Tables) CheckShown(side schemas.Side, c *schemas.Compensation) error {
	t, ok := ts.Find(c.Schema, c.Table)
	switch {
	case !compensationID.MatchString(c.ID):
		return fmt.Errorf("compensation id %q: want 1 to 64 letters, digits, '_' and '-'", c.ID)
	case c.Side != side:
		return fmt.Errorf("it is for the %s store, this is the %s one", c.Side, side)
	case !ok || t.Entity != c.Entity:
		return fmt.Errorf("table %s.%s is not the %s table of entity %q", c.Schema, c.Table, side, c.Entity)
	}
	if err := t.checkRows(c); err != nil {
		return err
	}
	return t.checkKey(c)
}

// checkRows compares what c holds with what its statement needs.
func (t *Table) checkRows(c *schemas.Compensation) error {
	expect, set := len(c.Expect) > 0, len(c.Set)+len(c.Add) > 0
	var ok bool
	switch c.Statement {
	case schemas.InsertRow:
		ok = !expect && set && len(c.Add) == 0
	case schemas.UpdateRow:
		ok = expect && set
	case schemas.DeleteRow:
		ok = expect && !set
	default:
		return fmt.Errorf("statement %q: want insert, update or delete", c.Statement)
	}
	if !ok {
		return fmt.Errorf("a %s with %d columns expected and %d written", c.Statement, len(c.Expect), len(c.Set)+len(c.Add))
	}
	for _, row := range []struct {
		what string
		row  schemas.Row
	}{{"expected", c.Expect}, {"written", c.Set}, {"added to", c.Add}, {"key", c.KeyColumns}} {
		if err := checkRow(row.row); err != nil {
			return fmt.Errorf("%s row: %w", row.what, err)
		}
	}
	for _, col := range c.Add {
		_, expected := c.Expect.Get(col.Name)
		_, written := c.Set.Get(col.Name)
		switch {
		case expected || written:
			return fmt.Errorf("column %q is added to, and stands in another row as well", col.Name)
		case col.Presence != schemas.Value || !addend.MatchString(col.Text):
			return fmt.Errorf("what is to be added to column %q is no number", col.Name)
		}
	}
	for _, col := range slices.Concat(c.Set, c.Add) {
		switch {
		case !slices.Contains(t.Columns, col.Name):
			return fmt.Errorf("column %q of %s.%s is not mapped", col.Name, t.Schema, t.Name)
		case c.Statement == schemas.UpdateRow && slices.Contains(t.Key, col.Name):
			return fmt.Errorf("an update of the key column %q", col.Name)
		}
	}
	return nil
}

// checkRow allows columns whose value is known, each once.
func checkRow(row schemas.Row) error {
	seen := make(map[string]bool, len(row))
	for _, col := range row {
		switch {
		case col.Presence == schemas.Unavailable:
			return fmt.Errorf("column %q is not available", col.Name)
		case seen[col.Name]:
			return fmt.Errorf("column %q stands there twice", col.Name)
		}
		seen[col.Name] = true
	}
	return nil
}

// checkKey wants the key's columns, whole and not NULL, and the same in every row.
func (t *Table) checkKey(c *schemas.Compensation) error {
	if len(t.Key) == 0 || len(c.KeyColumns) != len(t.Key) {
		return fmt.Errorf("%d key columns, the key of %s.%s has %d", len(c.KeyColumns), t.Schema, t.Name, len(t.Key))
	}
	row := c.Expect
	if c.Statement == schemas.InsertRow {
		row = c.Set
	}
	for _, name := range t.Key {
		key, ok := c.KeyColumns.Get(name)
		if !ok || key.Presence != schemas.Value && key.Presence != schemas.Masked {
			return fmt.Errorf("key column %q has no value", name)
		}
		if col, ok := row.Get(name); !ok || col != key {
			return fmt.Errorf("key column %q is one in the key and another in the row", name)
		}
	}
	return nil
}
