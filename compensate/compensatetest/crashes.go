package compensatetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// testAtMostOnce keeps I24: "effect of comp_id ≤ 1", by one applier after the
// other and by two at once.
func testAtMostOnce(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v int)")
	table := b.table("orders", "id", "v")
	a, other := b.prepared(table), b.prepared(table)
	b.Counted(t, "orders")

	// The precondition holds again, and still it is not written again.
	b.exec("INSERT INTO orders VALUES (1, 0)")
	judged := b.row("orders", 1)
	c := b.compensation(table, judged, schemas.Row{text("v", "7")})
	b.apply(a, c, schemas.Applied)
	b.exec("UPDATE orders SET v = 0 WHERE id = 1")
	b.apply(a, c, schemas.AlreadyApplied)
	b.apply(other, c, schemas.AlreadyApplied)
	b.same(b.row("orders", 1), judged)

	for i := range 60 {
		id := i + 10
		set := schemas.Row{text("id", fmt.Sprint(id)), text("v", "7")}
		c, effects := b.compensation(table, nil, set), 1
		if i%3 > 0 {
			b.exec(fmt.Sprintf("INSERT INTO orders VALUES (%d, 0)", id))
			set, effects = set[1:], 2
			if i%3 == 1 {
				set = nil
			}
			c = b.compensation(table, b.row("orders", id), set)
		}
		one, two := start(b.Context(), a, c), start(b.Context(), other, c)
		got := []applied{<-one, <-two}
		for _, g := range got {
			if g.err != nil {
				t.Fatal(g.err)
			}
		}
		results := fmt.Sprint(got[0].out.Result, got[1].out.Result)
		if results != fmt.Sprint(schemas.Applied, schemas.AlreadyApplied) && results != fmt.Sprint(schemas.AlreadyApplied, schemas.Applied) {
			t.Fatalf("%s of two at once: %s", c.Statement, results)
		}
		if got := b.effects(id); got != effects || !b.recorded(c.ID) {
			t.Fatalf("%s of two at once: %d effects, want %d", c.Statement, got, effects)
		}
	}
}

// testCrashes keeps I24 through a connection that breaks at every step: before a
// request reaches the server, after it did, and after the server answered, COMMIT
// included. The effect is there exactly once, and the ledger agrees.
func testCrashes(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v int)")
	table := b.table("orders", "id", "v")
	b.prepared(table)
	b.Counted(t, "orders")
	proxy := NewProxy(t, b.Address())

	id := 0
	for _, statement := range []schemas.Statement{schemas.InsertRow, schemas.UpdateRow, schemas.DeleteRow} {
		for _, fault := range []Fault{CutBefore, CutAfter, SwallowAnswer} {
			steps := 0
			for ; ; steps++ {
				id++
				// A fresh applier, so that a step is the same step every time.
				a := b.Open(t, proxy.Address(), compensate.Tables{table}, Options{})
				c, effects := b.stored(table, statement, id)
				proxy.Arm(fault, steps+1)
				b.apply(a, c, schemas.Applied)
				hit := proxy.Disarm()
				if got := b.effects(id); got != effects+1 {
					t.Fatalf("%s, %s at step %d: %d effects, want %d", statement, fault, steps+1, got, effects+1)
				}
				b.apply(a, c, schemas.AlreadyApplied)
				b.close(a)
				if !hit {
					break
				}
			}
			t.Logf("%s, %s: %d steps", statement, fault, steps)
			if steps < 4 {
				t.Fatalf("%s: only %d steps were hit", fault, steps)
			}
		}
	}
	b.lostCommit(proxy, table)
}

// lostCommit: the answer to COMMIT is lost, and in the last case the application
// makes the precondition true again before the applier is back. A try that did not
// look into the ledger first would write a second time.
func (b *bench) lostCommit(proxy *Proxy, table compensate.Table) {
	b.Helper()
	for i, fault := range []Fault{CutBefore, CutAfter, SwallowAnswer, SwallowAnswer} {
		id, reverts := 100_000+i, i == 3
		a := b.Open(b.TB, proxy.Address(), compensate.Tables{table}, Options{})
		c, _ := b.stored(table, schemas.UpdateRow, id)
		want, hook := "7", func() {}
		if reverts {
			want, hook = "0", func() {
				if err := b.app.Exec(fmt.Sprintf("UPDATE orders SET v = 0 WHERE id = %d", id)); err != nil {
					b.Errorf("make the precondition true again: %v", err)
				}
			}
		}
		proxy.ArmCommit(fault, b.Commits, hook)
		b.apply(a, c, schemas.Applied)
		if !proxy.Disarm() {
			b.Fatal("there was no COMMIT")
		}
		b.close(a)
		if got := b.value(fmt.Sprintf("SELECT v FROM orders WHERE id = %d", id)); got != want {
			b.Fatalf("COMMIT, %s: v is %s, want %s", fault, got, want)
		}
	}
}

func (b *bench) close(a Applier) {
	b.Helper()
	if err := a.Close(); err != nil {
		b.Fatalf("close: %v", err)
	}
}

// stored makes the row that a statement expects, and the compensation; effects is
// how many writes the row has seen.
func (b *bench) stored(table compensate.Table, statement schemas.Statement, id int) (c schemas.Compensation, effects int) {
	b.Helper()
	set := schemas.Row{text("id", fmt.Sprint(id)), text("v", "7")}
	if statement == schemas.InsertRow {
		return b.compensation(table, nil, set), 0
	}
	b.exec(fmt.Sprintf("INSERT INTO orders VALUES (%d, 0)", id))
	if statement == schemas.DeleteRow {
		return b.compensation(table, b.row("orders", id), nil), 1
	}
	return b.compensation(table, b.row("orders", id), set[1:]), 1
}

func split(sql string) []string { return strings.Split(sql, "; ") }
