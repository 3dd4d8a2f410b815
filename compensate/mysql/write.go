package mysql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// write makes the statements of a compensation's transaction, to be committed if
// it says Wrote and rolled back otherwise.
func write(ctx context.Context, tx *sql.Tx, t *table, c *schemas.Compensation, attempt string) (compensate.Effect, error) {
	if c.Statement == schemas.DeleteRow {
		var err error
		if t, err = hold(ctx, tx, t.Table); err != nil {
			return 0, err
		}
		if err := t.whole(c); err != nil {
			return 0, err
		}
	}
	s, err := writeStatement(t, c)
	if err != nil {
		return 0, err
	}
	crash.Site("compensate.mysql.before_statement")
	result, err := tx.ExecContext(ctx, s.text.String(), s.args...)
	switch {
	case c.Statement == schemas.InsertRow && number(err) == duplicateKey:
		return compensate.NoMatch, nil
	case err != nil:
		return 0, fmt.Errorf("%s: %w", c.Statement, err)
	}
	rows, err := result.RowsAffected()
	switch {
	case err != nil:
		return 0, err
	case rows == 0:
		return compensate.NoMatch, nil
	case rows != 1:
		return 0, permanent{fmt.Errorf("the key of %s.%s names %d rows", t.Schema, t.Name, rows)}
	}
	crash.Site("compensate.mysql.before_ledger")
	_, err = tx.ExecContext(ctx, ledgerInsert, ledgerValues(c, attempt)...)
	switch {
	case number(err) == duplicateKey:
		return compensate.Recorded, nil
	case err != nil:
		return 0, fmt.Errorf("insert into the ledger: %w", err)
	}
	return compensate.Wrote, nil
}

// hold keeps the table's columns as they are to the transaction's end, with the
// metadata lock that the delete takes anyway, and looks which they are.
func hold(ctx context.Context, tx *sql.Tx, allowed compensate.Table) (*table, error) {
	rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT 1 FROM %s.%s LIMIT 0", quote(allowed.Schema), quote(allowed.Name)))
	if err == nil {
		err = rows.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("hold table %s.%s: %w", allowed.Schema, allowed.Name, err)
	}
	return describe(ctx, tx, allowed)
}
