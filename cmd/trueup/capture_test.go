package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

// execute runs the command line in this process.
func execute(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, complain bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&complain)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	err = root.ExecuteContext(ctx)
	return out.String(), complain.String(), err
}

// typesMigration maps the keys of two tables of many types.
const typesMigration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: types, owner: team-types}
stores:
  legacy: {driver: postgres, dsn: "file:legacy.dsn"}
  target: {driver: mariadb, dsn: "file:target.dsn"}
entities:
  - name: thing
    key: [id]
    legacy: {table: public.things}
    target: {table: %s.things}
    fields:
      id: {type: integer}
`

func writeMigration(t *testing.T, text, legacy, target string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"migration.yaml": text, "legacy.dsn": legacy, "target.dsn": target} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "migration.yaml")
}

// captured returns the rows of the changes that a side's capture prints.
func captureRows(t *testing.T, path, side, until string) map[string]schemas.Row {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, complain, err := execute(ctx, "capture", "-f", path, "--side", side, "--stdout", "--until", until)
	if err != nil {
		t.Fatalf("%v\n%s", err, complain)
	}
	rows := map[string]schemas.Row{}
	lines := schemas.NewLineReader(strings.NewReader(out), 0)
	for {
		r, err := lines.Next()
		if err != nil {
			break
		}
		if r.Change != nil {
			rows[r.Change.Key[0]] = r.Change.After
		}
	}
	if !strings.HasSuffix(out, "{\"kind\":\"end\"}\n") {
		t.Fatalf("the output is not whole:\n%s", out)
	}
	return rows
}

// "Capture ships the server's own text": a table of ordinary types on
// PostgreSQL and one on MariaDB, printed by "trueup capture --stdout".
func TestCaptureToStdoutShipsTheServersOwnText(t *testing.T) {
	legacy := servertest.PostgresDatabase(t)
	target, database := servertest.MariaDBDatabase(t)
	path := writeMigration(t, fmt.Sprintf(typesMigration, database), legacy, target)
	ctx := t.Context()

	pg, err := pgx.Connect(ctx, legacy)
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Close(ctx)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(q string) {
		t.Helper()
		_, err := pg.Exec(ctx, q)
		must(err)
	}
	run(`create table things (id bigint primary key, i int, s smallint, b boolean, n numeric(20,6), r real, d double precision, t text,
		v varchar(40), c char(8), day date, at timestamptz, plain timestamp, clock time, u uuid, j jsonb, raw bytea, list int[], gap interval)`)
	run(`alter table things replica identity full`)
	db, err := sql.Open("mysql", target)
	must(err)
	defer db.Close()
	_, err = db.ExecContext(ctx, `create table things (id bigint primary key, i int unsigned, s smallint, b tinyint(1), n decimal(20,6), r float, d double,
		t text, v varchar(40) character set latin1, c char(8), day date, at timestamp(6) null, plain datetime(3), clock time(2), u char(36), j json,
		y year, e enum('new','old'), f set('a','b','c'))`)
	must(err)

	captureRows(t, path, "legacy", "now") // takes the present positions
	captureRows(t, path, "target", "now")
	run(`insert into things values
		(1, -7, 32767, true, 12345678901234.500000, 0.1, 1e300, E'caf\u00e9 ☕\n', 'x', 'pad', '2026-02-28', '2026-11-23 10:00:00.000123+05:30', '1999-12-31 23:59:59.9', '23:59:59.5', '0af76519-16cd-43dd-8448-eb211c80319c', '{"b": 1.10, "a": 12345678901234567890}', '\x00ff', '{1,NULL,3}', '1 day 02:00'),
		(2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
		(3, 0, -1, false, 'NaN', 'Infinity', '-Infinity', '', '', '', '0044-03-15 BC', 'infinity', '294276-12-31 23:59:59.999999', '24:00:00', null, '[]', '', '[0:1]={5,6}', '-1 mon')`)
	_, err = db.ExecContext(ctx, `insert into things values
		(1, 4294967295, -32768, 1, 12345678901234.5, 0.1, 1e300, 'café ☕\n', 'é', 'pad', '2026-02-28', '2026-11-23 10:00:00.000123', '1999-12-31 23:59:59.9', '-838:59:59', 'u', '{"b": 1.10}', 2026, 'old', 'a,c'),
		(2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
		(3, 0, 0, 0, -0.000001, 16777216, 0.30000000000000004, '', '', '', '1000-01-01', '1970-01-01 00:00:01', '9999-12-31 23:59:59.999', '838:59:59.99', '', '[]', 1901, 'new', '')`)
	must(err)

	t.Run("postgres", func(t *testing.T) {
		run(`set timezone='UTC'; set datestyle='ISO'; set intervalstyle='postgres'; set extra_float_digits=3; set bytea_output='hex'`)
		rows, err := pg.Query(ctx, "select * from things order by id", pgx.QueryResultFormats{pgx.TextFormatCode})
		must(err)
		var want []map[string]*string
		for rows.Next() {
			row := map[string]*string{}
			for i, raw := range rows.RawValues() {
				if raw == nil {
					row[rows.FieldDescriptions()[i].Name] = nil
					continue
				}
				text := string(raw)
				row[rows.FieldDescriptions()[i].Name] = &text
			}
			want = append(want, row)
		}
		must(rows.Err())
		sameTexts(t, captureRows(t, path, "legacy", "now"), want)
	})
	t.Run("mariadb", func(t *testing.T) {
		conn, err := db.Conn(ctx)
		must(err)
		defer conn.Close()
		_, err = conn.ExecContext(ctx, "set time_zone='+00:00'")
		must(err)
		// The Go driver parses floats; their text has to be asked for.
		rows, err := conn.QueryContext(ctx, `select id, i, s, b, n, cast(r as char) as r, cast(d as char) as d, t, v, c, day, at, plain, clock, u, j, y, e, f
			from things order by id`)
		must(err)
		defer rows.Close()
		names, err := rows.Columns()
		must(err)
		var want []map[string]*string
		for rows.Next() {
			cells := make([]sql.NullString, len(names))
			to := make([]any, len(names))
			for i := range cells {
				to[i] = &cells[i]
			}
			must(rows.Scan(to...))
			row := map[string]*string{}
			for i, c := range cells {
				if row[names[i]] = nil; c.Valid {
					row[names[i]] = &c.String
				}
			}
			want = append(want, row)
		}
		must(rows.Err())
		sameTexts(t, captureRows(t, path, "target", "now"), want)
	})
}

// A capture ends at a position as the log and as the server say it; what is none
// is refused before anything is made.
func TestCaptureEndsAtAPosition(t *testing.T) {
	legacy := servertest.PostgresDatabase(t)
	target, database := servertest.MariaDBDatabase(t)
	path := writeMigration(t, fmt.Sprintf(typesMigration, database), legacy, target)
	pg, err := sql.Open("pgx", legacy)
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Close()
	maria, err := sql.Open("mysql", target)
	if err != nil {
		t.Fatal(err)
	}
	defer maria.Close()
	for _, c := range []struct {
		side string
		db   *sql.DB
	}{{"legacy", pg}, {"target", maria}} {
		t.Run(c.side, func(t *testing.T) {
			run := func(q string) {
				t.Helper()
				if _, err := c.db.ExecContext(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
			run("create table things (id bigint primary key)")
			if c.side == "legacy" {
				run("alter table things replica identity full")
			}
			for _, bad := range []string{"tomorrow", "0/", "00000001000004D", "mariadb-bin"} {
				_, _, err := execute(soon(t), "capture", "-f", path, "--side", c.side, "--stdout", "--until", bad)
				if err == nil || !strings.Contains(err.Error(), "--until \""+bad+"\"") {
					t.Errorf("--until %s: %v", bad, err)
				}
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), "trueup-data", "stdout-"+c.side)); !os.IsNotExist(err) {
				t.Errorf("a bad position made a data directory: %v", err)
			}
			captureRows(t, path, c.side, "now")
			run("insert into things values (1)")
			servers := serverPosition(t, c.db, c.side)
			if rows := captureRows(t, path, c.side, servers); len(rows) != 1 {
				t.Errorf("until %s: %d rows, want what was inserted before it", servers, len(rows))
			}
			run("insert into things values (2)")
			if rows := captureRows(t, path, c.side, "0000000000000001"); len(rows) > 1 {
				t.Errorf("until a position that was passed: %d rows", len(rows))
			}
		})
	}
}

// serverPosition is where a server is now, as it says it.
func serverPosition(t *testing.T, db *sql.DB, side string) (pos string) {
	t.Helper()
	if side == "legacy" {
		if err := db.QueryRowContext(t.Context(), "select pg_current_wal_lsn()::text").Scan(&pos); err != nil {
			t.Fatal(err)
		}
		return pos
	}
	var offset int
	var skip sql.RawBytes
	rows, err := db.QueryContext(t.Context(), "show master status")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatalf("the server has no binlog: %v", rows.Err())
	}
	if err := rows.Scan(&pos, &offset, &skip, &skip); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", pos, offset)
}

func sameTexts(t *testing.T, got map[string]schemas.Row, want []map[string]*string) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%d rows captured, %d in the table", len(got), len(want))
	}
	for _, row := range want {
		for name, text := range row {
			c, ok := got[*row["id"]].Get(name)
			switch {
			case !ok:
				t.Errorf("row %s: column %s was not captured", *row["id"], name)
			case text == nil && c.Presence != schemas.Null, text != nil && (c.Presence != schemas.Value || c.Text != *text):
				t.Errorf("row %s column %s: captured %+v, the server says %s", *row["id"], name, c, show(text))
			}
		}
	}
}

func show(text *string) string {
	if text == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *text)
}
