package mysql_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/compensate/compensatetest"
	"github.com/trueup-io/trueup/compensate/mysql"
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

func orders(e *engine) compensate.Table {
	return compensate.Table{Entity: "order", Schema: e.Schema(), Name: "orders", Key: []string{"id"}, Columns: []string{"id", "v"}}
}

func col(name, text string) schemas.Column { return schemas.Column{Name: name, Text: text} }

// TestI27_TagReachesTheLog: "applier's own writes are recognised": the row of the
// ledger, from which capture takes the id, stands in the transaction's log; and who
// reads the binlog sees who wrote.
func TestI27_TagReachesTheLog(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text)", "INSERT INTO orders VALUES (1, 'a')")
	a := open(t, e, orders(e))
	for i, c := range []schemas.Compensation{
		update("up-1", orders(e), e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "b")}),
		update("in-1", orders(e), nil, schemas.Row{col("id", "2"), col("v", "b")}),
	} {
		apply(t, a, c, schemas.Applied)
		status, err := e.admin.Rows("SHOW MASTER STATUS")
		if err != nil {
			t.Fatal(err)
		}
		events, err := e.admin.Rows("SHOW BINLOG EVENTS IN '" + status[0][0] + "'")
		if err != nil {
			t.Fatal(err)
		}
		var txn []string // the texts of the last transaction
		for _, event := range events {
			if event[2] == "Gtid" {
				txn = nil
			}
			txn = append(txn, event[2]+" "+event[5])
		}
		text := strings.Join(txn, "\n")
		for _, want := range []string{"/* a repair by Trueup */", ".orders)", ".trueup_ledger)", c.ID, "Xid "} {
			if !strings.Contains(text, want) {
				t.Errorf("statement %d: the transaction has no %s:\n%s", i, want, text)
			}
		}
	}
}

// TestKeyIndex: a repair is a look-up by the key's index, whatever the key's type.
func TestKeyIndex(t *testing.T) {
	e := newEngine(t)
	for typ, value := range map[string]string{
		"int": "5", "bigint unsigned": "5", "decimal(20,2)": "5.00", "varchar(20)": "5", "varchar(20) CHARACTER SET latin1": "5",
		"varchar(20) COLLATE utf8mb4_bin": "5", "uuid": "00000000-0000-0000-0000-000000000005", "binary(16)": `\x00000000000000000000000000000005`,
		"datetime(3)": "2026-01-01 00:00:05.000", "date": "2026-01-05"} {
		sql := map[string]string{"uuid": "concat('00000000-0000-0000-0000-', lpad(seq, 12, '0'))", "binary(16)": "unhex(lpad(hex(seq), 32, '0'))",
			"datetime(3)": "'2026-01-01' + interval seq second", "date": "'2025-12-31' + interval seq day"}[typ]
		if sql == "" {
			sql = "seq"
		}
		must(t, e, "DROP TABLE IF EXISTS orders", "CREATE TABLE orders (id "+typ+" PRIMARY KEY, v varchar(20))",
			"INSERT INTO orders SELECT "+sql+", 'a' FROM seq_1_to_1000", "ANALYZE TABLE orders")
		c := update("c-1", orders(e), schemas.Row{col("id", value), col("v", "a")}, schemas.Row{col("v", "b")})
		a := open(t, e, orders(e))
		rows, err := a.(*mysql.Applier).Explain(t.Context(), &c)
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		if rows > 1 {
			t.Errorf("%s: the server would look at %d rows", typ, rows)
		}
		apply(t, a, c, schemas.Applied)
		must(t, e, "DELETE FROM trueup_ledger")
	}
}

// TestEngine: a table that cannot roll back is refused.
func TestEngine(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text) ENGINE=MyISAM", "INSERT INTO orders VALUES (1, 'a')")
	a := e.Open(t, e.Address(), compensate.Tables{orders(e)}, compensatetest.Options{})
	if err := a.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "use InnoDB") {
		t.Fatal(err)
	}
	apply(t, a, update("c-1", orders(e), e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "b")}), schemas.Refused)
}

// TestZero: 0 is a value of an AUTO_INCREMENT column like any other.
func TestZero(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, v text)")
	apply(t, open(t, e, orders(e)), update("c-1", orders(e), nil, schemas.Row{col("id", "0"), col("v", "b")}), schemas.Applied)
	if row := e.Row(t, "orders", "id = 0"); row == nil {
		t.Fatal("no row")
	}
}

