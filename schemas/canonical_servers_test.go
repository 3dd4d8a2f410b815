package schemas_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// typePair is a canonical type and a column of it in PostgreSQL and in MySQL
// or MariaDB.
type typePair struct {
	declared string
	postgres string
	mysql    string
	// values are written to both; where the stores spell a value differently, PostgreSQL's spelling, a bar, MySQL's.
	values []string
	only   schemas.Driver // empty: both
}

var typePairs = []typePair{
	{"type: integer", "bigint", "bigint", []string{"0", "-1", "9223372036854775807", "-9223372036854775808"}, ""},
	{"type: integer", "numeric(20)", "bigint unsigned", []string{"18446744073709551615"}, ""},
	{"type: integer", "integer", "int(9) zerofill", []string{"42", "0"}, ""},
	{"type: integer", "smallint", "year", []string{"2026", "1901"}, ""},
	{"type: boolean", "boolean", "tinyint(1)", []string{"t|1", "f|0"}, ""},
	{"type: boolean", "boolean", "char(1)", []string{"t|Y", "f|N"}, ""},
	{"type: decimal, scale: 4", "numeric(20,4)", "decimal(20,4)", []string{"10.5", "-0.0", "0.0001", "9999999999999999.9999", "-1"}, ""},
	{"type: decimal, scale: 2", "numeric", "decimal(12,2)", []string{"1.10", "1.1", "1.1000", "-0"}, ""},
	{"type: float", "double precision", "double", []string{"0.1", "1e-7", "1.7976931348623157e308", "123456789.125", "1e21", "5e-324", "-2.5"}, ""},
	{"type: float", "real", "float", []string{"0.1", "3.5", "-1024"}, ""},
	{"type: text", "text", "text", []string{"Abc", "x ", "", "😀", "é", "e\u0301", "a\\b'\"\n\t", "NULL"}, ""},
	{"type: text", "varchar(10)", "varchar(10)", []string{"a  ", "ß"}, ""},
	{"type: enum", "text", "enum('new','sent')", []string{"new", "sent"}, ""},
	{"type: enum", "text", "set('a','b','c')", []string{"a,c", ""}, ""},
	{"type: bytes", "bytea", "varbinary(20)", []string{`\x`, `\x00ff10`, `\x20`}, ""},
	{"type: bytes", "bytea", "blob", []string{`\x5c78`}, ""},
	{"type: uuid", "uuid", "char(36)", []string{"0190b1c2-7d3e-7a4b-8c5d-9e0f1a2b3c4d"}, ""},
	{"type: uuid", "uuid", "uuid", []string{"0190b1c2-7d3e-7a4b-8c5d-9e0f1a2b0000"}, schemas.MariaDB},
	{"type: date", "date", "date", []string{"2026-11-23", "0001-01-01", "0999-05-06", "9999-12-31", "2024-02-29"}, ""},
	{"type: time, precision: 3", "time(3)", "time(3)", []string{"10:00:00.5", "23:59:59.999", "00:00:00", "24:00:00"}, ""},
	{"type: time, precision: 0", "time", "time", []string{"10:00:00.4", "10:00:00.5", "10:00:00.6", "10:59:59.9"}, ""},
	{"type: timestamp, precision: 3", "timestamptz", "datetime(3)", []string{"2026-11-23 10:00:00.123456", "2026-11-23 10:00:00.1235", "2026-12-31 23:59:59.9996", "2001-01-01 00:00:00.0004"}, ""},
	{"type: timestamp, precision: 6", "timestamp", "timestamp(6)", []string{"2026-11-23 10:00:00.000001", "1999-12-31 23:59:59.999999"}, ""},
	{"type: timestamp, precision: 0", "timestamptz", "datetime", []string{"2026-11-23 10:00:00", "2026-11-23 10:00:00.5", "0001-01-01 00:00:00", "9999-12-31 23:59:59"}, ""},
	{"type: json", "jsonb", "json", []string{`{"b": 1.10, "aa": [1, 2, {"c": null}], "é": "\u00e9\n"}`, `[]`, `"x"`, `1e2`, `0.1`, `9007199254740993`, `{"z":1,"y":{}}`}, ""},
	{"type: array, of: integer", "integer[]", "json", []string{"{1,2,NULL}|[1, 2, null]", "{}|[]", "{{1,2},{3,4}}|[[1,2],[3,4]]"}, ""},
	{"type: array, of: text", "text[]", "json", []string{`{"a b","NULL",NULL,"\"\\"}|["a b","NULL",null,"\"\\"]`}, ""},
}

// "No false positive if values are canonically equal": what the same literal
// becomes in both stores is equal, digits that one has no room for included;
// and what is written to the other store to make it equal makes it equal.
func TestI12_TypePairsOfRealServers(t *testing.T) {
	postgres := connectPostgres(t)
	for driver, open := range map[schemas.Driver]func(testing.TB) (string, string){schemas.MariaDB: servertest.MariaDBDatabase, schemas.MySQL: servertest.MySQLDatabase} {
		t.Run(string(driver), func(t *testing.T) {
			dsn, _ := open(t)
			db, err := sql.Open("mysql", dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1) // the session below is set on it
			if _, err := db.ExecContext(t.Context(), "set time_zone = '+00:00', sql_mode = concat(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"); err != nil {
				t.Fatal(err)
			}
			values := 0
			for i, p := range typePairs {
				if p.only != "" && p.only != driver {
					continue
				}
				table := fmt.Sprintf("%s_%d", driver, i)
				e := pairEntity(t, driver, p.declared)
				createBoth(t, postgres, db, table, p)
				for id, value := range p.values {
					p.check(t, postgres, db, e, table, id, value)
					values++
				}
			}
			if values < 60 {
				t.Errorf("only %d values were compared", values)
			}
		})
	}
}

