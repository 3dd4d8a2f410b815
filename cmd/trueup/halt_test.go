package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

const haltMigration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: halting, owner: team-orders}
stores:
  legacy: {driver: postgres, dsn: "file:legacy.dsn"}
  target: {driver: postgres, dsn: "file:target.dsn"}
log: {partitions: 2}
entities:
  - {name: order, key: [id], legacy: {table: public.orders}, target: {table: public.orders}, fields: {id: {type: integer}, v: {type: text}}, settleWindow: 200ms}
  - {name: line, key: [id], legacy: {table: public.lines}, target: {table: public.lines}, fields: {id: {type: integer}, v: {type: text}NOTE}, settleWindow: 200ms}
`

// I8, I21, I23, fault matrix "Schema drift": under "trueup run" a mapped column
// of one of two tables is dropped. The other is compared on, status says what
// halted and what to do, nothing is called equal, and after the fix and a
// restart it is compared again.
func TestI8_I21_I23_OneTableHalts(t *testing.T) {
	t.Parallel()
	var stores [2]*pgx.Conn
	var dsns [2]string
	for i := range stores {
		dsns[i] = servertest.PostgresDatabase(t)
		conn, err := pgx.Connect(t.Context(), dsns[i])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		stores[i] = conn
	}
	exec := func(sql string, on ...*pgx.Conn) {
		t.Helper()
		for _, c := range on {
			if _, err := c.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	both := stores[:]
	exec(`create table orders (id bigint unique, v text); alter table orders replica identity full;
		create table lines (id bigint primary key, v text, note text); alter table lines replica identity full`, both...)
	path := writeMigration(t, strings.Replace(haltMigration, "NOTE", ", note: {type: text}", 1), dsns[0], dsns[1])
	data := filepath.Join(filepath.Dir(path), "trueup-data")

	run := func(until string, holds func(*statusFile) bool, work func(), args ...string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		began := time.Now()
		go func() {
			_, complain, err := execute(ctx, append([]string{"run", "-f", path}, args...)...)
			if err != nil {
				err = fmt.Errorf("%w\n%s", err, complain)
			}
			done <- err
		}()
		await := func(what string, holds func(*statusFile) bool) {
			t.Helper()
			for {
				s, err := readStatus(data)
				if err == nil && s != nil && s.Started.After(began) && holds(s) {
					if s.Records.Unaccounted != 0 {
						t.Errorf("I21: %+v", s.Records)
					}
					return
				}
				select {
				case err := <-done:
					t.Fatalf("ended before %s: %v", what, err)
				case <-time.After(20 * time.Millisecond):
				}
				if time.Since(began) > 2*time.Minute {
					t.Fatalf("not %s: %+v", what, s)
				}
			}
		}
		await("started", func(s *statusFile) bool { return s.Sides["legacy"].Frontier != "" && s.Sides["target"].Frontier != "" })
		work()
		await(until, holds)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	code := func(args ...string) int {
		_, _, err := execute(t.Context(), args...)
		var status exitStatus
		switch {
		case errors.As(err, &status):
			return int(status)
		case err != nil:
			return exitError
		}
		return exitClean
	}

	run("the other is compared", func(s *statusFile) bool {
		// "what was read is void" also before the process is started again
		return len(s.Sides["target"].Halted) == 1 && len(s.uncovered(schemas.Target, []string{"line", "order"})) == 1 && s.Keys.Equal == 3 && s.Keys.Unknown["gap"]+s.Keys.Unknown["no_data"] == 2 && s.Keys.Unknown["quarantined"] == 1 && s.Keys.Diverged == 0
	}, func() {
		exec("insert into orders values (1, 'a'); insert into lines values (1, 'a', 'x')", both...)
		exec("alter table lines drop column note", stores[1])
		exec("insert into lines values (2, 'b', 'y')", stores[0])
		exec("insert into lines values (2, 'b')", stores[1])
		exec("insert into orders values (2, 'b'); insert into orders values (3, 'c')", both...)
		exec("insert into orders values (null, 'nobody')", stores[0])
	})
	out, _, _ := execute(t.Context(), "status", "-f", path)
	for _, says := range []string{"target: entity line has halted", "column note", "--resume line", "trueup baseline --entity line", "1 rows could not be read", "digest"} {
		if !strings.Contains(out, says) {
			t.Errorf("status does not say %q:\n%s", says, out)
		}
	}
	if strings.Contains(out, "target line: covered") {
		t.Errorf("what has halted is called covered:\n%s", out)
	}
	if c := code("status", "-f", path); c != exitInconclusive {
		t.Errorf("status: exit code %d, want 2", c)
	}
	if c := code("audit", "-f", path); c != exitInconclusive {
		t.Errorf("audit: exit code %d, want 2", c)
	}

	// Halted as it is, it stays so over a restart.
	run("still halted", func(s *statusFile) bool {
		return len(s.Sides["target"].Halted) == 1 && s.Keys.Equal == 4 && s.Keys.Diverged == 0
	}, func() {
		exec("insert into lines values (3, 'c', 'y')", stores[0])
		exec("insert into lines values (3, 'c')", stores[1])
		exec("insert into orders values (4, 'd')", both...)
	})

	// The field leaves the mapping: what changes from then on is compared.
	fixed := strings.Replace(haltMigration, "NOTE", "", 1)
	if err := os.WriteFile(path, []byte(fixed), 0o600); err != nil {
		t.Fatal(err)
	}
	run("compared again", func(s *statusFile) bool {
		return len(s.Sides["target"].Halted) == 0 && s.Keys.Equal == 6 && s.Keys.Diverged == 0
	}, func() {
		exec("update lines set v = 'again' where id = 1", both...)
		exec("insert into orders values (5, 'e')", both...)
	})
}
