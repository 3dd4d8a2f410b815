package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/compensate"
	compensatepg "github.com/trueup-io/trueup/compensate/postgres"
	"github.com/trueup-io/trueup/schemas"
)

// "Capture on PostgreSQL: a LOGIN REPLICATION role, pg_hba's database-name line
// only, SELECT on the mapped tables": that is enough, and gives nothing else.
func TestGrantsPostgresCapture(t *testing.T) {
	server, admin := legacyStore(t)
	dsn := pgDSN(t, server, "trueup", "sesame", "shop")
	config := postgres.Config{Side: schemas.Legacy, Source: "grants", DSN: dsn, Slot: "trueup_orders_legacy",
		Publication: "trueup_orders_legacy", Rules: exampleRules(t)}
	wantChecked(t, postgres.Check(t.Context(), config))
	if empty, err := postgres.New(config).Empty(t.Context()); err != nil || !empty {
		t.Errorf("empty tables: %v, %v", empty, err)
	}
	changes, err := captured(t, schemas.Legacy, func() capture.Source { return postgres.New(config) }, func() {
		pgExec(t, admin, "INSERT INTO public.orders VALUES (1, 'new', 10.50, '2026-11-23 10:00:00.123+00', NULL)")
	})
	if err != nil || len(changes) != 1 || changes[0].Key[0] != "1" {
		t.Fatalf("captured %d changes, %v", len(changes), err)
	}

	trueup := pgConnect(t, dsn)
	pgRefuses(t, trueup, "42501", // insufficient_privilege
		"SELECT * FROM public.customers",
		"INSERT INTO public.orders VALUES (2, 'new', 1, now(), NULL)",
		"UPDATE public.orders SET state = 'x'",
		"DELETE FROM public.orders",
		"TRUNCATE public.orders",
		"ALTER TABLE public.orders ADD COLUMN x int",
		"CREATE TABLE public.x (id int)",
		"CREATE TEMPORARY TABLE x (id int)",
		"CREATE SCHEMA x",
		"CREATE PUBLICATION x",
		"ALTER PUBLICATION trueup_orders_legacy OWNER TO trueup",
		"ALTER SYSTEM SET wal_level = minimal",
		"CREATE ROLE x",
		"CREATE DATABASE x",
		"SET ROLE postgres",
		"SELECT pg_read_file('PG_VERSION')",
		"COPY public.orders TO PROGRAM 'cat'")
	if got := pgPrivileges(t, admin); !slices.Equal(got, []string{"public.orders SELECT"}) {
		t.Errorf("rights on tables: %v", got)
	}
	// E19: only the line that names the database lets it in, so it can copy no cluster and reads no other database.
	for _, bad := range []string{pgDSN(t, server, "trueup", "sesame", "postgres"), dsn + "&replication=true"} {
		conn, err := pgconn.Connect(t.Context(), bad)
		if err == nil {
			conn.Close(context.Background())
		}
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "28000" { // invalid_authorization_specification
			t.Errorf("connection %s: %v, want it refused by pg_hba.conf", strings.ReplaceAll(bad, "sesame", "…"), err)
		}
	}

	// No more than needed: without any one right something is missing, and the check names it.
	rights := map[string]string{
		"ALTER ROLE trueup NOREPLICATION":             "ALTER ROLE trueup REPLICATION",
		"ALTER ROLE trueup NOLOGIN":                   "ALTER ROLE trueup LOGIN",
		"REVOKE CONNECT ON DATABASE shop FROM trueup": "GRANT CONNECT ON DATABASE shop TO trueup",
		"REVOKE USAGE ON SCHEMA public FROM trueup":   "GRANT USAGE ON SCHEMA public TO trueup",
		"REVOKE SELECT ON public.orders FROM trueup":  "GRANT SELECT ON public.orders TO trueup",
		"DROP PUBLICATION trueup_orders_legacy":       "CREATE PUBLICATION trueup_orders_legacy FOR TABLE public.orders",
	}
	pgNeedsEach(t, admin, rights, func() error {
		for _, f := range postgres.Check(t.Context(), config) {
			if f.Severity == capture.Fail {
				return errors.New(f.Detail)
			}
		}
		_, err := postgres.New(config).Empty(t.Context())
		return err
	})
	for revoke, names := range map[string]string{
		"ALTER ROLE trueup NOREPLICATION":             `ALTER ROLE "trueup" REPLICATION`,
		"ALTER ROLE trueup NOLOGIN":                   `ALTER ROLE "trueup" LOGIN`,
		"REVOKE CONNECT ON DATABASE shop FROM trueup": `GRANT CONNECT ON DATABASE "shop" TO "trueup"`,
		"REVOKE USAGE ON SCHEMA public FROM trueup":   `GRANT USAGE ON SCHEMA "public" TO "trueup"`,
		"REVOKE SELECT ON public.orders FROM trueup":  `GRANT SELECT ON "public"."orders" TO "trueup"`,
		"DROP PUBLICATION trueup_orders_legacy":       `CREATE PUBLICATION "trueup_orders_legacy" FOR TABLE "public"."orders"`,
	} {
		pgExec(t, admin, revoke)
		if !slices.ContainsFunc(postgres.Check(t.Context(), config), func(f capture.Finding) bool {
			return f.Severity != capture.OK && strings.Contains(f.Detail+f.Remedy, names)
		}) {
			t.Errorf("after %s no finding says %q", revoke, names)
		}
		pgExec(t, admin, rights[revoke])
	}
}

