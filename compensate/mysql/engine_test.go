package mysql_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/compensate/compensatetest"
	"github.com/trueup-io/trueup/compensate/mysql"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestApplier(t *testing.T) {
	compensatetest.Exercise(t, func(t testing.TB) compensatetest.Engine { return newEngine(t) })
}

// TestApplierOfMySQL is the suite on MySQL 8.0, but for the long parts, which ask
// more of the applier than of the server.
func TestApplierOfMySQL(t *testing.T) {
	compensatetest.Exercise(t, func(t testing.TB) compensatetest.Engine {
		dsn, _ := servertest.MySQLDatabase(t)
		e := engineOf(t, dsn)
		e.mysql8 = true
		return e
	}, "Races", "Crashes")
}

// engine is a fresh database.
type engine struct {
	conf   *driver.Config
	admin  *session
	mysql8 bool
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	dsn, _ := servertest.MariaDBDatabase(t)
	return engineOf(t, dsn)
}

func engineOf(t testing.TB, dsn string) *engine {
	t.Helper()
	conf, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conf.Collation = "utf8mb4_general_ci"
	conf.Params = map[string]string{"time_zone": "'+00:00'"}
	e := &engine{conf: conf}
	e.admin = e.Session(t).(*session)
	return e
}

func (e *engine) Schema() string           { return e.conf.DBName }
func (e *engine) Address() string          { return e.conf.Addr }
func (e *engine) Ledger() string           { return "trueup_ledger" }
func (e *engine) Quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func (e *engine) Session(t testing.TB) compensatetest.Session {
	t.Helper()
	db, err := sql.Open("mysql", e.conf.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Close(), db.Close() })
	return &session{conn}
}

