package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/compensate/compensatetest"
	"github.com/trueup-io/trueup/compensate/postgres"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestApplier(t *testing.T) {
	compensatetest.Exercise(t, func(t testing.TB) compensatetest.Engine { return newEngine(t) })
}

// engine is a fresh database.
type engine struct {
	dsn   *url.URL
	admin *session
	texts *session // with the settings that capture reads with
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	dsn, err := url.Parse(servertest.PostgresDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{dsn: dsn}
	e.admin = e.Session(t).(*session)
	e.texts = e.Session(t).(*session)
	if err := e.texts.Exec(`SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET search_path = ''`); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *engine) Schema() string           { return "public" }
func (e *engine) Address() string          { return e.dsn.Host }
func (e *engine) Ledger() string           { return "trueup.ledger" }
func (e *engine) Quote(name string) string { return `"` + doubled(name) + `"` }

func doubled(name string) (out string) {
	for _, r := range name {
		if r == '"' {
			out += `"`
		}
		out += string(r)
	}
	return out
}

func (e *engine) Session(t testing.TB) compensatetest.Session {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), e.dsn.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	s := &session{conn}
	if err := s.Exec("SET synchronous_commit = off"); err != nil { // the application's own writes need not survive
		t.Fatal(err)
	}
	return s
}