// TestServerSettings: those of a server that reads and writes text otherwise do
// not reach a session of ours.
func TestServerSettings(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v varchar(20))", "INSERT INTO orders VALUES (1, 'a')")
	odd := e.conf.Clone()
	odd.Params = map[string]string{"sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,ORACLE'", "time_zone": "'+05:00'"}
	a, err := mysql.Open(mysql.Config{DSN: odd.FormatDSN(), Side: schemas.Target, Tables: compensate.Tables{orders(e)}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply(t, a, update("c-1", orders(e), e.Row(t, "orders", "id = 1"), schemas.Row{col("v", `\ "`)}), schemas.Applied)
	apply(t, a, update("c-2", orders(e), e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "more than twenty characters")}), schemas.Failed)
	if got, _ := e.Row(t, "orders", "id = 1").Get("v"); got.Text != `\ "` {
		t.Fatalf("%q", got.Text)
	}
}

// TestBytes: bytes that are not in the form that capture ships are refused.
func TestBytes(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v blob)", "INSERT INTO orders VALUES (1, 'a')")
	a := open(t, e, orders(e))
	apply(t, a, update("c-1", orders(e), e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "raw")}), schemas.Refused)
	apply(t, a, update("c-2", orders(e), schemas.Row{col("id", "1"), col("v", "a")}, schemas.Row{col("v", `\x00`)}), schemas.Refused)
}

// TestUUIDInBytes: a UUID is the sixteen bytes that it names where a column has that
// many, as a key too, and is refused by a column that has not.
func TestUUIDInBytes(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id binary(16) PRIMARY KEY, v varbinary(16), w blob)")
	table := orders(e)
	table.Columns = append(table.Columns, "w")
	a := open(t, e, table)
	const one, two = "00112233-4455-6677-8899-aabbccddeeff", "ffeeddcc-bbaa-9988-7766-554433221100"
	apply(t, a, update("c-1", table, nil, schemas.Row{col("id", one), col("v", two)}), schemas.Applied)
	const where = "id = UNHEX('00112233445566778899AABBCCDDEEFF')"
	row := e.Row(t, "orders", where)
	if v, _ := row.Get("v"); v.Text != `\xffeeddccbbaa99887766554433221100` {
		t.Fatalf("row is %v", row)
	}
	apply(t, a, update("c-2", table, row, schemas.Row{col("v", one)}), schemas.Applied)
	row = e.Row(t, "orders", where)
	if v, _ := row.Get("v"); v.Text != `\x00112233445566778899aabbccddeeff` {
		t.Fatalf("row is %v", row)
	}
	out := apply(t, a, update("c-3", table, row, schemas.Row{col("w", one)}), schemas.Refused)
	if !strings.Contains(out.Detail, `column "w" cannot hold a UUID`) {
		t.Errorf("said %q", out.Detail)
	}
}

