package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/compensate/compensatetest"
	"github.com/trueup-io/trueup/compensate/postgres"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

func update(id string, table compensate.Table, expect, set schemas.Row) schemas.Compensation {
	c := schemas.Compensation{ID: id, DivergenceID: "d-" + id, Entity: table.Entity, Key: []string{"1"}, Side: schemas.Target,
		Schema: table.Schema, Table: table.Name, Statement: schemas.UpdateRow, Expect: expect, Set: set}
	row := expect
	if expect == nil {
		c.Statement, row = schemas.InsertRow, set
	}
	key, _ := row.Get("id")
	c.KeyColumns = schemas.Row{key}
	return c
}

func must(t *testing.T, e *engine, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := e.admin.Exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func open(t *testing.T, e *engine, table compensate.Table) compensatetest.Applier {
	t.Helper()
	a := e.Open(t, e.Address(), compensate.Tables{table}, compensatetest.Options{})
	if err := a.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func apply(t *testing.T, a compensate.Applier, c schemas.Compensation, want schemas.Result) schemas.Outcome {
	t.Helper()
	out, err := a.Apply(t.Context(), c)
	if err != nil || out.Result != want {
		t.Fatalf("apply %s: %s %q, %v; want %s", c.ID, out.Result, out.Detail, err, want)
	}
	return out
}

var orders = compensate.Table{Entity: "order", Schema: "public", Name: "orders", Key: []string{"id"}, Columns: []string{"id", "v"}}

func col(name, text string) schemas.Column { return schemas.Column{Name: name, Text: text} }

// TestI27_TagReachesTheLog: "applier's own writes are recognised": the id stands in
// the transaction's log, before the row.
func TestI27_TagReachesTheLog(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text)", "INSERT INTO orders VALUES (1, 'a')",
		"SELECT pg_create_logical_replication_slot('seen_"+strings.TrimPrefix(e.dsn.Path, "/")+"', 'test_decoding')")
	a := open(t, e, orders)
	apply(t, a, update("c-1", orders, e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "b")}), schemas.Applied)
	rows, err := e.admin.Rows("SELECT data FROM pg_logical_slot_get_changes('seen_" + strings.TrimPrefix(e.dsn.Path, "/") + "', NULL, NULL)")
	if err != nil {
		t.Fatal(err)
	}
	var log []string
	for _, r := range rows {
		log = append(log, r[0])
	}
	text := strings.Join(log, "\n")
	tag := strings.Index(text, `transactional: 1 prefix: trueup, sz: 25 content:{"compensation_id":"c-1"}`)
	if row := strings.Index(text, "table public.orders: UPDATE"); tag < 0 || row < tag {
		t.Fatalf("no tag before the row:\n%s", text)
	}
}

// TestIdentity: a value of GENERATED ALWAYS AS IDENTITY is written as it is.
func TestIdentity(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)")
	a := open(t, e, orders)
	apply(t, a, update("c-1", orders, nil, schemas.Row{col("id", "42"), col("v", "a")}), schemas.Applied)
	if row := e.Row(t, "orders", "id = 42"); row == nil {
		t.Fatal("no row")
	}
}

// TestKeyIndex: a repair is a look-up by the key's index, whatever the key's type.
func TestKeyIndex(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE EXTENSION citext", "CREATE DOMAIN code AS varchar(20)", "CREATE TYPE mood AS ENUM ('a', 'b')", "SET enable_seqscan = off")
	for typ, value := range map[string]string{"int": "1", "bigint": "1", "numeric(10,2)": "1.00", "text": "1", "varchar(20)": "1", "char(4)": "1   ",
		"uuid": "123e4567-e89b-12d3-a456-426655440000", "citext": "Ab", "code": "1", "mood": "a", "timestamptz": "2026-01-02 03:04:05+00", "bytea": `\x00ff`} {
		must(t, e, "DROP TABLE IF EXISTS orders", "CREATE TABLE orders (id "+typ+" PRIMARY KEY, v text)")
		c := update("c-1", orders, schemas.Row{col("id", value), col("v", "a")}, schemas.Row{col("v", "b")})
		plan, err := postgres.Explain(t.Context(), e.admin.conn, orders, &c)
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		if !strings.Contains(plan, "Index Cond") {
			t.Errorf("%s: no look-up by index:\n%s", typ, plan)
		}
	}
}

// TestTriggers: those of the table run, and find what they found before.
func TestTriggers(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text)", "CREATE TABLE audit (v text)", "INSERT INTO orders VALUES (1, 'a')",
		`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.v); RETURN NEW; END $$`,
		"CREATE TRIGGER note BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note()")
	apply(t, open(t, e, orders), update("c-1", orders, e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "b")}), schemas.Applied)
	if rows, err := e.admin.Rows("SELECT v FROM audit"); err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
}

// TestDeferred: a constraint that is looked at only at COMMIT is heard as well.
func TestDeferred(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text UNIQUE DEFERRABLE INITIALLY DEFERRED)", "INSERT INTO orders VALUES (1, 'a'), (2, 'b')")
	a := open(t, e, orders)
	if out, err := a.Apply(t.Context(), update("c-1", orders, e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "b")})); !errors.Is(err, compensate.ErrUnique) {
		t.Fatalf("%+v, %v", out, err)
	}
	apply(t, a, update("c-2", orders, nil, schemas.Row{col("id", "3"), col("v", "b")}), schemas.PreconditionFailed)
	apply(t, a, update("c-3", orders, nil, schemas.Row{col("id", "3"), col("v", "c")}), schemas.Applied)
}

