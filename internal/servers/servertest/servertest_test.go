package servertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/servers"
)

func TestMain(m *testing.M) { Main(m) }

// verdict is a test that notes how it was ended.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Helper()                       {}
func (v *verdict) Skipf(format string, a ...any) { v.skipped = fmt.Sprintf(format, a...) }
func (v *verdict) Fatal(a ...any)                { v.failed = fmt.Sprint(a...) }

// "A test that needs a server that is not installed is skipped with a word on
// what is missing, and fails instead where TRUEUP_REQUIRE_ALL=1 says that nothing
// may be skipped."
func TestCheckSkipsOnlyWhereAllowed(t *testing.T) {
	missing := fmt.Errorf("PostgreSQL: initdb: %w", servers.ErrMissing)
	broken := errors.New("no space left")
	for _, c := range []struct {
		require      string
		err          error
		skips, fails bool
	}{
		{"0", nil, false, false}, {"1", nil, false, false},
		{"0", missing, true, false}, {"1", missing, false, true},
		{"0", broken, false, true}, {"1", broken, false, true},
	} {
		t.Setenv("TRUEUP_REQUIRE_ALL", c.require)
		v := &verdict{TB: t}
		Check(v, c.err)
		if (v.skipped != "") != c.skips || (v.failed != "") != c.fails {
			t.Errorf("require %s, error %v: skipped %q, failed %q", c.require, c.err, v.skipped, v.failed)
		}
		if c.skips && !strings.Contains(v.skipped, "initdb") {
			t.Errorf("skipped without naming what is missing: %q", v.skipped)
		}
	}
}

// "Databases are fresh and go away with their test", even with a replication slot
// that is being read and a connection that is left open.
func TestPostgresDatabase(t *testing.T) {
	var name string
	t.Run("use", func(t *testing.T) {
		dsn := PostgresDatabase(t)
		conn := connect(t, dsn)
		if err := conn.QueryRow(t.Context(), "select current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
		reader := connect(t, dsn+"&replication=database").PgConn()
		slot := "s_" + name
		if _, err := pglogrepl.CreateReplicationSlot(t.Context(), reader, slot, "pgoutput", pglogrepl.CreateReplicationSlotOptions{}); err != nil {
			t.Fatal(err)
		}
		err := pglogrepl.StartReplication(t.Context(), reader, slot, 0, pglogrepl.StartReplicationOptions{
			PluginArgs: []string{"proto_version '1'", "publication_names 'any'"}})
		if err != nil {
			t.Fatal(err)
		}
		if other := PostgresDatabase(t); other == dsn {
			t.Fatal("the same database twice")
		}
	})
	server := connect(t, Postgres(t).DSN)
	var left int
	err := server.QueryRow(t.Context(), "select (select count(*) from pg_database where datname = $1) + (select count(*) from pg_replication_slots)", name).Scan(&left)
	if err != nil || left != 0 {
		t.Fatalf("%d databases and slots left (%v)", left, err)
	}
}

// What capture needs of the shared server.
func TestPostgresIsFitForCapture(t *testing.T) {
	conn := connect(t, Postgres(t).DSN)
	for setting, want := range map[string]string{"wal_level": "logical", "TimeZone": "UTC", "server_encoding": "UTF8",
		"lc_collate": "C", "max_replication_slots": "32", "max_wal_senders": "32", "fsync": "on", "listen_addresses": "127.0.0.1"} {
		var got string
		if err := conn.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", setting, got, err, want)
		}
	}
}

func TestMariaDBDatabase(t *testing.T) {
	exerciseMySQLDatabase(t, MariaDB(t).DSN, MariaDBDatabase)
}

func TestMariaDB11Database(t *testing.T) {
	exerciseMySQLDatabase(t, MariaDB11(t).DSN, MariaDB11Database)
}

func TestMySQLDatabase(t *testing.T) {
	exerciseMySQLDatabase(t, MySQL(t).DSN, MySQLDatabase)
}

func exerciseMySQLDatabase(t *testing.T, server string, database func(testing.TB) (dsn, name string)) {
	t.Helper()
	var name string
	t.Run("use", func(t *testing.T) {
		dsn, n := database(t)
		name = n
		if got := ask(t, dsn, "select database()"); got != name {
			t.Fatalf("connected to %q, want %q", got, name)
		}
	})
	if left := ask(t, server, "select count(*) from information_schema.schemata where schema_name = '"+name+"'"); left != "0" {
		t.Fatalf("database %s is left", name)
	}
}

func TestMariaDBIsFitForCapture(t *testing.T) {
	wantVariables(t, MariaDB(t).DSN, map[string]string{"binlog_annotate_row_events": "1", "gtid_strict_mode": "1"})
}

func TestMySQLIsFitForCapture(t *testing.T) {
	wantVariables(t, MySQL(t).DSN, map[string]string{"gtid_mode": "ON", "enforce_gtid_consistency": "ON", "binlog_rows_query_log_events": "1"})
}

func wantVariables(t *testing.T, dsn string, own map[string]string) {
	t.Helper()
	want := map[string]string{"log_bin": "1", "binlog_format": "ROW", "binlog_row_image": "FULL",
		"binlog_row_metadata": "FULL", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1",
		"time_zone": "+00:00", "character_set_server": "utf8mb4", "bind_address": "127.0.0.1"}
	maps.Copy(want, own)
	for variable, value := range want {
		if got := ask(t, dsn, "select @@global."+variable); got != value {
			t.Errorf("%s is %q, want %q", variable, got, value)
		}
	}
}

func ask(t *testing.T, dsn, query string) (answer string) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // may have been disconnected by a drop
	return conn
}

// "Each has its own temporary directory": a server clears its own of temporary
// tables at each start, and must not take those of others.
func TestTemporaryDirectoriesAreTheServersOwn(t *testing.T) {
	for _, c := range []struct{ dsn, dir string }{{MariaDB(t).DSN, MariaDB(t).Dir}, {MySQL(t).DSN, MySQL(t).Dir}} {
		if got := ask(t, c.dsn, "select @@tmpdir"); !strings.HasPrefix(got, c.dir) {
			t.Errorf("tmpdir is %s, not below %s", got, c.dir)
		}
	}
}
