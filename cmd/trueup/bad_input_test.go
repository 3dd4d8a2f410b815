package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

const ordersMigration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
stores:
  legacy: {driver: postgres, dsn: "file:legacy.dsn"}
  target: {driver: postgres, dsn: "file:target.dsn"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: public.orders}
    fields:
      id:     {type: integer}
      status: {type: text}
`

// soon ends what should have ended by itself.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// exitCode is what the process would exit with.
func exitCode(err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return exitClean
	case errors.As(err, &status):
		return int(status)
	}
	return exitError
}

// "Each gives one clear error that names the thing and the remedy, exit 3, and
// nothing is started or changed."
func TestBadInputStartsNothingAndChangesNothing(t *testing.T) {
	store := func(ddl ...string) string {
		dsn := servertest.PostgresDatabase(t)
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		for _, q := range ddl {
			if _, err := conn.Exec(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		return dsn
	}
	const table = "create table orders (id bigint primary key, status text)"
	good := store(table)
	for _, c := range []struct {
		name           string
		legacy, target string
		edit           func(string) string
		want           []string
	}{
		{"unknown key", good, good, replacing("owner:", "ownr:"), []string{"migration.yaml:4:", "ownr", "did you mean owner"}},
		{"wrong type", good, good, replacing("type: integer", "type: 7"), []string{"migration.yaml:14:", "type"}},
		{"literal DSN", good, good, replacing(`"file:legacy.dsn"`, `"postgres://u:geheim@h/d"`), []string{"migration.yaml:6:", "env:NAME or file:PATH"}},
		{"missing table", store(), good, nil, []string{"legacy", "public.orders"}},
		{"missing column", store("create table orders (id bigint primary key)"), good, nil, []string{"legacy", "status", "public.orders"}},
		{"table without a key", store("create table orders (id bigint, status text)"), good, nil, []string{"legacy", "public.orders", "REPLICA IDENTITY"}},
		{"table without a key, FULL", store("create table orders (id bigint, status text)", "alter table orders replica identity full"), good, nil,
			[]string{"legacy", "public.orders", "ADD PRIMARY KEY"}},
		{"unreachable store", "postgres://postgres@127.0.0.1:1/postgres?sslmode=disable", good, nil, []string{"legacy", "127.0.0.1"}},
		{"no such database", strings.Replace(good, "/test_", "/nosuch_", 1), good, nil, []string{"legacy"}},
		{"missing DSN file", "", good, nil, []string{"legacy.dsn"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := ordersMigration
			if c.edit != nil {
				text = c.edit(text)
			}
			path := writeMigration(t, text, c.legacy, c.target)
			if c.legacy == "" {
				if err := os.Remove(filepath.Join(filepath.Dir(path), "legacy.dsn")); err != nil {
					t.Fatal(err)
				}
			}
			for _, command := range []string{"run", "check"} {
				out, complain, err := execute(soon(t), command, "-f", path)
				if exitCode(err) != exitError {
					t.Fatalf("%s: exit %d, want 3: %v\n%s", command, exitCode(err), err, out)
				}
				said := err.Error() + out + complain
				for _, w := range c.want {
					if !strings.Contains(said, w) {
						t.Errorf("%s does not name %q:\n%s", command, w, said)
					}
				}
				if strings.Contains(said, "geheim") {
					t.Errorf("%s shows a secret:\n%s", command, said)
				}
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), "trueup-data")); !os.IsNotExist(err) {
				t.Errorf("a data directory was made: %v", err)
			}
		})
	}
	conn, err := pgx.Connect(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var made int
	if err := conn.QueryRow(t.Context(), "select (select count(*) from pg_replication_slots where database=current_database()) + (select count(*) from pg_publication)").Scan(&made); err != nil {
		t.Fatal(err)
	}
	if made != 0 {
		t.Errorf("%d slots and publications were made", made)
	}
}

func replacing(old, with string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, with, 1) }
}

func TestRunRefusesAServerThatCannotBeCaptured(t *testing.T) {
	pg, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Settings: map[string]string{"wal_level": "replica"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	}()
	path := writeMigration(t, ordersMigration, pg.DSN, pg.DSN)
	_, _, err = execute(soon(t), "run", "-f", path)
	if exitCode(err) != exitError || !strings.Contains(err.Error(), "wal_level") || !strings.Contains(err.Error(), "logical") {
		t.Fatalf("exit %d: %v", exitCode(err), err)
	}
}

func TestRunRefusesADataDirectoryOfAnotherMigrationOrInUse(t *testing.T) {
	dsn := servertest.PostgresDatabase(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "create table orders (id bigint primary key, status text)"); err != nil {
		t.Fatal(err)
	}
	path := writeMigration(t, ordersMigration, dsn, dsn)
	dir := filepath.Join(filepath.Dir(path), "trueup-data")
	for name, owner := range map[string]string{"another": "users", "in use": "orders"} {
		t.Run(name, func(t *testing.T) {
			d, err := datadir.Claim(dir, owner)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := errors.Join(d.Release(), os.RemoveAll(dir)); err != nil {
					t.Fatal(err)
				}
			}()
			_, _, err = execute(soon(t), "run", "-f", path)
			if exitCode(err) != exitError || !strings.Contains(err.Error(), dir) {
				t.Fatalf("exit %d: %v", exitCode(err), err)
			}
		})
	}
}

// "A file that is cut short, or has a line that does not parse, is an error
// with its line number, exit 3." "Zero comparisons is never a pass."
func TestAuditOfFiles(t *testing.T) {
	const (
		control  = `{"kind":"control","rules":"orders-v1","authority":"legacy","settle_window":"2s","baseline":"empty"}` + "\n"
		legacy   = `{"kind":"change","side":"legacy","entity":"order","key":["42"],"op":"insert","source":"pg-main","epoch":1,"pos":"0000000001A4C5A0","ordinal":0,"txn":"771","commit_ts":"2026-11-23T10:00:00.000123Z","after":{"id":"42","status":"new"}}` + "\n"
		target   = `{"kind":"change","side":"target","entity":"order","key":["42"],"op":"insert","source":"maria-new","epoch":1,"pos":"00000001000004D2","ordinal":0,"txn":"0-1-9","commit_ts":"2026-11-23T10:00:00.004Z","after":{"id":"42","status":"new"}}` + "\n"
		progress = `{"kind":"progress","side":"legacy","source":"pg-main","epoch":1,"pos":"0000000001A4C5D8","ts":"2026-11-23T10:00:01Z"}` + "\n" +
			`{"kind":"progress","side":"target","source":"maria-new","epoch":1,"pos":"0000000100000600","ts":"2026-11-23T10:00:03Z"}` + "\n"
		end = `{"kind":"end"}` + "\n"
	)
	path := writeMigration(t, ordersMigration, "", "")
	for i, c := range []struct {
		log  string
		exit int
		want string
	}{
		{control + legacy + target + progress + end, exitClean, `"compared":1,"equal":1,"diverged":0`},
		{control + legacy + progress + end, exitDiverged, `"verdict":"missing"`},
		{control + end, exitInconclusive, `"compared":0`},
		{control + legacy + target + end, exitInconclusive, `"lag":1`},
		{legacy + progress + end, exitInconclusive, `"no_data":1`},
		{control + legacy + progress, exitError, "line 5"},
		{control + legacy[:80], exitError, "line 2"},
		{control + strings.Replace(legacy, `"op"`, `"opp"`, 1) + end, exitError, "line 2"},
		{control + end + legacy, exitError, "line 3"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "log.jsonl")
			if err := os.WriteFile(file, []byte(c.log), 0o600); err != nil {
				t.Fatal(err)
			}
			out, complain, err := execute(t.Context(), "audit", "--file", file, "--rules", path, "--json")
			said := out + complain
			if err != nil {
				said += err.Error()
			}
			if exitCode(err) != c.exit || !strings.Contains(said, c.want) {
				t.Fatalf("exit %d, want %d with %q:\n%s", exitCode(err), c.exit, c.want, said)
			}
		})
	}
}
