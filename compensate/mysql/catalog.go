package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// table is what the server says of an allowed table.
type table struct {
	compensate.Table
	columns map[string]column
	uniques map[string][]string // by index: its columns
}

// querier is a connection, a pool, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// describe asks the server for a table. What makes it unfit for compensations is
// a refusal.
func describe(ctx context.Context, q querier, allowed compensate.Table) (*table, error) {
	t := &table{Table: allowed, columns: make(map[string]column), uniques: make(map[string][]string)}
	for _, ask := range []func(context.Context, querier) error{t.askTable, t.askColumns, t.askIndexes} {
		if err := ask(ctx, q); err != nil {
			return nil, err
		}
	}
	return t, t.fit()
}

// writable says which rights are missing, with the statement that grants them. To
// have a statement explained takes the rights that running it would take.
func (t *table) writable(ctx context.Context, q querier, user string) error {
	name, key := quote(t.Schema)+"."+quote(t.Name), quote(t.Key[0])
	var missing []string
	for _, ask := range []struct{ right, sql string }{
		{"SELECT", "SELECT 1 FROM " + name + " LIMIT 0"},
		{"INSERT", "EXPLAIN INSERT INTO " + name + " () VALUES ()"},
		{"UPDATE", "EXPLAIN UPDATE " + name + " SET " + key + " = " + key + " WHERE FALSE"},
		{"DELETE", "EXPLAIN DELETE FROM " + name + " WHERE FALSE"},
	} {
		err := each(ctx, q, ask.sql, nil, func([]string) error { return nil })
		switch n := number(err); {
		case n == tableDenied || n == columnDenied:
			missing = append(missing, ask.right)
		case err != nil:
			return fmt.Errorf("ask for rights: %w", err)
		}
	}
	if missing == nil {
		return nil
	}
	return errors.New("rights are missing; run: GRANT " + strings.Join(missing, ", ") + " ON " + name + " TO " + user)
}

// askTable wants a table that can roll back.
func (t *table) askTable(ctx context.Context, q querier) error {
	found := false
	err := each(ctx, q, `SELECT t.table_type, COALESCE(t.engine, ''), COALESCE(e.transactions, '')
		FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine
		WHERE t.table_schema = ? AND t.table_name = ?`, []any{t.Schema, t.Name}, func(r []string) error {
		found = true
		switch {
		case r[0] == "VIEW" || r[0] == "SEQUENCE" || r[0] == "SYSTEM VIEW":
			return compensate.Refuse("%s.%s is not a table", t.Schema, t.Name)
		case r[2] != "YES":
			return compensate.Refuse("%s.%s has the engine %s, which cannot roll back: a write could not be made at most once; use InnoDB", t.Schema, t.Name, r[1])
		}
		return nil
	})
	if err == nil && !found {
		err = compensate.Refuse("there is no table %s.%s that this user may see", t.Schema, t.Name)
	}
	return err
}

func (t *table) askColumns(ctx context.Context, q querier) error {
	return each(ctx, q, `SELECT column_name, data_type, character_set_name IS NOT NULL, extra, COALESCE(character_octet_length, 0)
		FROM information_schema.columns WHERE table_schema = ? AND table_name = ?`, []any{t.Schema, t.Name}, func(r []string) error {
		extra := strings.ToUpper(r[3]) // MySQL's DEFAULT_GENERATED is another matter
		generated := strings.Contains(extra, "VIRTUAL") || strings.Contains(extra, "STORED") || strings.Contains(extra, "PERSISTENT")
		t.columns[r[0]] = column{family: familyOf(r[1], r[2] == "1"), generated: generated, touched: strings.Contains(extra, "ON UPDATE"), uuid: r[4] == "16"}
		return nil
	})
}

func (t *table) askIndexes(ctx context.Context, q querier) error {
	return each(ctx, q, `SELECT index_name, COALESCE(column_name, ''), COALESCE(sub_part, '')
		FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND non_unique = 0`, []any{t.Schema, t.Name}, func(r []string) error {
		t.uniques[r[0]] = append(t.uniques[r[0]], r[1])
		return nil
	})
}

// fit wants the allowed columns to be there and the key to name one row.
func (t *table) fit() error {
	for _, name := range t.Columns {
		if _, ok := t.columns[name]; !ok {
			return compensate.Refuse("table %s.%s has no column %q", t.Schema, t.Name, name)
		}
	}
	for _, columns := range t.uniques {
		// A prefix index that is unique keeps whole values apart too.
		if !slices.ContainsFunc(columns, func(name string) bool { return !slices.Contains(t.Key, name) }) {
			return nil
		}
	}
	return compensate.Refuse("nothing keeps two rows of %s.%s with the same key apart: create a primary key or a unique index on (%s)",
		t.Schema, t.Name, strings.Join(t.Key, ", "))
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

// each calls do with every row of a query, as text; NULL is "".
func each(ctx context.Context, q querier, query string, args []any, do func([]string) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("ask for the table: %w", err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row := make([]string, len(names))
		for i := range values {
			row[i] = values[i].String
		}
		if err := do(row); err != nil {
			return err
		}
	}
	return rows.Err()
}
