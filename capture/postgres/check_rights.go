package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// role is what our role may do beyond what capture needs.
type role struct {
	Super       bool     `json:"rolsuper"`
	CreatesRole bool     `json:"rolcreaterole"`
	CreatesDB   bool     `json:"rolcreatedb"`
	BypassRLS   bool     `json:"rolbypassrls"`
	Member      []string `json:"member"` // of which powerful roles
}

// powerful are the server's own roles whose members can do what capture never
// has to: read or write everything, or act on the server's machine. Roles that
// read settings and statistics are none of them.
const powerful = `'pg_read_all_data', 'pg_write_all_data', 'pg_maintain', 'pg_create_subscription', 'pg_signal_backend',
	'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_database_owner'`

const roleSQL = `select r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolbypassrls,
	coalesce((select json_agg(g.rolname order by g.rolname) from pg_roles g
		where g.rolname in (` + powerful + `) and pg_has_role(r.oid, g.oid, 'MEMBER')), '[]') as member
from pg_roles r where r.rolname = current_user`

// rights says what the role may do that nobody needs. Somebody who gets hold of
// the DSN can do it too.
func (k *check) rights(ctx context.Context, conn *pgconn.PgConn, s server, policies bool) {
	subject := "rights of " + s.User
	r, err := one[role](ctx, conn, roleSQL)
	if err != nil {
		k.fail(subject, err.Error(), again)
		return
	}
	me := identifier(s.User)
	if r.Super {
		k.warn(subject, "it is a superuser: whoever has the DSN can do anything on the server, and to its machine",
			"give Trueup a login of its own: deploy/grants/postgres-capture.sql")
		return
	}
	before := len(k.findings)
	for _, excess := range []struct {
		has          bool
		what, remedy string
	}{
		{r.CreatesRole, "it may create roles (CREATEROLE)", "ALTER ROLE " + me + " NOCREATEROLE"},
		{r.CreatesDB, "it may create databases (CREATEDB)", "ALTER ROLE " + me + " NOCREATEDB"},
		{r.BypassRLS && !policies, "it bypasses row level security (BYPASSRLS), which no mapped table has", "ALTER ROLE " + me + " NOBYPASSRLS"},
	} {
		if excess.has {
			k.warn(subject, excess.what+"; capture needs no such right", excess.remedy)
		}
	}
	for _, group := range r.Member {
		if group == "pg_database_owner" {
			k.warn(subject, "it owns the database; capture needs no such right", fmt.Sprintf("ALTER DATABASE %s OWNER TO another role", identifier(s.Database)))
			continue
		}
		k.warn(subject, "it is a member of "+group+"; capture needs no such right", fmt.Sprintf("REVOKE %s FROM %s", group, me))
	}
	if len(k.findings) == before {
		k.ok(subject, "no more than needed")
	}
}

// access is what our role may do with a mapped table.
type access struct {
	Writes bool `json:"writes"`
	Hidden bool `json:"hidden"` // a policy hides rows from it
	RLS    bool `json:"rls"`    // the table has row level security, for whomever
}

// readAccess returns it for each table, in their order; nothing for one that is not there.
func readAccess(ctx context.Context, conn *pgconn.PgConn, tables []table) ([]access, error) {
	var values []string
	for i := range tables {
		values = append(values, fmt.Sprintf("(%d, %d::oid)", i, tables[i].OID))
	}
	return query[access](ctx, conn, `select coalesce(has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'), false) as writes,
		case when c.oid is null then false else row_security_active(c.oid) end as hidden,
		coalesce(c.relrowsecurity, false) as rls
	from (values `+strings.Join(values, ", ")+`) v (at, oid) left join pg_class c on c.oid = v.oid order by v.at`)
}

// access says what the role may do with a table, and what it may not.
func (k *check) access(t *table, a access, s server) {
	subject, me := "table "+t.String(), identifier(s.User)
	if !t.Readable {
		k.warn(subject, "the role may not read it: the first start cannot see whether it is empty, and a baseline cannot read it",
			fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %[2]s", identifier(t.Schema), me, t.quoted()))
	}
	if a.Hidden {
		k.warn(subject, "row level security applies to the role: changes of every row come, but reading the table would miss rows, so it is refused",
			"ALTER ROLE "+me+" BYPASSRLS")
	}
	switch {
	case s.Super || k.cfg.Repairs || !a.Writes:
	case t.Owned:
		k.warn(subject, "the role owns it, and by this migration.yaml nothing is written to this side", fmt.Sprintf("ALTER TABLE %s OWNER TO another role", t.quoted()))
	default:
		k.warn(subject, "the role may write to it, and by this migration.yaml nothing is written to this side",
			fmt.Sprintf("REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %s", t.quoted(), me))
	}
}
