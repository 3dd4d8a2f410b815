package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// Explain returns the server's plan of a compensation's statement.
func Explain(ctx context.Context, conn *pgconn.PgConn, allowed compensate.Table, c *schemas.Compensation) (string, error) {
	if err := lookAtLedger(ctx, conn, createLedger); err != nil {
		return "", err
	}
	t, err := describe(ctx, conn, allowed)
	if err != nil {
		return "", err
	}
	s, err := writeStatement(t, c, "", ledgerValues(c))
	if err != nil {
		return "", err
	}
	r := conn.ExecParams(ctx, "EXPLAIN "+s.text.String(), s.args, nil, nil, nil).Read()
	var lines []string
	for _, row := range r.Rows {
		lines = append(lines, string(row[0]))
	}
	return strings.Join(lines, "\n"), r.Err
}
