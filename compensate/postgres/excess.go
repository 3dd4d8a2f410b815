package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/compensate"
)

// excessSQL asks for what the role may do whatever its grants.
const excessSQL = `SELECT pg_catalog.quote_ident(rolname), rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication
FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user`

// predefinedSQL asks for roles of the server's own that the role is a member of, but
// for those that it has through another one of them. A database's owner is a member
// of pg_database_owner, which is no grant.
const predefinedSQL = `WITH p AS (SELECT oid, rolname FROM pg_catalog.pg_roles
  WHERE rolname ~ '^pg_' AND rolname <> 'pg_database_owner' AND pg_catalog.pg_has_role(current_user, oid, 'MEMBER'))
SELECT pg_catalog.quote_ident(rolname) FROM p
WHERE NOT EXISTS (SELECT FROM p AS other WHERE other.oid <> p.oid AND pg_catalog.pg_has_role(other.oid, p.oid, 'MEMBER')) ORDER BY 1`

// tablesSQL asks for tables that the role may change, or owns, in this database:
// name, whether it owns it, and each right that it has beside SELECT.
const tablesSQL = `SELECT n.nspname, c.relname, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
  pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE'), pg_catalog.string_agg(p.privilege, ',' ORDER BY p.place)
FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN pg_catalog.unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) WITH ORDINALITY AS p(privilege, place)
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND pg_catalog.has_table_privilege(c.oid, p.privilege)
GROUP BY 1, 2, 3, 4 ORDER BY 3`

// readers are predefined roles that a login which captures as well may have.
var readers = map[string]bool{"pg_monitor": true, "pg_read_all_settings": true, "pg_read_all_stats": true, "pg_stat_scan_tables": true}

// Excess is compensate.Applier's. REPLICATION is none where capture uses the same
// login, and what it owns of the ledger is none, because it may have made it.
func (a *Applier) Excess(ctx context.Context) (excess []compensate.Excess, err error) {
	err = a.pool.with(ctx, func(conn *pgconn.PgConn) error {
		role, attributes, err := a.attributes(ctx, conn)
		if excess = attributes; err != nil || len(excess) > 0 && excess[0].Right == "SUPERUSER" {
			return err // of whom nothing else means anything
		}
		rows, err := query(ctx, conn, predefinedSQL)
		if err != nil {
			return fmt.Errorf("ask for the roles of the login: %w", err)
		}
		for _, r := range rows {
			if !a.captures || !readers[r[0]] {
				excess = append(excess, compensate.Excess{Right: "member of " + r[0], Remedy: "REVOKE " + r[0] + " FROM " + role + ";"})
			}
		}
		if rows, err = query(ctx, conn, tablesSQL); err != nil {
			return fmt.Errorf("ask for the rights of the login: %w", err)
		}
		for _, r := range rows {
			excess = append(excess, a.tableExcess(r, role)...)
		}
		return nil
	})
	return excess, err
}

func (a *Applier) attributes(ctx context.Context, conn *pgconn.PgConn) (role string, excess []compensate.Excess, err error) {
	rows, err := query(ctx, conn, excessSQL)
	if err != nil || len(rows) != 1 {
		return "", nil, fmt.Errorf("ask for the rights of the login: %w", err)
	}
	role = rows[0][0]
	for i, name := range []string{"SUPERUSER", "CREATEROLE", "CREATEDB", "BYPASSRLS", "REPLICATION"} {
		if rows[0][i+1] == "t" && (name != "REPLICATION" || !a.captures) {
			excess = append(excess, compensate.Excess{Right: name, Remedy: "ALTER ROLE " + role + " NO" + name + ";"})
		}
	}
	return role, excess, nil
}

// tableExcess says what is too much of a row of tablesSQL.
func (a *Applier) tableExcess(r []string, role string) []compensate.Excess {
	allowed := map[string]bool{}
	_, mapped := a.tables.Find(r[0], r[1])
	ledger := r[0] == "trueup" && r[1] == "ledger"
	owned := r[3] == "t"
	switch {
	case ledger && owned:
		return nil
	case owned:
		return []compensate.Excess{{Right: "owner of " + r[2], Remedy: "ALTER TABLE " + r[2] + " OWNER TO <another role>;"}}
	case ledger:
		allowed["INSERT"] = true
	case mapped:
		allowed["INSERT"], allowed["UPDATE"], allowed["DELETE"] = true, true, true
	}
	var rights []string
	for _, right := range strings.Split(r[4], ",") {
		if !allowed[right] {
			rights = append(rights, right)
		}
	}
	if rights == nil {
		return nil
	}
	text := strings.Join(rights, ", ") + " ON " + r[2]
	return []compensate.Excess{{Right: text, Remedy: "REVOKE " + text + " FROM " + role + ";"}}
}
