package compensatetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// races is how often an application's write meets a repair; TRUEUP_RACES says
// otherwise, as "make races" does.
func races(t *testing.T) int {
	text := os.Getenv("TRUEUP_RACES")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 30 {
		t.Fatalf("TRUEUP_RACES=%q: want a number from 30 on", text)
	}
	return n
}

// testRaces keeps I25 against writers that come between judgement and repair: in
// whatever order they meet, the application's write is what stands at the end
// (E20, cdm#260).
func testRaces(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v int)")
	table := b.table("orders", "id", "v")
	a := b.prepared(table)
	other := b.Session(t)
	b.Counted(t, "orders")

	seen := make(map[string]int)
	for i := range races(t) {
		id := i + 1
		kind := []string{"update", "delete", "insert"}[i%3]
		sql := map[string]string{
			"update": fmt.Sprintf("UPDATE orders SET v = %d WHERE id = %d", 1000+id, id),
			"delete": fmt.Sprintf("DELETE FROM orders WHERE id = %d", id),
			"insert": fmt.Sprintf("INSERT INTO orders VALUES (%d, %d)", id, 1000+id),
		}[kind]
		var c schemas.Compensation
		if kind == "insert" {
			c = b.compensation(table, nil, schemas.Row{text("id", fmt.Sprint(id)), text("v", "7")})
		} else {
			b.exec(fmt.Sprintf("INSERT INTO orders VALUES (%d, 0)", id))
			c = b.compensation(table, b.row("orders", id), schemas.Row{text("v", "7")})
		}

		begin, wrote := make(chan struct{}), make(chan error, 1)
		go func() {
			<-begin
			wait(i)
			wrote <- other.Exec(sql)
		}()
		done := start(b.Context(), a, c)
		close(begin)
		app, repair := <-wrote, <-done
		if repair.err != nil {
			t.Fatalf("race %d: %v", i, repair.err)
		}
		seen[kind+" "+string(repair.out.Result)]++
		if app != nil && (kind != "insert" || repair.out.Result != schemas.Applied) {
			t.Fatalf("race %d: the application's %s: %v; the repair was %s", i, kind, app, repair.out.Result)
		}
		b.raced(i, id, kind, repair.out.Result)
	}
	t.Log(seen)
	for _, kind := range []string{"update", "delete", "insert"} {
		for _, result := range []schemas.Result{schemas.Applied, schemas.PreconditionFailed} {
			if seen[kind+" "+string(result)] == 0 {
				t.Errorf("%s was never %s: the race had one order only", kind, result)
			}
		}
	}
}

// wait gives one of the two a start, mostly by less than a write takes.
func wait(i int) {
	if i%2 == 0 {
		time.Sleep(rand.N(8 * time.Millisecond)) //nolint:forbidigo // chance is what this is about; nothing waits for it
	}
}

// raced wants the application's write to stand, and the repair's effects to be as
// many as it says.
func (b *bench) raced(i, id int, kind string, result schemas.Result) {
	b.Helper()
	want := fmt.Sprint(1000 + id)
	switch {
	case kind == "delete":
		want = "absent"
	case kind == "insert" && result == schemas.Applied:
		want = "7" // the application was told so
	}
	got := "absent"
	if row := b.row("orders", id); row != nil {
		v, _ := row.Get("v")
		got = v.Text
	}
	if got != want {
		b.Fatalf("race %d: after the application's %s and a repair that was %s the row is %s, want %s", i, kind, result, got, want)
	}
	effects := map[string]int{"update": 2, "delete": 2, "insert": 0}[kind] // ours before the race, the application's
	if kind == "insert" || result == schemas.Applied {
		effects++
	}
	if got := b.effects(id); got != effects {
		b.Fatalf("race %d: %d effects, want %d", i, got, effects)
	}
}

// effects counts the writes to a row that were committed.
func (b *bench) effects(id int) int {
	b.Helper()
	var n int
	if _, err := fmt.Sscan(b.value(fmt.Sprintf("SELECT count(*) FROM effects WHERE id = %d", id)), &n); err != nil {
		b.Fatal(err)
	}
	return n
}

// testWaits: a repair that meets an open transaction waits for its end, and then
// looks at the row again (E20).
func testWaits(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v int)", "INSERT INTO orders VALUES (1, 0)")
	table := b.table("orders", "id", "v")
	a := b.prepared(table)
	for _, c := range []struct {
		name, sql, end string
		insert         bool
		want           schemas.Result
	}{
		{"update, then commit", "UPDATE orders SET v = 5 WHERE id = 1", "COMMIT", false, schemas.PreconditionFailed},
		{"update, then rollback", "UPDATE orders SET v = 5 WHERE id = 1", "ROLLBACK", false, schemas.Applied},
		{"update to the same, then commit", "UPDATE orders SET v = 5 WHERE id = 1; UPDATE orders SET v = 0 WHERE id = 1", "COMMIT", false, schemas.Applied},
		{"delete, then commit", "DELETE FROM orders WHERE id = 1", "COMMIT", false, schemas.PreconditionFailed},
		{"delete, then rollback", "DELETE FROM orders WHERE id = 1", "ROLLBACK", false, schemas.Applied},
		{"insert, then commit", "INSERT INTO orders VALUES (1, 5)", "COMMIT", true, schemas.PreconditionFailed},
		{"insert, then rollback", "INSERT INTO orders VALUES (1, 5)", "ROLLBACK", true, schemas.Applied},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.TB = t
			b.exec("DELETE FROM orders")
			comp := b.compensation(table, nil, schemas.Row{text("id", "1"), text("v", "7")})
			if !c.insert {
				b.exec("INSERT INTO orders VALUES (1, 0)")
				comp = b.compensation(table, b.row("orders", 1), schemas.Row{text("v", "7")})
			}
			b.exec("BEGIN")
			for _, sql := range split(c.sql) {
				b.exec(sql)
			}
			done := start(t.Context(), a, comp)
			b.Waiting(t)
			b.exec(c.end)
			b.finish(done, c.want)
		})
	}
}

