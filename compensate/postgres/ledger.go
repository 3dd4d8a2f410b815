package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/schemas"
)

// LedgerSQL makes the ledger and lets a user write it. Who applies compensations
// needs no right to run it.
const LedgerSQL = `CREATE SCHEMA IF NOT EXISTS trueup;
CREATE TABLE IF NOT EXISTS trueup.ledger (
  compensation_id text COLLATE "C" CONSTRAINT trueup_ledger_pkey PRIMARY KEY,
  divergence_id   text NOT NULL,
  entity          text NOT NULL,
  entity_key      text NOT NULL,
  statement       text NOT NULL,
  rules           text NOT NULL,
  attempt         text NOT NULL,
  applied_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);`

// ledgerKey is the constraint that makes a compensation at most once.
const ledgerKey = "trueup_ledger_pkey"

// ledgerColumns in the order of ledgerValues and the attempt.
var ledgerColumns = []string{"compensation_id", "divergence_id", "entity", "entity_key", "statement", "rules", "attempt"}

func ledgerValues(c *schemas.Compensation) [][]byte {
	key, err := json.Marshal(c.Key)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	values := [][]byte{[]byte(c.ID), []byte(c.DivergenceID), []byte(c.Entity), key, []byte(c.Statement), []byte(c.Rules)}
	for i := range values {
		// Canonical text may hold what PostgreSQL's cannot. The ledger's copy is for people.
		values[i] = []byte(strings.ToValidUTF8(strings.ReplaceAll(string(values[i]), "\x00", "�"), "�"))
	}
	return values
}

// lookAtLedger tries whether the ledger can be read and written; absent is asked
// where there is none.
func lookAtLedger(ctx context.Context, conn *pgconn.PgConn, absent func(context.Context, *pgconn.PgConn) error) error {
	there := func() (bool, error) {
		rows, err := query(ctx, conn, "SELECT pg_catalog.to_regclass('trueup.ledger') IS NOT NULL")
		if err != nil {
			return false, fmt.Errorf("look for the ledger: %w", err)
		}
		return rows[0][0] == "t", nil
	}
	found, err := there()
	if err == nil && !found {
		if err = absent(ctx, conn); err != nil {
			return fmt.Errorf("create the ledger: %w; have it made by running:\n%s\n%s", err, LedgerSQL, grants(ctx, conn))
		}
		found, err = there()
	}
	if err != nil || !found {
		return err // it can be made
	}
	rows, err := query(ctx, conn, `SELECT
		pg_catalog.has_table_privilege('trueup.ledger', 'SELECT') AND pg_catalog.has_table_privilege('trueup.ledger', 'INSERT'),
		EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = 'trueup.ledger'::pg_catalog.regclass AND contype = 'p' AND conname = $1),
		EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'trueup.ledger'::pg_catalog.regclass AND attname = 'attempt' AND attnotnull)`, ledgerKey)
	switch {
	case err != nil:
		return fmt.Errorf("look at the ledger: %w; run:\n%s", err, grants(ctx, conn))
	case rows[0][0] != "t":
		return errors.New("the ledger cannot be read and written; run:\n" + grants(ctx, conn))
	case rows[0][1] != "t":
		return fmt.Errorf("table trueup.ledger is not ours: it has no primary key %s; move it away", ledgerKey)
	case rows[0][2] != "t":
		return errors.New("table trueup.ledger is not as it was made: run: ALTER TABLE trueup.ledger ALTER COLUMN attempt SET NOT NULL")
	}
	sql := "SELECT " + strings.Join(ledgerColumns, ", ") + ", applied_at FROM trueup.ledger LIMIT 0"
	if _, err := query(ctx, conn, sql); err != nil {
		return fmt.Errorf("table trueup.ledger is not of this version: %w", err)
	}
	return nil
}

func createLedger(ctx context.Context, conn *pgconn.PgConn) error {
	if _, err := conn.Exec(ctx, LedgerSQL).ReadAll(); err != nil && !concurrently(err) {
		return err
	}
	return nil
}

// mayCreateLedger is createLedger for who only looks.
func mayCreateLedger(ctx context.Context, conn *pgconn.PgConn) error {
	rows, err := query(ctx, conn, `SELECT CASE WHEN pg_catalog.to_regnamespace('trueup') IS NULL
		THEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
		ELSE pg_catalog.has_schema_privilege('trueup', 'CREATE') END`)
	switch {
	case err != nil:
		return err
	case rows[0][0] != "t":
		return errors.New("it is not there, and the login may create neither the schema trueup nor a table in it")
	}
	return nil
}

// grants are the statements that let the user of conn use the ledger.
func grants(ctx context.Context, conn *pgconn.PgConn) string {
	user := "<user>"
	if rows, err := query(ctx, conn, `SELECT pg_catalog.quote_ident(current_user)`); err == nil {
		user = rows[0][0]
	}
	return fmt.Sprintf("GRANT USAGE ON SCHEMA trueup TO %s;\nGRANT SELECT, INSERT ON trueup.ledger TO %s;", user, user)
}