// TestPartitioned: a partitioned table is written like any other.
func TestPartitioned(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
		"CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (100)", "INSERT INTO orders VALUES (1, 'a')")
	apply(t, open(t, e, orders), update("c-1", orders, e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "b")}), schemas.Applied)
}

// TestRights: what is missing is said with the SQL that mends it, and with that the
// least privileged user can work.
func TestRights(t *testing.T) {
	e := newEngine(t)
	role := "applier_" + strings.TrimPrefix(e.dsn.Path, "/")
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text)", "INSERT INTO orders VALUES (1, 'a')", "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { must(t, e, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	poor := *e.dsn
	poor.User = url.User(role)
	a, err := postgres.Open(postgres.Config{DSN: poor.String(), Side: schemas.Target, Tables: compensate.Tables{orders}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for what, look := range map[string]func(context.Context) error{"prepared": a.Prepare, "ready": a.Ready} {
		err = look(t.Context())
		if err == nil {
			t.Fatalf("%s without rights", what)
		}
		for _, want := range []string{"CREATE TABLE IF NOT EXISTS trueup.ledger", "GRANT USAGE ON SCHEMA trueup TO " + role,
			`GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."orders" TO ` + role} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no word of %q in:\n%v", what, want, err)
			}
		}
	}
	must(t, e, "CREATE SCHEMA trueup", "GRANT USAGE, CREATE ON SCHEMA trueup TO "+role, "GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO "+role)
	if err := a.Ready(t.Context()); err != nil {
		t.Errorf("the ledger can be made: %v", err)
	}
	must(t, e, "SELECT 1 / (pg_catalog.to_regclass('trueup.ledger') IS NULL)::int", "REVOKE CREATE ON SCHEMA trueup FROM "+role)
	if err := a.Ready(t.Context()); err == nil {
		t.Error("ready though the ledger is not there and cannot be made")
	}
	if excess, err := a.Excess(t.Context()); err != nil || excess != nil {
		t.Errorf("too many rights: %v, %v", excess, err)
	}
	must(t, e, postgres.LedgerSQL, fmt.Sprintf("GRANT USAGE ON SCHEMA trueup TO %[1]s; GRANT SELECT, INSERT ON trueup.ledger TO %[1]s; GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO %[1]s", role))
	for _, look := range []func(context.Context) error{a.Ready, a.Prepare} {
		if err := look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, a, update("c-1", orders, e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "b")}), schemas.Applied)
}

// TestExcess: "a login with only the rights it needs, refused if it has more": what
// is too much is listed, each with the SQL that takes it away, and with that done
// nothing is left.
func TestExcess(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text)", "CREATE TABLE other (id int)", postgres.LedgerSQL)
	dsn, err := url.Parse(servertest.PostgresApplier(t, e.dsn.String(), "orders"))
	if err != nil {
		t.Fatal(err)
	}
	role := dsn.User.Username()
	must(t, e, "GRANT USAGE ON SCHEMA trueup TO "+role+"; GRANT SELECT, INSERT ON trueup.ledger TO "+role)
	excess := func(captures bool, dsn *url.URL) (rights, remedies []string) {
		t.Helper()
		a, err := postgres.Open(postgres.Config{DSN: dsn.String(), Side: schemas.Target, Tables: compensate.Tables{orders}, Captures: captures})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		found, err := a.Excess(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range found {
			rights, remedies = append(rights, x.Right), append(remedies, x.Remedy)
		}
		return rights, remedies
	}
	if rights, _ := excess(false, dsn); rights != nil {
		t.Errorf("with what it needs: %q", rights)
	}
	must(t, e, "ALTER ROLE "+role+" CREATEDB REPLICATION; GRANT pg_read_all_data, pg_monitor TO "+role,
		"GRANT UPDATE ON trueup.ledger TO "+role+"; GRANT TRUNCATE ON orders TO "+role+"; GRANT INSERT, DELETE ON other TO "+role)
	rights, remedies := excess(false, dsn)
	if got := strings.Join(rights, "; "); got != "CREATEDB; REPLICATION; member of pg_monitor; member of pg_read_all_data; TRUNCATE ON public.orders; "+
		"INSERT, DELETE ON public.other; UPDATE ON trueup.ledger" {
		t.Errorf("excess %s", got)
	}
	if rights, _ := excess(true, dsn); strings.Contains(fmt.Sprint(rights), "REPLICATION") || strings.Contains(fmt.Sprint(rights), "pg_monitor") {
		t.Errorf("what capture needs is refused: %q", rights)
	}
	must(t, e, remedies...)
	if rights, _ := excess(false, dsn); rights != nil {
		t.Errorf("after the remedies: %q", rights)
	}
	must(t, e, "ALTER TABLE orders OWNER TO "+role)
	if rights, _ := excess(false, dsn); fmt.Sprint(rights) != "[owner of public.orders]" {
		t.Errorf("an owner: %q", rights)
	}
	must(t, e, "ALTER TABLE orders OWNER TO current_user")
	if rights, remedies := excess(true, e.dsn); len(rights) == 0 || rights[0] != "SUPERUSER" || !strings.HasSuffix(remedies[0], " NOSUPERUSER;") {
		t.Errorf("a superuser: %q %q", rights, remedies)
	}
}

// TestForeignLedger: a table of that name that is not ours is not written to.
func TestForeignLedger(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text)", "CREATE SCHEMA trueup; CREATE TABLE trueup.ledger (compensation_id text)")
	a := e.Open(t, e.Address(), compensate.Tables{orders}, compensatetest.Options{})
	if err := a.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Fatal(err)
	}
}
