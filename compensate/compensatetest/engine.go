// Package compensatetest is the suite that every compensate.Applier passes, on a
// real server of its kind.
//
// It assumes that the test binary's TestMain is servertest.Main.
package compensatetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// Engine is one kind of store, with an empty database that is the test's own.
type Engine interface {
	// Schema is the schema or database in which unqualified names are made.
	Schema() string
	// Address is host:port of the server.
	Address() string
	// Session opens a connection of some application.
	Session(t testing.TB) Session
	// Open opens an applier whose connections go to address. It is closed at the end of the test at the latest.
	Open(t testing.TB, address string, tables compensate.Tables, o Options) Applier
	// Row is the one row of a table, as capture ships it; nil if there is none.
	Row(t testing.TB, table, where string) schemas.Row
	// Waiting returns when a session waits for another's lock.
	Waiting(t testing.TB)
	// KillWaiting ends the session that waits for another's lock.
	KillWaiting(t testing.TB)
	// Commits says whether a request to the server ends the transaction of an update.
	Commits(request []byte) bool
	// Counted makes the table's inserts, updates and deletes each add a row (id, op) to table effects.
	Counted(t testing.TB, table string)
	// Slow makes an update of the table take so many seconds, false if the server has no timeout for that.
	Slow(t testing.TB, table string, seconds int) bool
	// Ledger is the ledger's name in SQL.
	Ledger() string
	// Quote quotes an identifier.
	Quote(name string) string
	// Types are columns of every kind that matters.
	Types() []Type
}

// Options of an applier under test.
type Options struct {
	LockTimeout      time.Duration
	StatementTimeout time.Duration
	Attempts         compensate.Attempts
}

// Applier is one that can be closed, also twice.
type Applier interface {
	compensate.Applier
	Close() error
}

// Session is one connection of an application. Its SQL is plain text.
type Session interface {
	Exec(sql string) error
	Rows(sql string) ([][]string, error) // NULL is "NULL"
}

// Type is a column with two values that a careless comparison takes for one, or
// that are at least close.
type Type struct {
	Name   string
	Column string // the type in SQL
	Value  string // SQL expressions
	Near   string
	Set    string // SQL that has to run first; "" for none
}

// Exercise runs the suite, but for the parts named. Open makes a fresh engine.
func Exercise(t *testing.T, open func(t testing.TB) Engine, without ...string) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Engine)
	}{
		{"Types", testTypes},
		{"Statements", testStatements},
		{"Counters", testCounters},
		{"Refusals", testRefusals},
		{"ForeignKey", testForeignKey},
		{"WeirdNames", testWeirdNames},
		{"CompositeKey", testCompositeKey},
		{"Races", testRaces},
		{"Waits", testWaits},
		{"LockTimeout", testLockTimeout},
		{"StatementTimeout", testStatementTimeout},
		{"Deadlock", testDeadlock},
		{"Unique", testUnique},
		{"Generated", testGenerated},
		{"Sensitive", testSensitive},
		{"BadInput26", testBadInput26},
		{"Killed", testKilled},
		{"AtMostOnce", testAtMostOnce},
		{"Crashes", testCrashes},
		{"TableChanges", testTableChanges},
		{"Prepare", testPrepare},
	} {
		if !slices.Contains(without, c.name) {
			t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
		}
	}
}

// bench is an engine with the things that most tests need.
type bench struct {
	testing.TB
	Engine
	app Session
	ids int
}

func newBench(t testing.TB, e Engine) *bench { return &bench{TB: t, Engine: e, app: e.Session(t)} }

// exec runs statements of the application.
func (b *bench) exec(statements ...string) {
	b.Helper()
	for _, sql := range statements {
		if err := b.app.Exec(sql); err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
	}
}

// value is the one value that a query gives.
func (b *bench) value(sql string) string {
	b.Helper()
	rows, err := b.app.Rows(sql)
	if err != nil || len(rows) != 1 {
		b.Fatalf("%s: %v, %v", sql, rows, err)
	}
	return rows[0][0]
}

// table allows all named columns of a table; the first is its key.
func (b *bench) table(name string, columns ...string) compensate.Table {
	return compensate.Table{Entity: name, Schema: b.Schema(), Name: name, Key: columns[:1], Columns: columns}
}

