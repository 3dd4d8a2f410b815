package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

const (
	begin   = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
	emitSQL = "SELECT pg_catalog.pg_logical_emit_message(true, 'trueup', $1)"
)

// write makes one transaction of a compensation. What is sent at once, up to its
// end, is a transaction to the server, which commits it before it answers that it
// is ready: one way there and back. A delete has begun one before. Whatever is left
// open the connection takes with it.
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
	open := conn.TxStatus() != 'I'
	batch := new(pgconn.Batch)
	for _, part := range []struct {
		text string
		args [][]byte
	}{{emitSQL, [][]byte{tag}}, {s.text.String(), s.args}} {
		known, err := prepared(ctx, conn, part.text)
		if err != nil {
			return 0, errors.Join(fmt.Errorf("%s: %w", c.Statement, err), rollback(ctx, conn))
		}
		batch.ExecStatement(known, part.args, nil, nil)
	}
	crash.Site("compensate.postgres.before_statement")
	results, err := conn.ExecBatch(ctx, batch).ReadAll()
	if err == nil && open {
		err = conclude(ctx, conn, results)
	}
	switch {
	case recorded(err):
		return compensate.Recorded, rollback(ctx, conn)
	case t.deferrable && taken(err) && c.Statement == schemas.InsertRow:
		return compensate.NoMatch, rollback(ctx, conn)
	case several(err):
		return 0, errors.Join(permanent{fmt.Errorf("the key of %s.%s names several rows", t.Schema, t.Name)}, rollback(ctx, conn))
	case err != nil:
		if unprepared(err) {
			forgetPrepared(conn)
		}
		return 0, errors.Join(fmt.Errorf("%s: %w", c.Statement, err), rollback(ctx, conn))
	}
	switch rows, err := wrote(results); {
	case err != nil:
		return 0, fmt.Errorf("%s: it was sent, and what became of it is not known: %w", c.Statement, err)
	case rows == 0:
		return compensate.NoMatch, nil
	}
	crash.Site("compensate.postgres.committed")
	return compensate.Wrote, nil
}

// wrote is how many rows were written: one or none, of which the statement makes sure.
func wrote(results []*pgconn.Result) (int, error) {
	last := results[len(results)-1]
	if len(last.Rows) != 1 || len(last.Rows[0]) != 1 {
		return 0, fmt.Errorf("the server answers %q where it counts", last.Rows)
	}
	n, err := strconv.Atoi(string(last.Rows[0][0]))
	if err != nil || n > 1 {
		return 0, fmt.Errorf("the server counts %q rows where there are one or none", last.Rows[0][0])
	}
	return n, nil
}

// conclude ends a transaction that was begun by a statement of its own.
func conclude(ctx context.Context, conn *pgconn.PgConn, results []*pgconn.Result) error {
	switch rows, err := wrote(results); {
	case err != nil:
		return err
	case rows == 0:
		return rollback(ctx, conn)
	}
	crash.Site("compensate.postgres.before_commit")
	return commit(ctx, conn)
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
