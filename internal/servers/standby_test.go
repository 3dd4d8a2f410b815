package servers_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// A standby has what the primary has, follows it, and takes over when it is
// promoted.
func TestStandby(t *testing.T) {
	t.Parallel()
	primary, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{})
	servertest.Check(t, err)
	defer stop(t, primary)
	up := pgxConnect(t, primary.DSN)
	run(t, up, "create table t (v text); insert into t values ('before')")
	standby, err := servers.StartStandby(t.Context(), primary, "standby", servers.PostgresOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, standby)
	run(t, up, "insert into t values ('after')")
	down := pgxConnect(t, standby.DSN)
	var end string
	one(t, up, "select pg_current_wal_flush_lsn()::text", &end)
	for replayed := false; !replayed; {
		one(t, down, "select pg_last_wal_replay_lsn() >= '"+end+"'", &replayed)
	}
	var n int
	var follows bool
	if one(t, down, "select count(*), bool_and(pg_is_in_recovery()) from t", &n, &follows); n != 2 || !follows {
		t.Errorf("%d rows, in recovery %t", n, follows)
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	run(t, down, "select pg_promote()")
	run(t, down, "insert into t values ('promoted')")
	if one(t, down, "select count(*) from t", &n); n != 3 {
		t.Errorf("%d rows", n)
	}
}

func pgxConnect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // its server may be gone
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func one(t *testing.T, conn *pgx.Conn, sql string, to ...any) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(to...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
