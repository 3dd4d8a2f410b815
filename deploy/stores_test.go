package deploy

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	mysqlcapture "github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

// legacyStore starts PostgreSQL with the settings of docker-compose.yml and runs
// what its container runs on a new volume. It returns the superuser's connection to
// database shop.
func legacyStore(t *testing.T) (server *servers.Postgres, admin *pgx.Conn) {
	t.Helper()
	settings := map[string]string{}
	command := service(t, composed(t), "postgres").Command
	for i, word := range command {
		if name, value, ok := strings.Cut(word, "="); ok && command[i-1] == "-c" {
			settings[name] = value
		}
	}
	delete(settings, "hba_file") // its path is the container's
	server, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Settings: settings})
	servertest.Check(t, err)
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	// The superuser gets in without a password here; everybody else by the file's own lines.
	hba := "host all postgres 127.0.0.1/32 trust\n" + readFile(t, "postgres/pg_hba.conf")
	if err := os.WriteFile(filepath.Join(server.Dir, "data", "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgExec(t, pgConnect(t, server.DSN), "CREATE DATABASE shop")
	admin = pgConnect(t, pgDSN(t, server, "postgres", "", "shop"))
	// A store whose owner leaves nothing to everybody: what Trueup needs has to be granted.
	pgExec(t, admin, "REVOKE ALL ON DATABASE shop FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC")
	pgExec(t, admin, readFile(t, "../examples/orders/legacy.sql"))
	pgExec(t, admin, "CREATE TABLE public.customers (id bigint PRIMARY KEY, secret text); INSERT INTO public.customers VALUES (1, 's')")
	pgExec(t, admin, readFile(t, "grants/postgres-capture.sql"))
	pgExec(t, admin, "ALTER ROLE trueup PASSWORD 'sesame'")
	return server, admin
}

func pgDSN(t *testing.T, server *servers.Postgres, user, password, database string) string {
	t.Helper()
	u, err := url.Parse(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword(user, password), "/"+database
	return u.String()
}

func pgConnect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func pgExec(t *testing.T, conn *pgx.Conn, statements string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), statements).ReadAll(); err != nil {
		t.Fatalf("%v\nin %s", err, statements)
	}
}

// target is a server that the target store can be on.
type target struct {
	driver string
	start  func(t *testing.T) (stop func() error, dsn string)
	client string // how the server shows the right REPLICATION CLIENT
}

// targets are MariaDB with the settings of docker-compose.yml, and MySQL.
var targets = []target{
	{mysqlcapture.MariaDB, func(t *testing.T) (func() error, string) {
		settings := map[string]string{}
		for _, word := range service(t, composed(t), "mariadb").Command[1:] {
			name, value, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
			settings[name] = value
		}
		server, err := servers.StartMariaDB(t.Context(), servers.MariaDBOptions{Settings: settings})
		servertest.Check(t, err)
		return server.Stop, server.DSN
	}, "BINLOG MONITOR"},
	{mysqlcapture.MySQL, func(t *testing.T) (func() error, string) {
		server, err := servers.StartMySQL(t.Context(), servers.MySQLOptions{})
		servertest.Check(t, err)
		return server.Stop, server.DSN
	}, "REPLICATION CLIENT"},
}

// store starts the server and runs what the container of docker-compose.yml runs
// on a new volume, without the rights to repair. It returns the administrator's
// connection and the connection string of Trueup's user.
func (s *target) store(t *testing.T) (admin *sql.DB, dsn string) {
	t.Helper()
	stop, root := s.start(t)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	admin = myConnect(t, root)
	myExec(t, admin, readFile(t, "../examples/orders/target.sql"))
	myExec(t, admin, "CREATE TABLE shop.customers (id bigint PRIMARY KEY, secret text); INSERT INTO shop.customers VALUES (1, 's')")
	myExec(t, admin, readFile(t, "grants/mariadb-capture.sql"))
	if _, err := myOpen(t, myDSN(t, root, "", "shop")); err == nil {
		t.Error("the user can log in before it has a password")
	}
	myExec(t, admin, "ALTER USER 'trueup'@'%' IDENTIFIED BY 'sesame' ACCOUNT UNLOCK")
	return admin, myDSN(t, root, "sesame", "shop")
}

// myDSN is of Trueup's user.
func myDSN(t *testing.T, root, password, database string) string {
	t.Helper()
	c, err := mysql.ParseDSN(root)
	if err != nil {
		t.Fatal(err)
	}
	c.User, c.Passwd, c.DBName = "trueup", password, database
	return c.FormatDSN()
}

func myOpen(t *testing.T, dsn string) (*sql.DB, error) {
	t.Helper()
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c.MultiStatements = true
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db, db.PingContext(t.Context())
}

func myConnect(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := myOpen(t, dsn)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func myExec(t *testing.T, db *sql.DB, statements string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statements); err != nil {
		t.Fatalf("%v\nin %s", err, statements)
	}
}

func exampleRules(t *testing.T) *schemas.Rules {
	t.Helper()
	m, err := schemas.LoadMigration("../examples/orders/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// wantChecked fails if a check found anything that keeps capture from working,
// or a warning other than those named.
func wantChecked(t *testing.T, findings []capture.Finding, warnings ...string) {
	t.Helper()
	if len(findings) == 0 {
		t.Error("nothing was checked")
	}
	for _, f := range findings {
		if f.Severity != capture.OK && !(f.Severity == capture.Warn && slices.Contains(warnings, f.Subject)) {
			t.Errorf("%s: %s: %s; %s", f.Severity, f.Subject, f.Detail, f.Remedy)
		}
	}
}

// captured runs a capture twice, with write in between, and returns the changes
// that the second one printed.
func captured(t *testing.T, side schemas.Side, open func() capture.Source, write func()) ([]schemas.Change, error) {
	t.Helper()
	c := capture.PrintConfig{Side: side, Source: "grants", StatePath: filepath.Join(t.TempDir(), "capture.json"), Until: "now"}
	if err := capture.Print(t.Context(), c, open(), new(bytes.Buffer)); err != nil {
		return nil, fmt.Errorf("first: %w", err)
	}
	write()
	var out bytes.Buffer
	if err := capture.Print(t.Context(), c, open(), &out); err != nil {
		return nil, fmt.Errorf("second: %w", err)
	}
	var changes []schemas.Change
	lines := schemas.NewLineReader(&out, 0)
	for {
		r, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return changes, nil
		}
		if err != nil {
			return nil, err
		}
		if r.Change != nil {
			changes = append(changes, *r.Change)
		}
	}
}