// TestRights: what is missing is said with the SQL that mends it, and with that the
// least privileged user can work.
func TestRights(t *testing.T) {
	e := newEngine(t)
	user := "applier_" + e.Schema()
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text)", "INSERT INTO orders VALUES (1, 'a')",
		"CREATE USER "+user+"@'%'", "GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO "+user)
	t.Cleanup(func() { must(t, e, "DROP USER "+user) })
	poor := e.conf.Clone()
	poor.User = user
	a, err := mysql.Open(mysql.Config{DSN: poor.FormatDSN(), Side: schemas.Target, Tables: compensate.Tables{orders(e)}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	err = a.Prepare(t.Context())
	grant := fmt.Sprintf("GRANT SELECT, INSERT ON `%s`.trueup_ledger TO '%s'@'%%'", e.Schema(), user)
	if err == nil || !strings.Contains(err.Error(), mysql.LedgerSQL) || !strings.Contains(err.Error(), grant) {
		t.Fatalf("%v", err)
	}
	if excess, err := a.Excess(t.Context()); err != nil || excess != nil {
		t.Errorf("too many rights: %v, %v", excess, err)
	}
	if ready := a.Ready(t.Context()); ready == nil || !strings.Contains(ready.Error(), mysql.LedgerSQL) || !strings.Contains(ready.Error(), grant) {
		t.Fatalf("whoever only looks: %v", ready)
	}
	must(t, e, fmt.Sprintf("GRANT SELECT, INSERT, CREATE ON `%s`.trueup_ledger TO '%s'@'%%'", e.Schema(), user), "REVOKE UPDATE, DELETE ON orders FROM "+user)
	write := fmt.Sprintf("run: GRANT UPDATE, DELETE ON `%s`.`orders` TO '%s'@'%%'", e.Schema(), user)
	if ready := a.Ready(t.Context()); ready == nil || strings.Contains(ready.Error(), "ledger") || !strings.Contains(ready.Error(), write) {
		t.Fatalf("two rights are missing, and the ledger can be made: %v", ready)
	}
	must(t, e, "GRANT UPDATE, DELETE ON orders TO "+user)
	if err := a.Ready(t.Context()); err != nil {
		t.Fatalf("the ledger can be made: %v", err)
	}
	if rows, err := e.admin.Rows("SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'trueup_ledger'"); err != nil || len(rows) != 0 {
		t.Fatalf("looking made the ledger: %v, %v", rows, err)
	}
	must(t, e, mysql.LedgerSQL, grant)
	for _, look := range []func(context.Context) error{a.Ready, a.Prepare} {
		if err := look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, a, update("c-1", orders(e), e.Row(t, "orders", "id = 1"), schemas.Row{col("v", "b")}), schemas.Applied)
}

// TestExcess: "a login with only the rights it needs, refused if it has more": what
// is too much is listed, each with the SQL that takes it away, and with that done
// nothing is left.
func TestExcess(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text)", "CREATE TABLE other (id int, v int)", mysql.LedgerSQL)
	conf, err := driver.ParseDSN(servertest.MariaDBApplier(t, e.conf.FormatDSN(), "orders"))
	if err != nil {
		t.Fatal(err)
	}
	user, db := conf.User, "`"+e.Schema()+"`"
	excess := func(captures bool) (rights, remedies []string) {
		t.Helper()
		a, err := mysql.Open(mysql.Config{DSN: conf.FormatDSN(), Side: schemas.Target, Tables: compensate.Tables{orders(e)}, Captures: captures})
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
		slices.Sort(rights)
		return rights, remedies
	}
	if rights, _ := excess(false); rights != nil {
		t.Errorf("with what it needs: %q", rights)
	}
	must(t, e, "GRANT CREATE USER, REPLICATION SLAVE ON *.* TO "+user, "GRANT SELECT, UPDATE ON "+db+".* TO "+user,
		"GRANT UPDATE, DROP ON trueup_ledger TO "+user, "GRANT ALTER ON orders TO "+user, "GRANT INSERT, SELECT (id, v) ON other TO "+user)
	rights, remedies := excess(false)
	want := []string{"ALTER ON " + db + ".`orders`", "REPLICATION SLAVE, CREATE USER ON *.*", "SELECT (`id`, `v`), INSERT ON " + db + ".`other`",
		"SELECT, UPDATE ON " + db + ".*", "UPDATE, DROP ON " + db + ".`trueup_ledger`"}
	for i := range want { // MariaDB writes (`v`, `id`) in an order of its own
		if i >= len(rights) || rights[i] != want[i] && !(strings.HasPrefix(want[i], "SELECT (") && strings.HasSuffix(rights[i], "INSERT ON "+db+".`other`")) {
			t.Errorf("excess %q, want %q", rights, want)
			break
		}
	}
	if rights, _ := excess(true); strings.Contains(fmt.Sprint(rights), "REPLICATION SLAVE") || !strings.Contains(fmt.Sprint(rights), "CREATE USER ON *.*") {
		t.Errorf("of a login that captures: %q", rights)
	}
	must(t, e, remedies...)
	if rights, _ := excess(false); rights != nil {
		t.Errorf("after the remedies: %q", rights)
	}
}

// TestOnUpdate: a column that the store writes along with every other stays as it
// was, so that a repair does what it says, and taking it back leaves the row as it
// was found (I30). One that is itself repaired gets its value.
func TestOnUpdate(t *testing.T) {
	e := newEngine(t)
	must(t, e, "CREATE TABLE orders (id int PRIMARY KEY, v text, "+
		"seen timestamp(6) NOT NULL DEFAULT '2001-02-03 04:05:06' ON UPDATE CURRENT_TIMESTAMP(6), "+
		"moved datetime NULL DEFAULT '2002-02-03 04:05:06' ON UPDATE CURRENT_TIMESTAMP)", "INSERT INTO orders (id, v) VALUES (1, 'a')")
	table := orders(e)
	table.Columns = append(table.Columns, "seen")
	a := open(t, e, table)
	before := e.Row(t, "orders", "id = 1")
	there := update("c-1", table, before, schemas.Row{col("v", "b")})
	apply(t, a, there, schemas.Applied)
	after := e.Row(t, "orders", "id = 1")
	for _, name := range []string{"seen", "moved"} {
		was, _ := before.Get(name)
		if is, _ := after.Get(name); is != was {
			t.Errorf("%s went from %q to %q along with the repair", name, was.Text, is.Text)
		}
	}
	back, err := compensate.Invert(&there, &schemas.Change{After: after}, table)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, a, back, schemas.Applied)
	if row := e.Row(t, "orders", "id = 1"); fmt.Sprint(row) != fmt.Sprint(before) {
		t.Errorf("after it was taken back the row is %v, it was %v", row, before)
	}
	apply(t, a, back, schemas.AlreadyApplied)
	apply(t, a, update("c-2", table, before, schemas.Row{col("seen", "2010-01-01 00:00:00.000000")}), schemas.Applied)
	if got, _ := e.Row(t, "orders", "id = 1").Get("seen"); got.Text != "2010-01-01 00:00:00.000000" {
		t.Errorf("seen is %q", got.Text)
	}
	// Whoever was faster than the undo keeps what he wrote.
	apply(t, a, func() schemas.Compensation { c := back; c.ID = "c-3"; return c }(), schemas.PreconditionFailed)
}
