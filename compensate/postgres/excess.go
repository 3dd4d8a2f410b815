package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// excessSQL asks for what the role may do whatever its grants.
const excessSQL = `SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user`

// Excess is compensate.Applier's. REPLICATION is none: capture uses the same login.
func (a *Applier) Excess(ctx context.Context) (excess []string, err error) {
	err = a.pool.with(ctx, func(conn *pgconn.PgConn) error {
		rows, err := query(ctx, conn, excessSQL)
		if err != nil {
			return fmt.Errorf("ask for the rights of the login: %w", err)
		}
		for i, name := range []string{"SUPERUSER", "CREATEROLE", "CREATEDB", "BYPASSRLS"} {
			if len(rows) > 0 && rows[0][i] == "t" {
				excess = append(excess, name)
			}
		}
		return nil
	})
	return excess, err
}
