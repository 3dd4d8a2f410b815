package compensatetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// testTypes keeps I25: "writes only if the row still equals the recorded
// pre-image (binary compare, all columns)", for every type, and that what is
// written is what was meant, byte by byte (E6, E7, E8).
func testTypes(t *testing.T, e Engine) {
	b := newBench(t, e)
	for _, typ := range b.Types() {
		t.Run(typ.Name, func(t *testing.T) {
			b.TB = t
			if typ.Set != "" {
				b.exec(typ.Set)
			}
			b.exec("DROP TABLE IF EXISTS typed", "CREATE TABLE typed (id int PRIMARY KEY, c "+typ.Column+", v int)")
			table := b.table("typed", "id", "c", "v")
			a := b.prepared(table)
			put := func(value string) schemas.Row {
				b.exec("DELETE FROM typed", "INSERT INTO typed VALUES (1, "+value+", 1)")
				return b.row("typed", 1)
			}
			b.between(a, table, put, typ.Value, typ.Near)
			b.between(a, table, put, typ.Near, typ.Value)
			b.between(a, table, put, typ.Value, "NULL")
			b.between(a, table, put, "NULL", typ.Value)
			b.between(a, table, put, "NULL", typ.Near)
		})
	}
}

// between judges a row with one value and meets it with another; then writes that
// other value by each statement.
func (b *bench) between(a compensate.Applier, table compensate.Table, put func(string) schemas.Row, value, other string) {
	b.Helper()
	desired := put(other)
	judged := put(value)
	if show(judged) == show(desired) {
		b.Fatalf("the store makes one value of %s and %s", value, other)
	}
	column, _ := desired.Get("c")

	put(other)
	b.apply(a, b.compensation(table, judged, schemas.Row{text("v", "2")}), schemas.PreconditionFailed)
	b.apply(a, b.compensation(table, judged, nil), schemas.PreconditionFailed)
	b.apply(a, b.compensation(table, nil, judged), schemas.PreconditionFailed)
	b.same(b.row("typed", 1), desired)

	put(value)
	b.apply(a, b.compensation(table, judged, schemas.Row{column}), schemas.Applied)
	b.same(b.row("typed", 1), desired)
	b.apply(a, b.compensation(table, desired, nil), schemas.Applied)
	b.same(b.row("typed", 1), nil)
	b.apply(a, b.compensation(table, nil, desired), schemas.Applied)
	b.same(b.row("typed", 1), desired)
}

// testStatements goes through what each statement does and leaves alone.
func testStatements(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, status varchar(20), note varchar(20), twice int GENERATED ALWAYS AS (id * 2) STORED, extra varchar(20) DEFAULT 'default')")
	table := b.table("orders", "id", "status", "note", "twice")
	a := b.prepared(table)

	b.apply(a, b.compensation(table, nil, schemas.Row{text("id", "1"), text("status", "new"), null("note"), text("twice", "77")}), schemas.Applied)
	judged := b.row("orders", 1)
	b.same(judged, schemas.Row{text("id", "1"), text("status", "new"), null("note"), text("twice", "2"), text("extra", "default")})

	change := b.compensation(table, judged, schemas.Row{text("note", "paid")})
	b.apply(a, change, schemas.Applied)
	b.apply(a, change, schemas.AlreadyApplied)
	judged = b.row("orders", 1)
	b.same(judged, schemas.Row{text("id", "1"), text("status", "new"), text("note", "paid"), text("twice", "2"), text("extra", "default")})

	// A write of what is there already is a write (E8: affected rows are those that matched).
	b.apply(a, b.compensation(table, judged, schemas.Row{text("note", "paid")}), schemas.Applied)

	// A column that is not mapped counts as well: the row is not as judged.
	b.exec("UPDATE orders SET extra = 'changed' WHERE id = 1")
	b.apply(a, b.compensation(table, judged, schemas.Row{text("note", "late")}), schemas.PreconditionFailed)
	b.apply(a, b.compensation(table, judged, nil), schemas.PreconditionFailed)

	// Deleted in between stays deleted.
	judged = b.row("orders", 1)
	b.exec("DELETE FROM orders WHERE id = 1")
	b.apply(a, b.compensation(table, judged, schemas.Row{text("note", "late")}), schemas.PreconditionFailed)
	b.same(b.row("orders", 1), nil)

	// Inserted in between stays as it was inserted.
	b.exec("INSERT INTO orders (id, status) VALUES (1, 'theirs')")
	b.apply(a, b.compensation(table, nil, schemas.Row{text("id", "1"), text("status", "ours")}), schemas.PreconditionFailed)
	if got := b.value("SELECT status FROM orders WHERE id = 1"); got != "theirs" {
		b.Fatalf("status %q", got)
	}

	// Another unique column that is taken is a conflict of an insert, and another row's for an update.
	b.exec("CREATE UNIQUE INDEX one_note ON orders (note)", "UPDATE orders SET note = 'taken' WHERE id = 1", "INSERT INTO orders (id, status) VALUES (2, 'new')")
	b.apply(a, b.compensation(table, nil, schemas.Row{text("id", "3"), text("note", "taken")}), schemas.PreconditionFailed)
	b.inTheWay(a, b.compensation(table, b.row("orders", 2), schemas.Row{text("note", "taken")}), compensate.ErrUnique)

	// What does not fit is refused by the store, and nothing is cut.
	b.apply(a, b.compensation(table, b.row("orders", 2), schemas.Row{text("note", "longer than twenty characters")}), schemas.Failed)
	b.same(b.row("orders", 2), schemas.Row{text("id", "2"), text("status", "new"), null("note"), text("twice", "4"), text("extra", "default")})
}

