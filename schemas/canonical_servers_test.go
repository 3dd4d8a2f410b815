package schemas_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/internal/typematrix"
	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { servertest.Main(m) }

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
			for i := range typematrix.Pairs {
				p := typePair{&typematrix.Pairs[i]}
				if p.Only != "" && p.Only != string(driver) {
					continue
				}
				table := fmt.Sprintf("%s_%d", driver, i)
				e := pairEntity(t, driver, p.As)
				createBoth(t, postgres, db, table, p)
				for id, value := range p.Values {
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

// typePair is a canonical type and a column of it in PostgreSQL and in MySQL
// or MariaDB.
type typePair struct{ *typematrix.Pair }

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
	if _, err := postgres.Exec(t.Context(), fmt.Sprintf("create table %s (id int primary key, v %s)", table, p.Postgres)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("create table %s (id int primary key, v %s) character set utf8mb4", table, p.MySQL)); err != nil {
		t.Fatalf("%s: %v", p.MySQL, err)
	}
}

func (p typePair) check(t *testing.T, postgres *pgx.Conn, db *sql.DB, e *schemas.Entity, table string, id int, value string) {
	t.Helper()
	forPostgres, forMySQL := typematrix.Written(value)
	legacy := p.viaPostgres(t, postgres, table, id, forPostgres)
	target := p.viaMySQL(t, db, table, id, forMySQL)
	img := e.Image(schemas.Legacy, legacy)
	if len(img.Schema)+len(img.Unrepresentable) > 0 {
		t.Errorf("%s %s: %q is %+v: %q", p.As, p.Postgres, legacy[1].Text, img, e.Problems(schemas.Legacy, legacy))
	}
	if !e.Equal(img, e.Image(schemas.Target, target)) {
		t.Errorf("%s: %q in %s is %q and in %s is %q", p.As, value, p.Postgres, legacy[1].Text, p.MySQL, target[1].Text)
		return
	}
	written, err := e.Columns(schemas.Target, e.Values(schemas.Legacy, legacy))
	if err != nil {
		t.Errorf("%s: %v", p.As, err)
		return
	}
	if p.MySQL == "char(1)" || p.MySQL == "binary(16)" {
		return // Y and N are read, and true is written as 1; 16 bytes are read, and a UUID is written as 36 characters
	}
	again := p.viaMySQL(t, db, table, id+1000, written[1].Text)
	again[0] = target[0]
	if !e.Equal(img, e.Image(schemas.Target, again)) {
		t.Errorf("%s: %q is written to %s as %q, and read back as %q", p.As, legacy[1].Text, p.MySQL, written[1].Text, again[1].Text)
	}
	back, err := e.Columns(schemas.Legacy, e.Values(schemas.Target, again))
	if err != nil {
		t.Errorf("%s: %v", p.As, err)
		return
	}
	home := p.viaPostgres(t, postgres, table, id+1000, back[1].Text)
	home[0] = legacy[0]
	if !e.Equal(img, e.Image(schemas.Legacy, home)) {
		t.Errorf("%s: %q is written back to %s as %q, and read as %q", p.As, legacy[1].Text, p.Postgres, back[1].Text, home[1].Text)
	}
}

// viaPostgres writes a value and returns the row in the server's own text.
func (p typePair) viaPostgres(t *testing.T, conn *pgx.Conn, table string, id int, value string) schemas.Row {
	t.Helper()
	literal := "'" + strings.ReplaceAll(value, "'", "''") + "'"
	results, err := conn.PgConn().Exec(t.Context(), fmt.Sprintf("insert into %s values (%d, %s) returning id, v", table, id, literal)).ReadAll()
	if err != nil {
		t.Fatalf("%s %q: %v", p.Postgres, value, err)
	}
	return schemas.Row{{Name: "id", Text: string(results[0].Rows[0][0])}, {Name: "v", Text: string(results[0].Rows[0][1])}}
}

// viaMySQL writes a value and returns the row in the server's own text, bytes
// as capture ships them.
func (p typePair) viaMySQL(t *testing.T, db *sql.DB, table string, id int, value string) schemas.Row {
	t.Helper()
	binary := p.Bytes()
	var bound any = value
	if binary {
		b, err := hex.DecodeString(strings.TrimPrefix(value, `\x`))
		if err != nil {
			t.Fatal(err)
		}
		bound = b
	}
	bits := strings.HasPrefix(p.MySQL, "bit(")
	place := "?"
	if bits {
		place = "cast(? as unsigned)"
	}
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("insert into %s values (%d, %s)", table, id, place), bound); err != nil {
		t.Fatalf("%s %q: %v", p.MySQL, value, err)
	}
	var key, v sql.RawBytes
	rows, err := db.QueryContext(t.Context(), fmt.Sprintf("select id, v from %s where id = %d", table, id)) // no arguments: the text protocol
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatalf("%s %q is not there: %v", p.MySQL, value, rows.Err())
	}
	if err := rows.Scan(&key, &v); err != nil {
		t.Fatal(err)
	}
	text := string(v)
	switch {
	case binary:
		text = `\x` + hex.EncodeToString(v)
	case bits:
		text = new(big.Int).SetBytes(v).String()
	}
	return schemas.Row{{Name: "id", Text: string(key)}, {Name: "v", Text: text}}
}
