package servers_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// "Bin names them": a server of another version than the packages' runs beside
// it, from programs that were fetched.
func TestFetchedVersions(t *testing.T) {
	t.Parallel()
	postgres := func(version string) func(t *testing.T) (string, error) {
		return func(t *testing.T) (says string, err error) {
			ctx := t.Context()
			bin, err := servers.FetchPostgres(ctx, version)
			if err != nil {
				return "", err
			}
			p, err := servers.StartPostgres(ctx, servers.PostgresOptions{Bin: bin})
			if err != nil {
				return "", err
			}
			defer stop(t, p)
			conn, err := pgx.Connect(ctx, p.DSN)
			if err != nil {
				return "", err
			}
			defer conn.Close(ctx)
			err = conn.QueryRow(ctx, "show server_version").Scan(&says)
			return says, err
		}
	}
	for name, c := range map[string]struct {
		version string
		start   func(t *testing.T) (says string, err error)
	}{
		"postgres 17": {"17.6", postgres(servers.Postgres17)},
		"postgres 18": {"18.0", postgres(servers.Postgres18)},
		"mariadb 11": {servers.MariaDB11, func(t *testing.T) (string, error) {
			ctx := t.Context()
			bin, err := servers.FetchMariaDB(ctx, servers.MariaDB11)
			if err != nil {
				return "", err
			}
			m, err := servers.StartMariaDB(ctx, servers.MariaDBOptions{Bin: bin})
			if err != nil {
				return "", err
			}
			defer stop(t, m)
			return mysqlVersion(ctx, m.DSN)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			says, err := c.start(t)
			servertest.Check(t, err)
			if !strings.HasPrefix(says, c.version) {
				t.Errorf("the server says it is %q, want %s", says, c.version)
			}
		})
	}
}

// A MySQL server, fetched, killed, and started again with its data and port.
func TestMySQLRestarts(t *testing.T) {
	t.Parallel()
	m, err := servers.StartMySQL(t.Context(), servers.MySQLOptions{})
	servertest.Check(t, err)
	defer stop(t, m)
	s := sqlStore(m, m.Dir, m.DSN)
	write(t, s, "before")
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantTexts(t, s, "before")
	if version, err := mysqlVersion(t.Context(), m.DSN); err != nil || version != servers.MySQL8 {
		t.Errorf("the server says it is %q (%v), want %s", version, err, servers.MySQL8)
	}
}

func stop(t *testing.T, s server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func mysqlVersion(ctx context.Context, dsn string) (version string, err error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return "", err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, "select version()").Scan(&version)
	return version, err
}
