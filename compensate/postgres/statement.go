package postgres

import (
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// statement is a statement under construction: text with places, and what is
// bound to them, in the text format.
type statement struct {
	text strings.Builder
	args [][]byte
}

// bind adds a value and returns its place, as of the named type.
func (s *statement) bind(value []byte, typ string) string {
	s.args = append(s.args, value)
	return fmt.Sprintf("$%d::%s", len(s.args), typ)
}

const textType = "pg_catalog.text"

// writeStatement makes the one statement that writes the row and the ledger's
// row, the second only if the first was one, and is an error if there were several:
// then the ledger's row would have no attempt, which it has to have. It returns how
// many rows were written.
func writeStatement(t *table, c *schemas.Compensation, attempt string, ledger [][]byte) (*statement, error) {
	s := new(statement)
	s.text.WriteString("WITH w AS (")
	var err error
	switch c.Statement {
	case schemas.InsertRow:
		err = s.insert(t, c.Set)
	case schemas.UpdateRow:
		err = s.update(t, c)
	case schemas.DeleteRow:
		fmt.Fprintf(&s.text, "DELETE FROM %s.%s AS t", quote(t.Schema), quote(t.Name))
		err = s.where(t, c)
	}
	if err != nil {
		return nil, err
	}
	s.text.WriteString(" RETURNING 1), n AS (SELECT pg_catalog.count(*) AS n FROM w), l AS (INSERT INTO trueup.ledger (")
	s.text.WriteString(strings.Join(ledgerColumns, ", "))
	s.text.WriteString(") SELECT ")
	for _, value := range ledger {
		s.text.WriteString(s.bind(value, textType) + ", ")
	}
	fmt.Fprintf(&s.text, "CASE WHEN n.n OPERATOR(pg_catalog.=) 1 THEN %s END FROM n WHERE n.n OPERATOR(pg_catalog.>) 0) SELECT n.n FROM n",
		s.bind([]byte(attempt), textType))
	return s, nil
}

// insert gives way to whatever stands where the row would; with deferrable
// constraints by an error.
func (s *statement) insert(t *table, set schemas.Row) error {
	var names, places []string
	for _, col := range set {
		known, err := t.column(col.Name)
		if err != nil {
			return err
		}
		if known.generated {
			continue
		}
		names = append(names, quote(col.Name))
		places = append(places, s.bind(text(col), known.typ))
	}
	fmt.Fprintf(&s.text, "INSERT INTO %s.%s (%s) OVERRIDING SYSTEM VALUE VALUES (%s)",
		quote(t.Schema), quote(t.Name), strings.Join(names, ", "), strings.Join(places, ", "))
	if !t.deferrable {
		s.text.WriteString(" ON CONFLICT DO NOTHING")
	}
	return nil
}

func (s *statement) update(t *table, c *schemas.Compensation) error {
	var set []string
	for _, col := range c.Set {
		known, err := t.column(col.Name)
		if err != nil {
			return err
		}
		if known.generated {
			continue
		}
		set = append(set, quote(col.Name)+" = "+s.bind(text(col), known.typ))
	}
	for _, col := range c.Add {
		known, err := t.column(col.Name)
		if err != nil {
			return err
		}
		name := quote(col.Name)
		set = append(set, fmt.Sprintf("%s = t.%s OPERATOR(pg_catalog.+) %s", name, name, s.bind(text(col), known.typ)))
	}
	if set == nil {
		return compensate.Refuse("only generated columns of %s.%s differ: what they are computed from has to change", t.Schema, t.Name)
	}
	fmt.Fprintf(&s.text, "UPDATE %s.%s AS t SET %s", quote(t.Schema), quote(t.Name), strings.Join(set, ", "))
	return s.where(t, c)
}

// where finds the row by its key's index, and lets it pass only if every column
// as judged still has the same text, byte by byte.
func (s *statement) where(t *table, c *schemas.Compensation) error {
	s.text.WriteString(" WHERE ")
	for i, key := range c.KeyColumns {
		known, err := t.column(key.Name)
		if err != nil {
			return err
		}
		if i > 0 {
			s.text.WriteString(" AND ")
		}
		fmt.Fprintf(&s.text, "t.%s %s %s", quote(key.Name), known.equal, s.bind(text(key), known.typ))
	}
	for _, col := range c.Add {
		fmt.Fprintf(&s.text, " AND t.%s IS DISTINCT FROM NULL", quote(col.Name))
	}
	for _, col := range c.Expect {
		known, err := t.column(col.Name)
		if err != nil {
			return err
		}
		name := "t." + quote(col.Name)
		switch {
		case known.generated: // follows from the others
		case col.Presence == schemas.Null:
			// Unlike IS NULL, not true of a row of NULLs.
			fmt.Fprintf(&s.text, " AND %s IS NOT DISTINCT FROM NULL", name)
		case known.object:
			fmt.Fprintf(&s.text, " AND %s::pg_catalog.oid OPERATOR(pg_catalog.=) (%s)::pg_catalog.oid", name, s.bind(text(col), known.typ))
		default:
			fmt.Fprintf(&s.text, ` AND %s IS DISTINCT FROM NULL AND pg_catalog.format('%%s', %s) COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) %s`,
				name, name, s.bind(text(col), textType))
		}
	}
	return nil
}

// column refuses what the table no longer has.
func (t *table) column(name string) (column, error) {
	known, ok := t.columns[name]
	if !ok {
		return column{}, errNoColumn{t.Schema + "." + t.Name, name}
	}
	return known, nil
}

// whole wants a deleted row to have been judged in every column.
func (t *table) whole(c *schemas.Compensation) error {
	for name, col := range t.columns {
		if _, ok := c.Expect.Get(name); !ok && !col.generated {
			return compensate.Refuse("column %q of %s.%s was not judged, and a delete would take it unseen: map it in migration.yaml, or delete the row by hand", name, t.Schema, t.Name)
		}
	}
	return nil
}

// text is what is bound for a column: nil for NULL.
func text(col schemas.Column) []byte {
	switch col.Presence {
	case schemas.Value:
		return []byte(col.Text)
	case schemas.Masked: // of what is only shown
		return []byte("masked:" + col.Text)
	}
	return nil
}