// testLockTimeout: a row that stays locked is left to whoever holds it, after a
// bounded number of tries.
func testLockTimeout(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v int)", "INSERT INTO orders VALUES (1, 0)")
	table := b.table("orders", "id", "v")
	b.prepared(table)
	a := b.Open(t, b.Address(), compensate.Tables{table}, Options{LockTimeout: time.Second, Attempts: compensate.Attempts{Max: 2}})
	c := b.compensation(table, b.row("orders", 1), schemas.Row{text("v", "7")})
	holder := b.Session(t)
	for _, sql := range []string{"BEGIN", "UPDATE orders SET v = 5 WHERE id = 1"} {
		if err := holder.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	out := b.apply(a, c, schemas.Failed)
	t.Log(out.Detail)
	if err := holder.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	b.apply(a, c, schemas.Applied) // the same id may be applied later
}

// testKilled: a session that the server ends takes nothing with it.
func testKilled(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v int)", "INSERT INTO orders VALUES (1, 0)")
	table := b.table("orders", "id", "v")
	a := b.prepared(table)
	c := b.compensation(table, b.row("orders", 1), schemas.Row{text("v", "7")})
	b.exec("BEGIN", "UPDATE orders SET v = 5 WHERE id = 1")
	done := start(t.Context(), a, c)
	b.Waiting(t)
	b.KillWaiting(t)
	b.exec("ROLLBACK")
	b.finish(done, schemas.Applied)
	b.same(b.row("orders", 1), schemas.Row{text("id", "1"), text("v", "7")})
}

// testDeadlock: a repair that the server gives up for a deadlock is tried again,
// with the same id, and takes effect once.
func testDeadlock(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE parent (id int PRIMARY KEY)", "INSERT INTO parent VALUES (7)", "CREATE TABLE weight (n int)",
		"CREATE TABLE child (id int PRIMARY KEY, parent_id int, FOREIGN KEY (parent_id) REFERENCES parent (id))")
	child := b.table("child", "id", "parent_id")
	a := b.prepared(child)
	holder := b.Session(t)
	exec := func(sql string) {
		t.Helper()
		if err := holder.Exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for id := 1; id <= 10; id++ {
		c := b.compensation(child, nil, schemas.Row{text("id", fmt.Sprint(id)), text("parent_id", "7")})
		exec("BEGIN")
		for range 20 { // the server gives up who has done less
			exec("INSERT INTO weight VALUES (1), (2), (3), (4), (5)")
		}
		exec("SELECT id FROM parent WHERE id = 7 FOR UPDATE")
		done := start(b.Context(), a, c)
		b.Waiting(t) // it has its row, and wants the parent's
		err := holder.Exec(fmt.Sprintf("INSERT INTO child VALUES (%d, 7)", id))
		exec("ROLLBACK")
		b.finish(done, schemas.Applied)
		if got := b.value(fmt.Sprintf("SELECT count(*) FROM child WHERE id = %d", id)); got != "1" || !b.recorded(c.ID) {
			t.Fatalf("%s rows, in the ledger: %v", got, b.recorded(c.ID))
		}
		if err == nil {
			t.Logf("the repair was given up in round %d", id)
			return // the application went on, so the repair was given up
		}
	}
	t.Fatal("the repair was never given up")
}

// testStatementTimeout: a write that takes too long is rolled back by the server,
// and after a bounded number of tries it has failed.
func testStatementTimeout(t *testing.T, e Engine) {
	b := newBench(t, e)
	b.exec("CREATE TABLE orders (id int PRIMARY KEY, v int)", "INSERT INTO orders VALUES (1, 0)")
	table := b.table("orders", "id", "v")
	b.prepared(table)
	if !b.Slow(t, "orders", 3) {
		t.Skip("the server has no timeout of statements that write")
	}
	a := b.Open(t, b.Address(), compensate.Tables{table}, Options{StatementTimeout: 300 * time.Millisecond, Attempts: compensate.Attempts{Max: 2}})
	judged := b.row("orders", 1)
	out := b.apply(a, b.compensation(table, judged, schemas.Row{text("v", "7")}), schemas.Failed)
	t.Log(out.Detail)
	b.same(b.row("orders", 1), judged)
}
