package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

const tracedMigration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: traced-%s, owner: team-orders}
stores:
  legacy: {driver: postgres, dsn: "file:legacy.dsn"%s}
  target: {driver: mariadb, dsn: "file:target.dsn"%s}
log: {partitions: 2}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: %s.orders}
    fields:
      id: {type: integer}
      status: {type: text}
    settleWindow: 300ms
    authority: %s
    compensate: {mode: apply, policy: authority_wins}
`

// "One trace id typed by the application is found in its divergence, in the logs
// and in the exported spans": typed into a transaction of a real store, whose row
// never comes to the other one until "trueup run" repairs it.
func TestATraceIDFromTheApplicationsTransactionToTheEcho(t *testing.T) {
	for _, one := range []struct {
		authority, trace, parent string
		write                    func(traceparent string) []string // in one transaction
	}{
		{"legacy", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", func(traceparent string) []string {
			return []string{
				fmt.Sprintf(`select pg_logical_emit_message(true, 'trueup', '{"traceparent":"%s","write_id":"w-1","service":"checkout"}')`, traceparent),
				"insert into orders values (42, 'paid')"}
		}},
		{"target", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", func(traceparent string) []string {
			return []string{fmt.Sprintf("/*service='checkout',traceparent='%s',write_id='w-1'*/ insert into orders values (42, 'paid')", traceparent)}
		}},
	} {
		t.Run(one.authority, func(t *testing.T) {
			t.Parallel()
			legacy := servertest.PostgresDatabase(t)
			target, database := servertest.MariaDBDatabase(t)
			stores := map[string]*sql.DB{}
			for side, at := range map[string][2]string{"legacy": {"pgx", legacy}, "target": {"mysql", target}} {
				db, err := sql.Open(at[0], at[1])
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { db.Close() })
				if _, err := db.ExecContext(t.Context(), "create table orders (id bigint primary key, status varchar(20))"); err != nil {
					t.Fatal(err)
				}
				stores[side] = db
			}
			if _, err := stores["legacy"].ExecContext(t.Context(), "alter table orders replica identity full"); err != nil {
				t.Fatal(err)
			}
			const applies = `, applyDsn: "file:apply.dsn"`
			var path, apply string
			if one.authority == "legacy" {
				path = writeMigration(t, fmt.Sprintf(tracedMigration, one.authority, "", applies, database, "legacy"), legacy, target)
				apply = servertest.MariaDBApplier(t, target, "orders")
			} else {
				path = writeMigration(t, fmt.Sprintf(tracedMigration, one.authority, applies, "", database, "target"), legacy, target)
				apply = servertest.PostgresApplier(t, legacy, "orders")
			}
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), "apply.dsn"), []byte(apply), 0o600); err != nil {
				t.Fatal(err)
			}

			to := newReceiver(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			type ending struct {
				said string
				err  error
			}
			ended := make(chan ending, 1)
			go func() {
				_, said, err := execute(ctx, "run", "-f", path, "--otlp", to.server.URL)
				ended <- ending{said, err}
			}()
			data := filepath.Join(filepath.Dir(path), "trueup-data")
			for {
				if s, err := readStatus(data); err == nil && s != nil && s.Sides["legacy"].Frontier != "" && s.Sides["target"].Frontier != "" {
					break
				}
				select {
				case end := <-ended:
					t.Fatalf("it ended before both sides came in: %v\n%s", end.err, end.said)
				case <-time.After(20 * time.Millisecond):
				}
			}

			tx, err := stores[one.authority].BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, statement := range one.write("00-" + one.trace + "-" + one.parent + "-01") {
				if _, err := tx.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			spans := to.wait(t, "echo")
			stop()
			end := <-ended
			if end.err != nil {
				t.Fatalf("%v\n%s", end.err, end.said)
			}

			parent, id := one.parent, ""
			for _, name := range []string{"capture " + one.authority, "verdict missing", "repair applied", "echo"} {
				s := spans[name]
				if s == nil {
					t.Fatalf("no span %q\n%s", name, end.said)
				}
				if got := hex.EncodeToString(s.TraceId); got != one.trace {
					t.Errorf("%s is of trace %s", name, got)
				}
				if got := hex.EncodeToString(s.ParentSpanId); got != parent {
					t.Errorf("%s is under span %s, want %s", name, got, parent)
				}
				parent = hex.EncodeToString(s.SpanId)
				for _, a := range s.Attributes {
					if a.Key == "trueup.divergence.id" {
						id = a.Value.GetStringValue()
					}
				}
			}
			said := map[string]string{} // by message: the trace
			for line := range strings.Lines(end.said) {
				var l struct {
					Msg        string `json:"msg"`
					Trace      string `json:"trace_id"`
					Divergence string `json:"divergence"`
				}
				if json.Unmarshal([]byte(line), &l) == nil && l.Divergence == id {
					said[l.Msg] = l.Trace
				}
			}
			if said["divergence opened"] != one.trace {
				t.Errorf("the log says %v of divergence %s\n%s", said, id, end.said)
			}
			if _, ok := said["divergence closed"]; !ok {
				t.Errorf("the log does not say that it closed\n%s", end.said)
			}
			out, complain, err := execute(t.Context(), "divergences", "list", "--json", "-f", path)
			if err != nil {
				t.Fatalf("%v\n%s", err, complain)
			}
			var event struct {
				ID    string `json:"id"`
				Cause struct {
					Tag struct{ Traceparent string }
				} `json:"cause"`
			}
			if err := json.Unmarshal([]byte(strings.TrimSpace(out)), &event); err != nil || event.ID != id || !strings.Contains(event.Cause.Tag.Traceparent, one.trace) {
				t.Errorf("the event is %s: %v", out, err)
			}
			var status string
			other := map[string]string{"legacy": "target", "target": "legacy"}[one.authority]
			if err := stores[other].QueryRowContext(t.Context(), "select status from orders where id = 42").Scan(&status); err != nil || status != "paid" {
				t.Errorf("the %s store has %q: %v", other, status, err)
			}
		})
	}
}