func (e *engine) Open(t testing.TB, address string, tables compensate.Tables, o compensatetest.Options) compensatetest.Applier {
	t.Helper()
	dsn := *e.dsn
	dsn.Host = address
	a, err := postgres.Open(postgres.Config{DSN: dsn.String(), Side: schemas.Target, Tables: tables,
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

func (e *engine) Row(t testing.TB, table, where string) schemas.Row {
	t.Helper()
	r, err := e.texts.conn.Exec(t.Context(), "SELECT * FROM public."+table+" WHERE "+where).ReadAll()
	if err != nil || len(r[0].Rows) > 1 {
		t.Fatalf("row of %s: %v, %v", table, r, err)
	}
	if len(r[0].Rows) == 0 {
		return nil
	}
	row := make(schemas.Row, 0)
	for i, value := range r[0].Rows[0] {
		col := schemas.Column{Name: r[0].FieldDescriptions[i].Name, Presence: schemas.Null}
		if value != nil {
			col.Text, col.Presence = string(value), schemas.Value
		}
		row = append(row, col)
	}
	return row
}

const waiters = `FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`

func (e *engine) Waiting(t testing.TB) {
	t.Helper()
	for {
		rows, err := e.admin.Rows("SELECT pid " + waiters)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // another process
	}
}

func (e *engine) KillWaiting(t testing.TB) {
	t.Helper()
	if err := e.admin.Exec("SELECT pg_terminate_backend(pid) " + waiters); err != nil {
		t.Fatal(err)
	}
}

func (e *engine) Slow(t testing.TB, table string, seconds int) bool {
	t.Helper()
	if err := e.admin.Exec(fmt.Sprintf(`
		CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(%d); RETURN NEW; END $$;
		CREATE TRIGGER slow BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION take_time()`, seconds, table)); err != nil {
		t.Fatal(err)
	}
	return true
}

// Commits looks for the tag: it is sent with all of an update's transaction.
func (e *engine) Commits(request []byte) bool {
	return bytes.Contains(request, []byte(`{"compensation_id":`))
}

func (e *engine) Counted(t testing.TB, table string) {
	t.Helper()
	if err := e.admin.Exec(fmt.Sprintf(`
		CREATE TABLE effects (id int, op text);
		CREATE FUNCTION count_effect() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$ BEGIN
			INSERT INTO effects VALUES (coalesce(NEW.id, OLD.id), TG_OP); RETURN NULL; END $$;
		CREATE TRIGGER counted AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION count_effect()`, table)); err != nil {
		t.Fatal(err)
	}
}

func (e *engine) Types() []compensatetest.Type {
	return []compensatetest.Type{
		{Name: "text case", Column: "text", Value: `'abc'`, Near: `'Abc'`},
		{Name: "text blank", Column: "text", Value: `'x'`, Near: `'x '`},
		{Name: "text empty", Column: "text", Value: `''`, Near: `' '`},
		{Name: "text composed", Column: "text", Value: `U&'\00e9'`, Near: `U&'e\0301'`},
		{Name: "varchar", Column: "varchar(9)", Value: `'x'`, Near: `'x '`},
		{Name: "char padded", Column: "char(5)", Value: `'ab'`, Near: `'aB'`},
		{Name: "internal char", Column: `"char"`, Value: `'a'`, Near: `'b'`},
		{Name: "name", Column: `name`, Value: `'a'`, Near: `'A'`},
		{Name: "collation that ignores case", Column: "text COLLATE caseless", Value: `'abc'`, Near: `'ABC'`,
			Set: "CREATE COLLATION IF NOT EXISTS caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"},
		{Name: "citext", Column: "citext", Value: `'abc'`, Near: `'ABC'`, Set: "CREATE EXTENSION IF NOT EXISTS citext"},
		{Name: "boolean", Column: "boolean", Value: "true", Near: "false"},
		{Name: "bigint", Column: "bigint", Value: "9007199254740993", Near: "9007199254740992"},
		{Name: "numeric scale", Column: "numeric", Value: "1.10", Near: "1.1"},
		{Name: "numeric nan", Column: "numeric", Value: "'NaN'", Near: "'Infinity'"},
		{Name: "numeric fixed", Column: "numeric(12,4)", Value: "0.0001", Near: "0"},
		{Name: "float8", Column: "float8", Value: "0.1", Near: "0.10000000000000002"},
		{Name: "float8 zero", Column: "float8", Value: "0", Near: "'-0'"},
		{Name: "float4", Column: "float4", Value: "16777216", Near: "16777218"},
		{Name: "money", Column: "money", Value: "1.10", Near: "1.11"},
		{Name: "timestamptz", Column: "timestamptz", Value: "'2026-01-02 03:04:05.000001+02'", Near: "'2026-01-02 03:04:05.000002+02'"},
		{Name: "timestamp", Column: "timestamp", Value: "'2026-01-02 03:04:05.1'", Near: "'2026-01-02 03:04:05.10001'"},
		{Name: "timestamp infinity", Column: "timestamp", Value: "'infinity'", Near: "'294276-12-31 23:59:59.999999'"},
		{Name: "date bc", Column: "date", Value: "'0001-01-01 BC'", Near: "'0001-01-01'"},
		{Name: "time", Column: "time", Value: "'24:00:00'", Near: "'00:00:00'"},
		{Name: "timetz", Column: "timetz", Value: "'12:00:00+00'", Near: "'13:00:00+01'"},
		{Name: "interval", Column: "interval", Value: "'1 day'", Near: "'24 hours'"},
		{Name: "bytea", Column: "bytea", Value: `'\x00ff'`, Near: `'\x00ff00'`},
		{Name: "uuid", Column: "uuid", Value: "'123e4567-e89b-12d3-a456-426655440000'", Near: "'123e4567-e89b-12d3-a456-426655440001'"},
		{Name: "json", Column: "json", Value: `'{"a": 1}'`, Near: `'{"a":1}'`},
		{Name: "jsonb", Column: "jsonb", Value: `'{"a": 1.10}'`, Near: `'{"a": 1.1}'`},
		{Name: "json null", Column: "jsonb", Value: `'null'`, Near: `'{}'`},
		{Name: "xml", Column: "xml", Value: `'<a/>'`, Near: `'<a></a>'`},
		{Name: "array", Column: "int[]", Value: "'{1,2}'", Near: "'[0:1]={1,2}'"},
		{Name: "array null", Column: "text[]", Value: "'{NULL}'", Near: `'{"NULL"}'`},
		{Name: "inet", Column: "inet", Value: "'10.0.0.1'", Near: "'10.0.0.1/31'"},
		{Name: "cidr", Column: "cidr", Value: "'10.0.0.0/8'", Near: "'10.0.0.0/9'"},
		{Name: "bit", Column: "bit(5)", Value: "B'10101'", Near: "B'10100'"},
		{Name: "varbit", Column: "varbit", Value: "B'1'", Near: "B'10'"},
		{Name: "point", Column: "point", Value: "'(1,2)'", Near: "'(1,2.0000000000000004)'"},
		{Name: "range", Column: "int4range", Value: "'[1,2)'", Near: "'[1,3)'"},
		{Name: "multirange", Column: "int4multirange", Value: "'{[1,2)}'", Near: "'{}'"},
		{Name: "tsvector", Column: "tsvector", Value: "'a b'", Near: "'a:1 b'"},
		{Name: "enum", Column: "mood", Value: "'glad'", Near: "'Glad'",
			Set: "DO $$ BEGIN CREATE TYPE mood AS ENUM ('glad', 'Glad'); EXCEPTION WHEN duplicate_object THEN END $$"},
		{Name: "composite", Column: "pair", Value: "'(1,x)'", Near: "'(1,\"x \")'",
			Set: "DO $$ BEGIN CREATE TYPE pair AS (a int, b text); EXCEPTION WHEN duplicate_object THEN END $$"},
		{Name: "composite of nulls", Column: "pair", Value: "'(,)'", Near: `'(,"")'`},
		{Name: "regclass", Column: "regclass", Value: "'effects'", Near: "'pg_class'", Set: "CREATE TABLE IF NOT EXISTS effects ()"},
		{Name: "regtype", Column: "regtype", Value: "'int4'", Near: "'int8'"},
		{Name: "domain", Column: "short", Value: "'ab'", Near: "'AB'",
			Set: "DO $$ BEGIN CREATE DOMAIN short AS varchar(3) CHECK (length(VALUE) > 1); EXCEPTION WHEN duplicate_object THEN END $$"},
	}
}

type session struct{ conn *pgconn.PgConn }

func (s *session) Exec(sql string) error {
	_, err := s.conn.Exec(context.Background(), sql).ReadAll()
	return err
}

func (s *session) Rows(sql string) ([][]string, error) {
	results, err := s.conn.Exec(context.Background(), sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, row := range results[len(results)-1].Rows {
		var out []string
		for _, value := range row {
			if value == nil {
				out = append(out, "NULL")
				continue
			}
			out = append(out, string(value))
		}
		rows = append(rows, out)
	}
	return rows, nil
}

func TestI24_KilledAtEverySite(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v int)")
	e.Counted(t, "orders")
	compensatetest.KillAtEverySite(t, e, "postgres", servertest.PostgresApplier(t, e.dsn.String(), "orders"), "postgres.")
}