// testCounters: what a counter lacks is added, whatever it counted meanwhile; the
// rest of the row is the condition as ever.
func testCounters(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE counters (id int PRIMARY KEY, n int, big numeric(40,6), note varchar(20))",
		"INSERT INTO counters VALUES (1, 5, 12345678901234567890.5, 'a'), (2, NULL, 0, 'a'), (3, 2147483640, 0, 'a')")
	table := b.table("counters", "id", "n", "big", "note")
	a := b.prepared(table)
	add := func(id int, columns ...schemas.Column) schemas.Compensation {
		row := b.row("counters", id)
		var expect schemas.Row
		for _, col := range row {
			counted := false
			for _, c := range columns {
				counted = counted || c.Name == col.Name
			}
			if !counted {
				expect = append(expect, col)
			}
		}
		c := b.compensation(table, expect, nil)
		c.Statement, c.Add = schemas.UpdateRow, columns
		return c
	}
	c := add(1, text("n", "-2"), text("big", "0.000001"))
	b.exec("UPDATE counters SET n = n + 10 WHERE id = 1") // counted between judgement and repair
	b.apply(a, c, schemas.Applied)
	b.apply(a, c, schemas.AlreadyApplied)
	b.same(b.row("counters", 1), schemas.Row{text("id", "1"), text("n", "13"), text("big", "12345678901234567890.500001"), text("note", "a")})

	c = add(1, text("n", "1"))
	c.Set = schemas.Row{text("note", "b")}
	b.apply(a, c, schemas.Applied)
	b.same(b.row("counters", 1), schemas.Row{text("id", "1"), text("n", "14"), text("big", "12345678901234567890.500001"), text("note", "b")})

	c = add(1, text("n", "1"))
	b.exec("UPDATE counters SET note = 'theirs' WHERE id = 1")
	b.apply(a, c, schemas.PreconditionFailed)
	b.apply(a, add(2, text("n", "1")), schemas.PreconditionFailed) // NULL counts nothing
	b.apply(a, add(3, text("n", "100")), schemas.Failed)           // out of range

	for _, spoil := range []func(c *schemas.Compensation){
		func(c *schemas.Compensation) { c.Add[0].Text = "1; DROP TABLE counters" }, func(c *schemas.Compensation) { c.Add[0].Text = "1e3" },
		func(c *schemas.Compensation) { c.Add[0].Name = "id" }, func(c *schemas.Compensation) { c.Set = schemas.Row{text("n", "1")} },
		func(c *schemas.Compensation) { c.Add[0].Presence = schemas.Null }, func(c *schemas.Compensation) { c.Expect = b.row("counters", 1) },
	} {
		c := add(1, text("n", "1"))
		spoil(&c)
		b.apply(a, c, schemas.Refused)
	}
}

