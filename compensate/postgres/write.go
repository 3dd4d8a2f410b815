package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

const begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

// write makes one transaction of a compensation. Whatever it leaves open its
// connection takes with it.
func write(ctx context.Context, conn *pgconn.PgConn, t *table, c *schemas.Compensation, attempt string) (compensate.Effect, error) {
	if c.Statement == schemas.DeleteRow {
		var err error
		if t, err = hold(ctx, conn, t.Table); err != nil {
			return 0, errors.Join(err, rollback(ctx, conn))
		}
		if err := t.whole(c); err != nil {
			return 0, errors.Join(err, rollback(ctx, conn))
		}
	}
	s, err := writeStatement(t, c, attempt, ledgerValues(c))
	if err != nil {
		return 0, errors.Join(err, rollback(ctx, conn))
	}
	tag, err := json.Marshal(map[string]string{"compensation_id": c.ID})
	if err != nil {
		return 0, errors.Join(err, rollback(ctx, conn))
	}
	batch := new(pgconn.Batch)
	if conn.TxStatus() == 'I' {
		batch.ExecParams(begin, nil, nil, nil, nil)
	}
	batch.ExecParams("SELECT pg_catalog.pg_logical_emit_message(true, 'trueup', $1)", [][]byte{tag}, nil, nil, nil)
	batch.ExecParams(s.text.String(), s.args, nil, nil, nil)
	crash.Site("compensate.postgres.before_statement")
	results, err := conn.ExecBatch(ctx, batch).ReadAll()
	if err != nil {
		err = fmt.Errorf("%s: %w", c.Statement, err)
		switch {
		case recorded(err):
			return compensate.Recorded, rollback(ctx, conn)
		case t.deferrable && taken(err) && c.Statement == schemas.InsertRow:
			return compensate.NoMatch, rollback(ctx, conn)
		}
		return 0, errors.Join(err, rollback(ctx, conn))
	}
	last := results[len(results)-1]
	switch rows, ledger := string(last.Rows[0][0]), string(last.Rows[0][1]); {
	case rows == "0":
		return compensate.NoMatch, rollback(ctx, conn)
	case rows != "1" || ledger != "1":
		return 0, errors.Join(
			permanent{fmt.Errorf("the key of %s.%s names %s rows, %s ledger rows", t.Schema, t.Name, rows, ledger)},
			rollback(ctx, conn))
	}
	crash.Site("compensate.postgres.before_commit")
	if err := commit(ctx, conn); err != nil {
		if t.deferrable && taken(err) && c.Statement == schemas.InsertRow {
			return compensate.NoMatch, nil
		}
		return 0, err
	}
	crash.Site("compensate.postgres.committed")
	return compensate.Wrote, nil
}

// hold begins a transaction and keeps the table's columns as they are to its end,
// with the lock that the delete takes anyway, and looks which they are.
func hold(ctx context.Context, conn *pgconn.PgConn, allowed compensate.Table) (*table, error) {
	batch := new(pgconn.Batch)
	batch.ExecParams(begin, nil, nil, nil, nil)
	batch.ExecParams(fmt.Sprintf("LOCK TABLE %s.%s IN ROW EXCLUSIVE MODE", quote(allowed.Schema), quote(allowed.Name)), nil, nil, nil, nil)
	if _, err := conn.ExecBatch(ctx, batch).ReadAll(); err != nil {
		return nil, fmt.Errorf("hold table %s.%s: %w", allowed.Schema, allowed.Name, err)
	}
	return describe(ctx, conn, allowed)
}

func commit(ctx context.Context, conn *pgconn.PgConn) error {
	r := conn.ExecParams(ctx, "COMMIT", nil, nil, nil, nil).Read()
	if r.Err != nil {
		return fmt.Errorf("commit: %w", r.Err)
	}
	if tag := r.CommandTag.String(); tag != "COMMIT" {
		return permanent{fmt.Errorf("commit ended in %s", tag)}
	}
	return nil
}

// rollback ends a transaction if there is one. Its error is of no consequence to
// the transaction, which goes with the connection at the latest.
func rollback(ctx context.Context, conn *pgconn.PgConn) error {
	if conn.IsClosed() || conn.TxStatus() == 'I' {
		return nil
	}
	if r := conn.ExecParams(ctx, "ROLLBACK", nil, nil, nil, nil).Read(); r.Err != nil {
		return rollbackError{r.Err}
	}
	return nil
}