// "Compensate on target: SELECT, INSERT, UPDATE, DELETE on the mapped tables only
// plus its ledger table."
func TestGrantsPostgresCompensate(t *testing.T) {
	server, admin := legacyStore(t)
	pgExec(t, admin, readFile(t, "grants/postgres-compensate.sql"))
	wantStatements(t, "grants/postgres-compensate.sql", compensatepg.LedgerSQL)
	dsn := pgDSN(t, server, "trueup", "sesame", "shop")
	columns := []string{"id", "state", "amount", "placed", "note"}
	row := []string{"1", "new", "10.50", "2026-11-23 10:00:00.123+00", ""}
	works := func() error {
		pgExec(t, admin, "DELETE FROM trueup.ledger; DELETE FROM public.orders")
		pgExec(t, admin, "INSERT INTO public.orders VALUES (1, 'new', 10.50, '2026-11-23 10:00:00.123+00', NULL)")
		a, err := compensatepg.Open(compensatepg.Config{DSN: dsn, Side: schemas.Legacy, Attempts: once, Captures: true,
			Tables: compensate.Tables{{Entity: "order", Schema: "public", Name: "orders", Key: columns[:1], Columns: columns}}})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if excess, err := a.Excess(t.Context()); err != nil || excess != nil {
			t.Errorf("rights that are refused: %v, %v", excess, err)
		}
		return repair(t, a, schemas.Legacy, "public", columns, row)
	}
	if err := works(); err != nil {
		t.Fatal(err)
	}

	trueup := pgConnect(t, dsn)
	pgRefuses(t, trueup, "42501",
		"SELECT * FROM public.customers",
		"UPDATE public.customers SET secret = 'x'",
		"TRUNCATE public.orders",
		"DROP TABLE public.orders",
		"UPDATE trueup.ledger SET attempt = 'x'",
		"DELETE FROM trueup.ledger",
		"TRUNCATE trueup.ledger",
		"CREATE TABLE trueup.x (id int)",
		"DROP SCHEMA trueup CASCADE")
	want := []string{"public.orders DELETE", "public.orders INSERT", "public.orders SELECT", "public.orders UPDATE",
		"trueup.ledger INSERT", "trueup.ledger SELECT"}
	if got := pgPrivileges(t, admin); !slices.Equal(got, want) {
		t.Errorf("rights on tables: %v, want %v", got, want)
	}
	pgNeedsEach(t, admin, map[string]string{
		"REVOKE SELECT ON public.orders FROM trueup": "GRANT SELECT ON public.orders TO trueup",
		"REVOKE INSERT ON public.orders FROM trueup": "GRANT INSERT ON public.orders TO trueup",
		"REVOKE UPDATE ON public.orders FROM trueup": "GRANT UPDATE ON public.orders TO trueup",
		"REVOKE DELETE ON public.orders FROM trueup": "GRANT DELETE ON public.orders TO trueup",
		"REVOKE USAGE ON SCHEMA trueup FROM trueup":  "GRANT USAGE ON SCHEMA trueup TO trueup",
		"REVOKE SELECT ON trueup.ledger FROM trueup": "GRANT SELECT ON trueup.ledger TO trueup",
		"REVOKE INSERT ON trueup.ledger FROM trueup": "GRANT INSERT ON trueup.ledger TO trueup",
	}, works)
}

// pgRefuses wants each statement to end with an error of that code.
func pgRefuses(t *testing.T, conn *pgx.Conn, code string, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := conn.PgConn().Exec(t.Context(), s).ReadAll()
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != code {
			t.Errorf("%s: %v, want it refused with %s", s, err, code)
		}
	}
}

// pgPrivileges lists what Trueup's role may do with tables and their columns.
func pgPrivileges(t *testing.T, admin *pgx.Conn) []string {
	t.Helper()
	rows, err := admin.Query(t.Context(), `SELECT table_schema || '.' || table_name || ' ' || privilege_type
		FROM information_schema.role_table_grants WHERE grantee = 'trueup'
		UNION SELECT table_schema || '.' || table_name || '.' || column_name || ' ' || privilege_type
		FROM information_schema.role_column_grants c WHERE grantee = 'trueup' AND NOT EXISTS (
			SELECT FROM information_schema.role_table_grants t WHERE t.grantee = c.grantee AND t.table_schema = c.table_schema
				AND t.table_name = c.table_name AND t.privilege_type = c.privilege_type)
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// pgNeedsEach takes each right away and gives it back: works must fail without,
// and succeed with all.
func pgNeedsEach(t *testing.T, admin *pgx.Conn, rights map[string]string, works func() error) {
	t.Helper()
	for revoke, grant := range rights {
		pgExec(t, admin, revoke)
		if works() == nil {
			t.Errorf("nothing is missing after %s: the grant is more than needed", revoke)
		}
		pgExec(t, admin, grant)
	}
	if err := works(); err != nil {
		t.Errorf("with all rights back: %v", err)
	}
}