// testRefusals keeps bad input 27: a compensation that names what is not allowed
// is never executed.
func testRefusals(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, status varchar(20), secret varchar(20))", "INSERT INTO orders VALUES (1, 'new', 's')",
		"CREATE TABLE keyless (id int, v int)", "INSERT INTO keyless VALUES (1, 1)",
		"CREATE VIEW seen AS SELECT id, status FROM orders")
	table := b.table("orders", "id", "status")
	a := b.prepared(table)
	judged := b.row("orders", 1)
	set := schemas.Row{text("status", "paid")}
	for name, spoil := range map[string]func(c *schemas.Compensation){
		"table":            func(c *schemas.Compensation) { c.Table = "keyless" },
		"schema":           func(c *schemas.Compensation) { c.Schema = "elsewhere" },
		"side":             func(c *schemas.Compensation) { c.Side = schemas.Legacy },
		"entity":           func(c *schemas.Compensation) { c.Entity = "other" },
		"id that escapes":  func(c *schemas.Compensation) { c.ID = "x'*/ DROP TABLE orders; /*" },
		"id that is empty": func(c *schemas.Compensation) { c.ID = "" },
		"unmapped column":  func(c *schemas.Compensation) { c.Set = schemas.Row{text("secret", "x")} },
		"injected column":  func(c *schemas.Compensation) { c.Set = schemas.Row{text("status` = 'x', `secret", "x")} },
		"key column":       func(c *schemas.Compensation) { c.Set = schemas.Row{text("id", "2")} },
		"other key":        func(c *schemas.Compensation) { c.KeyColumns = schemas.Row{text("id", "2")} },
		"no key":           func(c *schemas.Compensation) { c.KeyColumns = nil },
		"statement":        func(c *schemas.Compensation) { c.Statement = "truncate" },
		"no precondition":  func(c *schemas.Compensation) { c.Expect = nil },
		"nothing to write": func(c *schemas.Compensation) { c.Set = nil },
		"written twice":    func(c *schemas.Compensation) { c.Set = append(set[:1:1], set[0]) },
		"unavailable": func(c *schemas.Compensation) {
			c.Expect = append(judged[:1:1], schemas.Column{Name: "status", Presence: schemas.Unavailable})
		},
		"delete of what was not judged": func(c *schemas.Compensation) {
			c.Statement, c.Set, c.Expect = schemas.DeleteRow, nil, judged[:2]
		},
	} {
		c := b.compensation(table, judged, set)
		spoil(&c)
		out, err := a.Apply(b.Context(), c)
		if err != nil || out.Result != schemas.Refused || out.Detail == "" {
			t.Errorf("%s: %s %q, %v; want refused", name, out.Result, out.Detail, err)
		}
	}
	b.same(b.row("orders", 1), judged)

	for _, unfit := range []compensate.Table{b.table("keyless", "id", "v"), b.table("seen", "id", "status"), b.table("nowhere", "id"), b.table("orders", "id", "colour")} {
		a := b.Open(b.TB, b.Address(), compensate.Tables{unfit}, Options{})
		c := b.compensation(unfit, nil, schemas.Row{text("id", "5")})
		b.apply(a, c, schemas.Refused)
		if err := a.Prepare(b.Context()); err == nil {
			t.Errorf("table %s: prepared", unfit.Name)
		}
	}
}

// testForeignKey: nothing is written, and another try is worth it later.
func testForeignKey(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE parent (id int PRIMARY KEY)",
		"CREATE TABLE child (id int PRIMARY KEY, parent_id int, FOREIGN KEY (parent_id) REFERENCES parent (id))")
	parent, child := b.table("parent", "id"), b.table("child", "id", "parent_id")
	a := b.prepared(parent, child)
	insert := b.compensation(child, nil, schemas.Row{text("id", "1"), text("parent_id", "7")})
	if out, err := a.Apply(b.Context(), insert); !errors.Is(err, compensate.ErrForeignKey) {
		t.Fatalf("child without parent: %+v, %v", out, err)
	}
	b.apply(a, b.compensation(parent, nil, schemas.Row{text("id", "7")}), schemas.Applied)
	b.apply(a, insert, schemas.Applied)
	if out, err := a.Apply(b.Context(), b.compensation(parent, schemas.Row{text("id", "7")}, nil)); !errors.Is(err, compensate.ErrForeignKey) {
		t.Fatalf("parent with child: %+v, %v", out, err)
	}
}