func (e *engine) Open(t testing.TB, address string, tables compensate.Tables, o compensatetest.Options) compensatetest.Applier {
	t.Helper()
	conf := e.conf.Clone()
	conf.Addr = address
	a, err := mysql.Open(mysql.Config{DSN: conf.FormatDSN(), Side: schemas.Target, Tables: tables,
		LockTimeout: o.LockTimeout, StatementTimeout: o.StatementTimeout, Attempts: o.Attempts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return a
}

// Row is what the text protocol gives, with bytes in the form that capture ships.
func (e *engine) Row(t testing.TB, table, where string) schemas.Row {
	t.Helper()
	shape, err := e.admin.conn.QueryContext(t.Context(), "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		t.Fatal(err)
	}
	types, err := shape.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	if err := shape.Close(); err != nil {
		t.Fatal(err)
	}
	// CONCAT keeps the driver from making numbers of the server's text.
	var texts []string
	for _, typ := range types {
		texts = append(texts, "CONCAT("+e.Quote(typ.Name())+")")
	}
	rows, err := e.admin.conn.QueryContext(t.Context(), "SELECT "+strings.Join(texts, ", ")+" FROM "+table+" WHERE "+where)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var row schemas.Row
	for rows.Next() {
		if row != nil {
			t.Fatalf("several rows of %s where %s", table, where)
		}
		values := make([]sql.RawBytes, len(types))
		into := make([]any, len(types))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for i, value := range values {
			col := schemas.Column{Name: types[i].Name(), Presence: schemas.Null}
			if value != nil {
				col.Text, col.Presence = string(value), schemas.Value
				if slices.Contains([]string{"BINARY", "VARBINARY", "BLOB", "BIT", "GEOMETRY"}, types[i].DatabaseTypeName()) {
					col.Text = `\x` + hex.EncodeToString(value)
				}
			}
			row = append(row, col)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return row
}

const waiters = `FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'`

func (e *engine) Waiting(t testing.TB) {
	t.Helper()
	for {
		rows, err := e.admin.Rows("SELECT trx_mysql_thread_id " + waiters)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) > 0 {
			return
		}
		time.Sleep(120 * time.Millisecond) //nolint:forbidigo // another process, which renews that table when it was not read for 0.1 s
	}
}

func (e *engine) KillWaiting(t testing.TB) {
	t.Helper()
	rows, err := e.admin.Rows("SELECT trx_mysql_thread_id " + waiters)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if err := e.admin.Exec("KILL " + rows[0][0]); err != nil {
		t.Fatal(err)
	}
}

func (e *engine) Slow(t testing.TB, table string, seconds int) bool {
	t.Helper()
	if e.mysql8 {
		return false
	}
	if err := e.admin.Exec(fmt.Sprintf("CREATE TRIGGER slow BEFORE UPDATE ON %s FOR EACH ROW DO SLEEP(%d)", table, seconds)); err != nil {
		t.Fatal(err)
	}
	return true
}

// Commits looks for the statement, which is sent by itself.
func (e *engine) Commits(request []byte) bool { return bytes.HasSuffix(request, []byte("COMMIT")) }

func (e *engine) Counted(t testing.TB, table string) {
	t.Helper()
	statements := []string{"CREATE TABLE effects (id int, op text)"}
	for op, row := range map[string]string{"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"} {
		statements = append(statements, fmt.Sprintf("CREATE TRIGGER counted_%s AFTER %s ON %s FOR EACH ROW INSERT INTO effects VALUES (%s.id, '%s')",
			op, op, table, row, op))
	}
	for _, sql := range statements {
		if err := e.admin.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
}

// mariadbOnly are types that MySQL does not have, and JSON, which it keeps in a form
// of its own.
var mariadbOnly = []string{"uuid", "inet6", "json"}

func (e *engine) Types() []compensatetest.Type {
	return slices.DeleteFunc(types(), func(typ compensatetest.Type) bool { return e.mysql8 && slices.Contains(mariadbOnly, typ.Name) })
}

func types() []compensatetest.Type {
	return []compensatetest.Type{
		{Name: "varchar case", Column: "varchar(9)", Value: "'abc'", Near: "'Abc'"},
		{Name: "varchar blank", Column: "varchar(9)", Value: "'x'", Near: "'x '"},
		{Name: "varchar empty", Column: "varchar(9)", Value: "''", Near: "' '"},
		{Name: "varchar accent", Column: "varchar(9)", Value: "'é'", Near: "'e'"},
		{Name: "varchar composed", Column: "varchar(9) COLLATE utf8mb4_unicode_ci", Value: "_utf8mb4 x'C3A9'", Near: "_utf8mb4 x'65CC81'"},
		{Name: "varchar four bytes", Column: "varchar(9)", Value: "'🎈'", Near: "'🎉'"},
		{Name: "varchar nul", Column: "varchar(9)", Value: "_utf8mb4 x'6100'", Near: "'a'"},
		{Name: "varchar backslash", Column: "varchar(9)", Value: `'\\''"'`, Near: `'''"'`},
		{Name: "latin1", Column: "varchar(9) CHARACTER SET latin1", Value: "'é'", Near: "'É'"},
		{Name: "latin1 case", Column: "varchar(9) CHARACTER SET latin1", Value: "'a'", Near: "'A '"},
		{Name: "utf16", Column: "varchar(9) CHARACTER SET utf16", Value: "'aé'", Near: "'AE'"},
		{Name: "char", Column: "char(9)", Value: "'ab'", Near: "'aB'"},
		{Name: "text", Column: "longtext", Value: "'ab'", Near: "'ab '"},
		{Name: "binary collation", Column: "varchar(9) COLLATE utf8mb4_bin", Value: "'ab'", Near: "'ab '"},
		{Name: "json", Column: "json", Value: `'{"a": 1}'`, Near: `'{"a":1}'`},
		{Name: "enum", Column: "enum('glad','Sad b')", Value: "'glad'", Near: "'Sad b'"},
		{Name: "set", Column: "set('a','b')", Value: "'a,b'", Near: "'a'"},
		{Name: "set empty", Column: "set('a','b')", Value: "'a'", Near: "''"},
		{Name: "binary", Column: "binary(4)", Value: "x'61620000'", Near: "x'61620001'"},
		{Name: "varbinary", Column: "varbinary(9)", Value: "x'00ff'", Near: "x'00ff00'"},
		{Name: "varbinary blank", Column: "varbinary(9)", Value: "'x'", Near: "'x '"},
		{Name: "blob", Column: "blob", Value: "x'ff'", Near: "x'fe'"},
		{Name: "blob empty", Column: "longblob", Value: "x''", Near: "x'00'"},
		{Name: "point", Column: "point", Value: "point(1,2)", Near: "point(1,2.0000000000000004)"},
		{Name: "geometry", Column: "geometry", Value: "point(1,2)", Near: "linestring(point(1,2),point(1,3))"},
		{Name: "bit", Column: "bit(10)", Value: "b'1000000001'", Near: "b'1000000000'"},
		{Name: "bit of 64", Column: "bit(64)", Value: "~0", Near: "~1"},
		{Name: "tinyint", Column: "tinyint(1)", Value: "1", Near: "2"},
		{Name: "bigint", Column: "bigint", Value: "9007199254740993", Near: "9007199254740992"},
		{Name: "bigint unsigned", Column: "bigint unsigned", Value: "18446744073709551615", Near: "18446744073709551614"},
		{Name: "zerofill", Column: "int(5) zerofill", Value: "42", Near: "43"},
		{Name: "decimal", Column: "decimal(65,30)", Value: "0.1", Near: "0.100000000000000000000000000001"},
		{Name: "float", Column: "float", Value: "0.1", Near: "0.2"},
		{Name: "double", Column: "double", Value: "0.1e0", Near: "0.10000000000000002e0"},
		{Name: "double great", Column: "double", Value: "1e300", Near: "1.0000000000000002e300"},
		{Name: "datetime", Column: "datetime(6)", Value: "'2026-01-02 03:04:05.000001'", Near: "'2026-01-02 03:04:05.000002'"},
		{Name: "datetime of milliseconds", Column: "datetime(3)", Value: "'2026-01-02 03:04:05.120'", Near: "'2026-01-02 03:04:05.121'"},
		{Name: "datetime zero", Column: "datetime", Value: "'9999-12-31 23:59:59'", Near: "'1000-01-01 00:00:00'"},
		{Name: "timestamp", Column: "timestamp(6) NULL", Value: "'2026-03-29 02:30:00.5'", Near: "'2026-03-29 02:30:00.500001'"},
		{Name: "date", Column: "date", Value: "'2026-01-02'", Near: "'2026-01-03'"},
		{Name: "time", Column: "time(6)", Value: "'-838:59:59'", Near: "'838:59:59'"},
		{Name: "year", Column: "year", Value: "2026", Near: "1970"},
		{Name: "uuid", Column: "uuid", Value: "'123e4567-e89b-12d3-a456-426655440000'", Near: "'123e4567-e89b-12d3-a456-426655440001'"},
		{Name: "inet6", Column: "inet6", Value: "'::1'", Near: "'::ffff:0.0.0.1'"},
	}
}

type session struct{ conn *sql.Conn }

func (s *session) Exec(sql string) error {
	_, err := s.conn.ExecContext(context.Background(), sql)
	return err
}

func (s *session) Rows(query string) ([][]string, error) {
	rows, err := s.conn.QueryContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out [][]string
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make([]string, len(names))
		for i, v := range values {
			if row[i] = v.String; !v.Valid {
				row[i] = "NULL"
			}
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

func TestI24_KilledAtEverySite(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v int)")
	e.Counted(t, "orders")
	compensatetest.KillAtEverySite(t, e, "mariadb", servertest.MariaDBApplier(t, e.conf.FormatDSN(), "orders"), "mysql.")
}
