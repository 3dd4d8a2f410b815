// Package typematrix lists PostgreSQL's types with the values at their edges,
// for tests that hold two ways of reading a row against each other: the
// stream, a baseline, a SELECT.
//
// It promises that every statement works on PostgreSQL 14 and later, and that
// a type which needs an extension or a newer server says so. Setup of a type
// comes after that of the types before it.
package typematrix

import (
	"fmt"
	"strings"
)

// Type is a type and its edges. Each has a table of its own, with the columns
// id, v and touched; v is of the type.
type Type struct {
	Name  string // of the type, as one writes it in a column's definition
	Slug  string // of its table and entity; "": the name
	Needs string // the extension that it comes with; "": none
	Since int    // the server's oldest version that has it; 0: every one
	// As is the canonical type that reads it, as in migration.yaml behind "type: ".
	As string
	// Text says that the type is one of texts: where As is text and this is not
	// set, the values are no texts, and nothing better reads them.
	Text bool
	// Setup makes what the type needs, once for a database.
	Setup []string
	// Values are SQL expressions.
	Values []string
	// Note says what somebody who maps such a column should know.
	Note string
}

// Table is the name of the type's table in schema public.
func (t *Type) Table() string {
	if t.Slug != "" {
		return "m_" + t.Slug
	}
	return "m_" + strings.NewReplacer(" ", "_", "(", "_", ")", "", ",", "_", "[", "_", "]", "", `"`, "").Replace(t.Name)
}

// Create is the statement that makes the table.
func (t *Type) Create() string {
	return fmt.Sprintf(`create table %s (id int primary key, v %s, touched int)`, t.Table(), t.Name)
}

// Insert is the statement that writes every value to a row of its own, from 1,
// and NULL to row 0.
func (t *Type) Insert() string {
	rows := []string{fmt.Sprintf("(0, null::%s)", t.Name)}
	for i, v := range t.Values {
		rows = append(rows, fmt.Sprintf("(%d, (%s)::%s)", i+1, v, t.Name))
	}
	return fmt.Sprintf("insert into %s (id, v) values %s", t.Table(), strings.Join(rows, ", "))
}

// Rotate is the statement that gives every row the value of the next one.
func (t *Type) Rotate() string {
	return fmt.Sprintf("update %[1]s a set v = b.v from %[1]s b where b.id = (a.id + 1) %% %[2]d", t.Table(), len(t.Values)+1)
}

// Touch is the statement that updates every row, and leaves its value alone.
func (t *Type) Touch() string { return fmt.Sprintf("update %s set touched = 1", t.Table()) }

// Delete is the statement that deletes every row.
func (t *Type) Delete() string { return "delete from " + t.Table() }

// Entity is the table as an entity of migration.yaml, on the legacy side.
func (t *Type) Entity() string {
	return fmt.Sprintf(`
  - name: %[1]s
    key: [id]
    legacy: {table: public.%[1]s}
    target: {table: shop.%[1]s}
    fields: {id: {type: integer}, v: {type: %[2]s}}
`, t.Table(), t.As)
}

// Of lists the types that a server of a version (15, 17) with these extensions
// has.
func Of(version int, extensions map[string]bool) (has []Type) {
	for _, t := range Types {
		if t.Since <= version && (t.Needs == "" || extensions[t.Needs]) {
			has = append(has, t)
		}
	}
	return has
}