// testWeirdNames: identifiers are quoted, whatever they hold.
func testWeirdNames(t *testing.T, e Engine) {
	b := newBench(t, e)
	name, key, column := "we\"ir`d; --", "the key", "sélect `*` \"from\""
	b.exec("CREATE TABLE " + b.Quote(name) + " (" + b.Quote(key) + " int PRIMARY KEY, " + b.Quote(column) + " varchar(50))")
	table := b.table(name, key, column)
	a := b.prepared(table)
	hostile := `'; DROP TABLE x; -- \' " $1 ? %s`
	b.apply(a, b.compensation(table, nil, schemas.Row{text(key, "1"), text(column, hostile)}), schemas.Applied)
	where := b.Quote(key) + " = 1"
	judged := b.Row(t, b.Quote(name), where)
	b.same(judged, schemas.Row{text(key, "1"), text(column, hostile)})
	b.apply(a, b.compensation(table, judged, schemas.Row{null(column)}), schemas.Applied)
	b.apply(a, b.compensation(table, b.Row(t, b.Quote(name), where), nil), schemas.Applied)
}

// testCompositeKey: the key may be several columns, of text too, and an index over
// fewer of them keeps rows apart as well.
func testCompositeKey(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE positions (tenant varchar(20) NOT NULL, n int NOT NULL, v int, PRIMARY KEY (tenant, n))",
		"INSERT INTO positions VALUES ('a', 1, 1), ('a', 2, 1), ('b', 1, 1)")
	table := b.table("positions", "tenant", "n", "v")
	table.Key = []string{"tenant", "n"}
	a := b.prepared(table)
	b.apply(a, b.compensation(table, b.Row(t, "positions", "tenant = 'a' AND n = 2"), schemas.Row{text("v", "9")}), schemas.Applied)
	if got := b.value("SELECT sum(v) FROM positions"); got != "11" {
		t.Fatalf("sum %s: another row was written", got)
	}
	short := table
	short.Key = []string{"n"}
	b.apply(b.Open(t, b.Address(), compensate.Tables{short}, Options{}),
		b.compensation(short, b.Row(t, "positions", "tenant = 'b'"), schemas.Row{text("v", "9")}), schemas.Refused)
}

// testTableChanges: what was learned of a table is learned anew when it changed.
func testTableChanges(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, status varchar(20))", "INSERT INTO orders VALUES (1, 'new'), (2, 'new')")
	table := b.table("orders", "id", "status")
	a := b.prepared(table)
	b.apply(a, b.compensation(table, b.row("orders", 1), schemas.Row{text("status", "paid")}), schemas.Applied)

	old := b.row("orders", 2)
	b.exec("ALTER TABLE orders ADD COLUMN added varchar(20)")
	b.apply(a, b.compensation(table, b.row("orders", 1), schemas.Row{text("status", "sent")}), schemas.Applied)
	b.apply(a, b.compensation(table, old, nil), schemas.Refused) // it would take the new column unseen
	withAdded := b.row("orders", 1)

	b.exec("ALTER TABLE orders DROP COLUMN added")
	out := b.apply(a, b.compensation(table, withAdded, schemas.Row{text("status", "late")}), schemas.Failed)
	t.Log(out.Detail)
	b.apply(a, b.compensation(table, b.row("orders", 1), schemas.Row{text("status", "late")}), schemas.Applied)

	b.exec("DROP TABLE orders")
	b.apply(a, b.compensation(table, old, schemas.Row{text("status", "late")}), schemas.Refused)
}

// testPrepare: it may be called again, and by several at once.
func testPrepare(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY)")
	table := b.table("orders", "id")
	done := make(chan error)
	for range 4 {
		a := b.Open(t, b.Address(), compensate.Tables{table}, Options{})
		go func() { done <- a.Prepare(b.Context()) }()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Errorf("prepare: %v", err)
		}
	}
	b.apply(b.prepared(table), b.compensation(table, nil, schemas.Row{text("id", "1")}), schemas.Applied)
}

// inTheWay wants a write that other rows keep from being made, and nothing written.
func (b *bench) inTheWay(a compensate.Applier, c schemas.Compensation, want error) {
	b.Helper()
	out, err := a.Apply(b.Context(), c)
	if !errors.Is(err, want) || b.recorded(c.ID) {
		b.Fatalf("%s: %+v, %v, in the ledger: %v; want %v", c.ID, out, err, b.recorded(c.ID), want)
	}
}