// prepared opens an applier and prepares it.
func (b *bench) prepared(tables ...compensate.Table) Applier {
	b.Helper()
	a := b.Open(b.TB, b.Address(), tables, Options{})
	if err := a.Prepare(b.Context()); err != nil {
		b.Fatalf("prepare: %v", err)
	}
	return a
}

// compensation makes one with an id of its own. The statement follows from what
// is there and what is wanted.
func (b *bench) compensation(t compensate.Table, expect, set schemas.Row) schemas.Compensation {
	b.ids++
	c := schemas.Compensation{
		ID:           fmt.Sprintf("comp-%d", b.ids),
		DivergenceID: fmt.Sprintf("div-%d", b.ids),
		Entity:       t.Entity, Key: []string{"1"}, Side: schemas.Target,
		Schema: t.Schema, Table: t.Name,
		Statement: schemas.UpdateRow, Expect: expect, Set: set, Rules: "test",
	}
	row := expect
	switch {
	case expect == nil:
		c.Statement, row = schemas.InsertRow, set
	case set == nil:
		c.Statement = schemas.DeleteRow
	}
	for _, name := range t.Key {
		col, _ := row.Get(name)
		c.KeyColumns = append(c.KeyColumns, col)
	}
	return c
}

// apply wants a result, and what the ledger has to agree.
func (b *bench) apply(a compensate.Applier, c schemas.Compensation, want schemas.Result) schemas.Outcome {
	b.Helper()
	out, err := a.Apply(b.Context(), c)
	if err != nil {
		b.Fatalf("apply %s: %v", c.ID, err)
	}
	if out.Result != want {
		b.Fatalf("apply %s: %s %q, want %s", c.ID, out.Result, out.Detail, want)
	}
	if out.CompensationID != c.ID || out.DivergenceID != c.DivergenceID || out.Entity != c.Entity || out.At == 0 {
		b.Fatalf("outcome of another compensation: %+v", out)
	}
	recorded := b.recorded(c.ID)
	if wrote := want == schemas.Applied || want == schemas.AlreadyApplied; recorded != wrote {
		b.Fatalf("%s, and the ledger says %v", want, recorded)
	}
	return out
}

// recorded says whether the ledger has the compensation.
func (b *bench) recorded(id string) bool {
	b.Helper()
	return b.value("SELECT count(*) FROM "+b.Ledger()+" WHERE compensation_id = '"+id+"'") == "1"
}

// row is the row with that id.
func (b *bench) row(table string, id int) schemas.Row {
	b.Helper()
	return b.Row(b.TB, table, fmt.Sprintf("id = %d", id))
}

// same wants a row to be what it should.
func (b *bench) same(got, want schemas.Row) {
	b.Helper()
	if show(got) != show(want) {
		b.Fatalf("row is %s\n    want %s", show(got), show(want))
	}
}

func show(row schemas.Row) string {
	if row == nil {
		return "absent"
	}
	var out strings.Builder
	for _, col := range row {
		switch col.Presence {
		case schemas.Null:
			fmt.Fprintf(&out, "%s=NULL ", col.Name)
		default:
			fmt.Fprintf(&out, "%s=%q ", col.Name, col.Text)
		}
	}
	return out.String()
}

// text is a column with a value.
func text(name, value string) schemas.Column { return schemas.Column{Name: name, Text: value} }

// null is a column that is NULL.
func null(name string) schemas.Column { return schemas.Column{Name: name, Presence: schemas.Null} }

// applied waits for an Apply that runs meanwhile.
type applied struct {
	out schemas.Outcome
	err error
}

// start applies in the background.
func start(ctx context.Context, a compensate.Applier, c schemas.Compensation) <-chan applied {
	done := make(chan applied, 1)
	go func() {
		out, err := a.Apply(ctx, c)
		done <- applied{out, err}
	}()
	return done
}

// finish wants the result of a started Apply.
func (b *bench) finish(done <-chan applied, want schemas.Result) {
	b.Helper()
	got := <-done
	if got.err != nil || got.out.Result != want {
		b.Fatalf("%s %q, %v; want %s", got.out.Result, got.out.Detail, got.err, want)
	}
}