// pairEntity maps a column v of a PostgreSQL to one of another store.
func pairEntity(t *testing.T, target schemas.Driver, declared string) *schemas.Entity {
	t.Helper()
	m, err := schemas.ParseMigration(fmt.Appendf(nil, `apiVersion: trueup/v1
kind: Migration
metadata: {name: pairs}
stores:
  legacy: {driver: postgres, dsn: "env:A"}
  target: {driver: %s, dsn: "env:B"}
entities:
  - {name: e, key: [id], legacy: {table: t}, target: {table: d.t}, fields: {id: {type: integer}, v: {%s}}}
`, target, declared), "pairs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules.Entities()[0]
}

func connectPostgres(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), servertest.PostgresDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if _, err := conn.Exec(t.Context(), "set timezone = 'UTC'; set datestyle = 'ISO'; set extra_float_digits = 3; set bytea_output = 'hex'"); err != nil {
		t.Fatal(err)
	}
	return conn
}

func createBoth(t *testing.T, postgres *pgx.Conn, db *sql.DB, table string, p typePair) {
	t.Helper()
	if _, err := postgres.Exec(t.Context(), fmt.Sprintf("create table %s (id int primary key, v %s)", table, p.postgres)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("create table %s (id int primary key, v %s) character set utf8mb4", table, p.mysql)); err != nil {
		t.Fatalf("%s: %v", p.mysql, err)
	}
}

func (p typePair) check(t *testing.T, postgres *pgx.Conn, db *sql.DB, e *schemas.Entity, table string, id int, value string) {
	t.Helper()
	forPostgres, forMySQL, differ := strings.Cut(value, "|")
	if !differ {
		forMySQL = forPostgres
	}
	legacy := p.viaPostgres(t, postgres, table, id, forPostgres)
	target := p.viaMySQL(t, db, table, id, forMySQL)
	img := e.Image(schemas.Legacy, legacy)
	if len(img.Schema)+len(img.Unrepresentable) > 0 {
		t.Errorf("%s %s: %q is %+v: %q", p.declared, p.postgres, legacy[1].Text, img, e.Problems(schemas.Legacy, legacy))
	}
	if !e.Equal(img, e.Image(schemas.Target, target)) {
		t.Errorf("%s: %q in %s is %q and in %s is %q", p.declared, value, p.postgres, legacy[1].Text, p.mysql, target[1].Text)
		return
	}
	written, err := e.Columns(schemas.Target, e.Values(schemas.Legacy, legacy))
	if err != nil {
		t.Errorf("%s: %v", p.declared, err)
		return
	}
	if p.mysql == "char(1)" {
		return // Y and N are read, and true is written as 1
	}
	again := p.viaMySQL(t, db, table, id+1000, written[1].Text)
	again[0] = target[0]
	if !e.Equal(img, e.Image(schemas.Target, again)) {
		t.Errorf("%s: %q is written to %s as %q, and read back as %q", p.declared, legacy[1].Text, p.mysql, written[1].Text, again[1].Text)
	}
	back, err := e.Columns(schemas.Legacy, e.Values(schemas.Target, again))
	if err != nil {
		t.Errorf("%s: %v", p.declared, err)
		return
	}
	home := p.viaPostgres(t, postgres, table, id+1000, back[1].Text)
	home[0] = legacy[0]
	if !e.Equal(img, e.Image(schemas.Legacy, home)) {
		t.Errorf("%s: %q is written back to %s as %q, and read as %q", p.declared, legacy[1].Text, p.postgres, back[1].Text, home[1].Text)
	}
}

// viaPostgres writes a value and returns the row in the server's own text.
func (p typePair) viaPostgres(t *testing.T, conn *pgx.Conn, table string, id int, value string) schemas.Row {
	t.Helper()
	literal := "'" + strings.ReplaceAll(value, "'", "''") + "'"
	results, err := conn.PgConn().Exec(t.Context(), fmt.Sprintf("insert into %s values (%d, %s) returning id, v", table, id, literal)).ReadAll()
	if err != nil {
		t.Fatalf("%s %q: %v", p.postgres, value, err)
	}
	return schemas.Row{{Name: "id", Text: string(results[0].Rows[0][0])}, {Name: "v", Text: string(results[0].Rows[0][1])}}
}

// viaMySQL writes a value and returns the row in the server's own text, bytes
// as capture ships them.
func (p typePair) viaMySQL(t *testing.T, db *sql.DB, table string, id int, value string) schemas.Row {
	t.Helper()
	binary := strings.Contains(p.mysql, "binary") || p.mysql == "blob"
	var bound any = value
	if binary {
		b, err := hex.DecodeString(strings.TrimPrefix(value, `\x`))
		if err != nil {
			t.Fatal(err)
		}
		bound = b
	}
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("insert into %s values (%d, ?)", table, id), bound); err != nil {
		t.Fatalf("%s %q: %v", p.mysql, value, err)
	}
	var key, v sql.RawBytes
	rows, err := db.QueryContext(t.Context(), fmt.Sprintf("select id, v from %s where id = %d", table, id)) // no arguments: the text protocol
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatalf("%s %q is not there: %v", p.mysql, value, rows.Err())
	}
	if err := rows.Scan(&key, &v); err != nil {
		t.Fatal(err)
	}
	text := string(v)
	if binary {
		text = `\x` + hex.EncodeToString(v)
	}
	return schemas.Row{{Name: "id", Text: string(key)}, {Name: "v", Text: text}}
}