// testUnique: two rows that exchange a unique value keep each other from being
// written, and nothing is; one that moves on lets the other follow, with the id that
// it had.
func testUnique(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v varchar(20) UNIQUE)", "INSERT INTO orders VALUES (1, 'a'), (2, 'b')")
	table := b.table("orders", "id", "v")
	a := b.prepared(table)
	one := b.compensation(table, b.row("orders", 1), schemas.Row{text("v", "b")})
	two := b.compensation(table, b.row("orders", 2), schemas.Row{text("v", "a")})
	b.inTheWay(a, one, compensate.ErrUnique)
	b.inTheWay(a, two, compensate.ErrUnique)
	b.apply(a, b.compensation(table, b.row("orders", 2), schemas.Row{text("v", "c")}), schemas.Applied)
	b.apply(a, one, schemas.Applied)
	b.apply(a, two, schemas.PreconditionFailed)
	b.same(b.row("orders", 1), schemas.Row{text("id", "1"), text("v", "b")})
	b.same(b.row("orders", 2), schemas.Row{text("id", "2"), text("v", "c")})
}

// testSensitive: what the store says of a row with sensitive values is not repeated,
// its code is; and what is hidden is never written.
func testSensitive(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v varchar(20) UNIQUE, n int)", "INSERT INTO orders VALUES (1, 'a', 1), (2, 'canary', 1)")
	table := b.table("orders", "id", "v", "n")
	table.Sensitive = true
	a := b.prepared(table)
	judged := b.row("orders", 1)
	quiet := func(said string) {
		t.Helper()
		if strings.Contains(said, "canary") || !strings.Contains(said, "the store refused it with") {
			t.Errorf("said %q", said)
		}
	}
	_, err := a.Apply(b.Context(), b.compensation(table, judged, schemas.Row{text("v", "canary")}))
	if !errors.Is(err, compensate.ErrUnique) {
		t.Fatal(err)
	}
	quiet(err.Error())
	quiet(b.apply(a, b.compensation(table, judged, schemas.Row{text("v", "canary longer than twenty letters")}), schemas.Failed).Detail)
	quiet(b.apply(a, b.compensation(table, judged, schemas.Row{text("n", "canary")}), schemas.Failed).Detail)

	shown := b.compensation(table, judged, schemas.Row{{Name: "v", Text: "0123", Presence: schemas.Masked}})
	sql, err := a.Statement(b.Context(), shown)
	if err != nil || !slices.ContainsFunc(sql.Args, func(arg *string) bool { return arg != nil && *arg == "masked:0123" }) {
		t.Errorf("shown as %v, %v", sql, err)
	}
	b.apply(a, shown, schemas.Refused)
	b.same(b.row("orders", 1), judged)
}

// testGenerated: a column that the store computes is neither compared nor written;
// what a trigger makes of a write is the store's.
func testGenerated(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED)", "INSERT INTO orders (id, v) VALUES (1, 1)")
	table := b.table("orders", "id", "v", "twice")
	a := b.prepared(table)
	judged := b.row("orders", 1)
	b.apply(a, b.compensation(table, judged, schemas.Row{text("twice", "8")}), schemas.Refused)
	b.apply(a, b.compensation(table, judged, schemas.Row{text("v", "4"), text("twice", "8")}), schemas.Applied)
	b.same(b.row("orders", 1), schemas.Row{text("id", "1"), text("v", "4"), text("twice", "8")})
	b.Counted(t, "orders")
	b.apply(a, b.compensation(table, b.row("orders", 1), nil), schemas.Applied)
	if n := b.effects(1); n != 1 {
		t.Errorf("the table's trigger ran %d times", n)
	}
}

// testBadInput26 keeps "Compensation whose row changed, was deleted, already
// applied": precondition_failed, already_applied; zero writes. What a rule that was
// disabled does is the runner's.
func testBadInput26(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v int)", "INSERT INTO orders VALUES (1, 0), (2, 0), (3, 0)")
	table := b.table("orders", "id", "v")
	a := b.prepared(table)
	b.Counted(t, "orders")
	var cs []schemas.Compensation
	for id := 1; id <= 3; id++ {
		cs = append(cs, b.compensation(table, b.row("orders", id), schemas.Row{text("v", "7")}))
	}
	b.exec("UPDATE orders SET v = 5 WHERE id = 1", "DELETE FROM orders WHERE id = 2")
	b.apply(a, cs[0], schemas.PreconditionFailed)
	b.apply(a, cs[1], schemas.PreconditionFailed)
	b.apply(a, cs[2], schemas.Applied)
	b.exec("UPDATE orders SET v = 0 WHERE id = 3", "DELETE FROM effects")
	b.apply(a, cs[2], schemas.AlreadyApplied)
	if got := b.value("SELECT count(*) FROM effects"); got != "0" {
		t.Errorf("%s writes", got)
	}
}
