package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/compensate"
)

// table is what the server says of an allowed table.
type table struct {
	compensate.Table
	columns map[string]column
	uniques [][]string // the columns of each index that keeps rows apart
	// deferrable says that a constraint of the table may be looked at late, and that ON CONFLICT is an error.
	deferrable bool
}

// column of a table.
type column struct {
	typ       string // qualified and quoted, without a modifier
	equal     string // the operator that its index knows, qualified
	generated bool   // computed from other columns: nothing of its own to compare or to write
	object    bool   // regclass and the like, whose text depends on the search path: compared as numbers
}

// describeSQL asks for the columns, in order. The operator is that of the type's
// default btree class, which an extension may keep in its own schema; varchar and
// the like have none and use another type's.
const describeSQL = `
SELECT a.attname, a.attgenerated <> '', tn.nspname = 'pg_catalog' AND t.typname LIKE 'reg%',
  pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.typname),
  pg_catalog.quote_ident(coalesce((
    SELECT opn.nspname FROM pg_catalog.pg_opclass oc
      JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amoplefttype = oc.opcintype
        AND ao.amoprighttype = oc.opcintype AND ao.amopstrategy = 3
      JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
      JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
    WHERE oc.opcdefault AND oc.opcmethod = 403
      AND oc.opcintype = coalesce(nullif(t.typbasetype, 0), t.oid)), 'pg_catalog'))
FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`

// uniquesSQL asks for the indexes that allow a value once, at every moment and in
// every row.
const uniquesSQL = `
SELECT i.indexrelid, a.attname
FROM pg_catalog.pg_index i
  CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts`

const deferrableSQL = `
SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint
  WHERE conrelid = $1::oid AND contype IN ('p', 'u', 'x') AND condeferrable)`

// describe asks the server for a table. What makes it unfit for compensations is
// a refusal.
func describe(ctx context.Context, conn *pgconn.PgConn, allowed compensate.Table) (*table, error) {
	oid, err := relation(ctx, conn, allowed)
	if err != nil {
		return nil, err
	}
	t := &table{Table: allowed, columns: make(map[string]column)}
	rows, err := query(ctx, conn, describeSQL, oid)
	if err != nil {
		return nil, fmt.Errorf("ask for the columns of %s.%s: %w", allowed.Schema, allowed.Name, err)
	}
	for _, r := range rows {
		t.columns[r[0]] = column{generated: r[1] == "t", object: r[2] == "t", typ: r[3], equal: "OPERATOR(" + r[4] + ".=)"}
	}
	if rows, err = query(ctx, conn, uniquesSQL, oid); err != nil {
		return nil, fmt.Errorf("ask for the indexes of %s.%s: %w", allowed.Schema, allowed.Name, err)
	}
	indexes := make(map[string][]string)
	for _, r := range rows {
		indexes[r[0]] = append(indexes[r[0]], r[1])
	}
	for _, columns := range indexes {
		t.uniques = append(t.uniques, columns)
	}
	if rows, err = query(ctx, conn, deferrableSQL, oid); err != nil {
		return nil, fmt.Errorf("ask for the constraints of %s.%s: %w", allowed.Schema, allowed.Name, err)
	}
	t.deferrable = rows[0][0] == "t"
	return t, t.fit()
}

// relation returns the oid of an ordinary or partitioned table.
func relation(ctx context.Context, conn *pgconn.PgConn, allowed compensate.Table) (oid string, err error) {
	rows, err := query(ctx, conn, `SELECT c.oid, c.relkind FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`,
		allowed.Schema, allowed.Name)
	switch {
	case err != nil:
		return "", fmt.Errorf("look for table %s.%s: %w", allowed.Schema, allowed.Name, err)
	case len(rows) == 0:
		return "", compensate.Refuse("there is no table %s.%s", allowed.Schema, allowed.Name)
	case rows[0][1] != "r" && rows[0][1] != "p":
		return "", compensate.Refuse("%s.%s is not a table", allowed.Schema, allowed.Name)
	}
	return rows[0][0], nil
}

// fit wants the allowed columns to be there and the key to name one row.
func (t *table) fit() error {
	for _, name := range t.Columns {
		if _, ok := t.columns[name]; !ok {
			return compensate.Refuse("table %s.%s has no column %q", t.Schema, t.Name, name)
		}
	}
	unique := slices.ContainsFunc(t.uniques, func(columns []string) bool {
		return !slices.ContainsFunc(columns, func(name string) bool { return !slices.Contains(t.Key, name) })
	})
	if !unique {
		return compensate.Refuse("nothing keeps two rows of %s.%s with the same key apart: create a primary key or a unique index on (%s)",
			t.Schema, t.Name, strings.Join(t.Key, ", "))
	}
	return nil
}

// writable says which rights are missing, with the statement that grants them.
func (t *table) writable(ctx context.Context, conn *pgconn.PgConn) error {
	name := quote(t.Schema) + "." + quote(t.Name)
	var missing []string
	for _, right := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
		rows, err := query(ctx, conn, `SELECT pg_catalog.has_table_privilege($1, $2)`, name, right)
		if err != nil {
			return fmt.Errorf("ask for rights: %w", err)
		}
		if rows[0][0] != "t" {
			missing = append(missing, right)
		}
	}
	if missing == nil {
		return nil
	}
	rows, err := query(ctx, conn, `SELECT pg_catalog.quote_ident(current_user)`)
	if err != nil {
		return fmt.Errorf("ask for the user: %w", err)
	}
	return errors.New("rights are missing; run: GRANT " + strings.Join(missing, ", ") + " ON " + name + " TO " + rows[0][0])
}

// query runs one statement and returns its rows as text; NULL is "".
func query(ctx context.Context, conn *pgconn.PgConn, sql string, args ...string) ([][]string, error) {
	values := make([][]byte, len(args))
	for i, arg := range args {
		values[i] = []byte(arg)
	}
	r := conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	if r.Err != nil {
		return nil, r.Err
	}
	out := make([][]string, len(r.Rows))
	for i, row := range r.Rows {
		for _, value := range row {
			out[i] = append(out[i], string(value))
		}
	}
	return out, nil
}

// quote makes an identifier of any text without a NUL.
func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
