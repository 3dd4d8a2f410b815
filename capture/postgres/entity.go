package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// entityProblems says what is wrong between an entity's mapping and the table
// that it maps.
func entityProblems(t *table, p publication, e *schemas.Entity, side schemas.Side) (problems []*problem) {
	subject := "table " + t.String()
	bad := func(detail, remedy string) { problems = append(problems, &problem{subject, detail, remedy}) }
	columns := make(map[string]column, len(t.Columns))
	for _, c := range t.Columns {
		columns[c.Name] = c
	}
	if names := t.withoutFullRows(); e.DropSettled && len(names) > 0 {
		bad(fmt.Sprintf("entity %s keeps nothing of settled keys (retainSettled: false), and the log does not carry whole rows before changes of %s",
			e.Name, strings.Join(names, ", ")), fullSQL(names)+", or leave retainSettled out")
	}
	var key []string
	computed := false // some key field is an expression: nothing can be said of its columns here
	for i := range e.Fields {
		f := &e.Fields[i]
		inKey := slices.Contains(e.KeyFields, f.Name)
		missing := false
		for _, name := range f.Needs(side) {
			c, exists := columns[name]
			switch {
			case f.Ignore && !inKey:
			case !exists:
				bad(fmt.Sprintf("field %s of entity %s: there is no column %s", f.Name, e.Name, name), "correct the mapping, or add the column")
				missing = true
			case c.Generated == "v" || c.Generated != "" && p.Generated != "s":
				bad(fmt.Sprintf("field %s of entity %s: column %s is generated, and its values are not in the log", f.Name, e.Name, name),
					"map the columns that it is made of; from version 18 on a stored one can be published (publish_generated_columns = stored)")
			}
		}
		name, ok := f.Column(side)
		if !ok {
			computed = computed || inKey
			continue
		}
		if c := columns[name]; inKey && !missing {
			key = append(key, name)
			if !c.InIdentity {
				bad(fmt.Sprintf("key column %s is not part of the replica identity, so the log does not say which row an update or delete is of", name),
					fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL", t.quoted()))
			}
		}
	}
	if !computed && len(key) == len(e.KeyFields) && !t.unique(key) {
		bad(fmt.Sprintf("nothing keeps two rows from having the same %s, the key of entity %s", strings.Join(key, ", "), e.Name),
			fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (%s), or choose another key", t.quoted(), identifiers(key)))
	}
	return problems
}

// withoutFullRows lists the tables, it or its partitions, whose replica identity
// leaves columns of rows before changes out.
func (t *table) withoutFullRows() []string {
	if t.Kind == "p" {
		return t.leavesThat(func(l leaf) bool { return l.Identity != "f" })
	}
	if t.Identity != "f" {
		return []string{t.quoted()}
	}
	return nil
}

// unique says whether some unique index has no column besides these.
func (t *table) unique(columns []string) bool {
	for _, index := range t.Unique {
		if len(index) > 0 && !slices.ContainsFunc(index, func(c string) bool { return !slices.Contains(columns, c) }) {
			return true
		}
	}
	return false
}

func identifiers(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = identifier(n)
	}
	return strings.Join(quoted, ", ")
}
