package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// preparedMax bounds the statements that a connection keeps prepared: a table has
// a few, by which columns are repaired together and which are NULL.
const preparedMax = 100

// preparedKey is where a connection's own data has its statements, by their text.
const preparedKey = "trueup prepared"

// prepared returns a statement of the connection with that text, which it makes if
// there is none.
func prepared(ctx context.Context, conn *pgconn.PgConn, text string) (*pgconn.StatementDescription, error) {
	known, _ := conn.CustomData()[preparedKey].(map[string]*pgconn.StatementDescription)
	if s := known[text]; s != nil {
		return s, nil
	}
	if known == nil || len(known) >= preparedMax {
		if r := conn.ExecParams(ctx, "DEALLOCATE ALL", nil, nil, nil, nil).Read(); r.Err != nil {
			return nil, r.Err
		}
		known = make(map[string]*pgconn.StatementDescription)
		conn.CustomData()[preparedKey] = known
	}
	s, err := conn.Prepare(ctx, fmt.Sprintf("trueup_%d", len(known)), text, nil)
	if err != nil {
		return nil, err
	}
	known[text] = s
	return s, nil
}

// forgetPrepared has the connection's statements made anew.
func forgetPrepared(conn *pgconn.PgConn) { delete(conn.CustomData(), preparedKey) }
