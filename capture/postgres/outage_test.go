package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

// A server of the test's own goes through what servers go through, and one
// capture lives through it all.
func TestOutages(t *testing.T) {
	t.Parallel()
	server, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Dir: t.TempDir(), Settings: map[string]string{
		"max_prepared_transactions": "5", "restore_command": "/bin/false", "wal_sender_timeout": "2s", "min_wal_size": "80MB"}})
	servertest.Check(t, err)
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	d := openDB(t, server.DSN, createOrders)
	cfg := d.config(orderEntity)
	cfg.Slot = "outages"
	s, start := openFirst(t, cfg)
	o := &outages{t: t, server: server, d: d, r: capturing(t, s, start, newSink())}
	for _, step := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"I6_PreparedTransactions", o.prepared},
		{"SlowSinkKeepsTheConnection", o.slowSink},
		{"I2_KilledServerLosesNothing", o.killed},
		{"I2_I40_RestartedServerLosesAndRepeatsNothing", o.restarted},
		{"I7_PromotionIsAGap", o.promoted},
		{"I7_LostSlotIsAGap", o.lost},
	} {
		if !t.Run(step.name, step.run) {
			return
		}
	}
}

type outages struct {
	t      *testing.T
	server *servers.Postgres
	d      *db
	r      *running
}

// again connects the test again, after the server was away.
func (o *outages) again(t *testing.T) {
	t.Helper()
	o.d = &db{t: o.t, dsn: o.server.DSN}
	o.d.conn = o.d.connect()
}

// fresh returns the changes since there were n.
func (o *outages) fresh(t *testing.T, n int) []schemas.Change {
	t.Helper()
	return o.r.caughtUp(o.d)[n:]
}

// I6: "… prepared txns (2PC)": their rows come with the second commit, and
// never if that is not to be.
func (o *outages) prepared(t *testing.T) {
	n := len(o.r.caughtUp(o.d))
	o.d.exec("begin; insert into orders values (1); prepare transaction 'a'")
	o.d.exec("begin; insert into orders values (2); prepare transaction 'b'")
	o.d.exec("insert into orders values (3)")
	want(t, o.fresh(t, n), "0 insert [3]: - -> id=3 status=NULL amount=NULL note=NULL")
	o.d.exec("rollback prepared 'b'")
	o.d.exec("commit prepared 'a'")
	want(t, o.fresh(t, n+1), "0 insert [1]: - -> id=1 status=NULL amount=NULL note=NULL")
}

// "Socket reader is its own goroutine; status updates on their own timer": a
// sink that takes longer than wal_sender_timeout costs no connection.
func (o *outages) slowSink(t *testing.T) {
	n := len(o.r.caughtUp(o.d))
	connections := o.r.source.Stats().Connections
	release := make(chan struct{})
	o.r.sink.mu.Lock()
	o.r.sink.onChange = func(ctx context.Context, c *schemas.Change) error {
		if c.After == nil || c.Key[0] != "5000" {
			return nil
		}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	o.r.sink.mu.Unlock()
	o.d.exec("insert into orders select i, repeat('x', 1000) from generate_series(5000, 29999) i") // three times the queue
	until(t, "a connection that is older than the timeout", func() bool {
		return get[bool](o.d, "select extract(epoch from now() - backend_start) > 5 from pg_stat_replication")
	})
	close(release)
	if got := len(o.fresh(t, n)); got != 25000 {
		t.Errorf("%d changes", got)
	}
	if got := o.r.source.Stats().Connections; got != connections {
		t.Errorf("%d connections were lost", got-connections)
	}
	o.r.sink.mu.Lock()
	o.r.sink.onChange = nil
	o.r.sink.mu.Unlock()
}

// I2: "every committed row change in scope appears ≥ 1 time": the server is
// killed while writers write; it forgets how far the slot was confirmed (E3).
func (o *outages) killed(t *testing.T) {
	connections := o.r.source.Stats().Connections
	for round := range 2 {
		o.awayFromWriters(t, round, o.server.Kill)
	}
	o.sameAsThere(t)
	if o.r.source.Stats().Connections < connections+2 {
		t.Error("no connection was lost")
	}
}

// Fault matrix: "PG restart: reconnect with backoff"; I40: "graceful stop loses
// nothing and re-emits nothing". The server is restarted while writers write, as
// pg_ctl restart -m fast does it: connections are ended, and the stream in good
// order, with all that has committed.
func (o *outages) restarted(t *testing.T) {
	o.r.caughtUp(o.d)
	connections, repeated := o.r.source.Stats().Connections, o.r.sink.repeats()
	for round := range 2 {
		o.awayFromWriters(t, 2+round, o.server.Stop)
	}
	o.sameAsThere(t)
	if got := o.r.source.Stats().Connections; got < connections+2 {
		t.Errorf("%d connections", got-connections)
	}
	if got := o.r.sink.repeats(); got != repeated {
		t.Errorf("%d changes came again", got-repeated)
	}
	stillRuns(t, o.r)
}

func stillRuns(t *testing.T, r *running) {
	t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		t.Errorf("the source has ended: %v", err)
	default:
	}
}

// repeats is how many changes came more than once.
func (s *sink) repeats() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repeated
}

// awayFromWriters has the server go and come back while writers write.
func (o *outages) awayFromWriters(t *testing.T, round int, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writing sync.WaitGroup
	var written atomic.Int64
	for w := range 3 {
		writing.Go(func() {
			conn, err := pgx.Connect(ctx, o.server.DSN)
			for i := 0; err == nil; i++ {
				id := 1_000_000*(round+1) + 100_000*w + i*10
				_, err = conn.Exec(ctx, fmt.Sprintf("begin; insert into orders select i, 'written' from generate_series(%d, %d) i; update orders set status = 'paid' where id = %[1]d; commit", id, id+2))
				written.Add(1)
			}
		})
	}
	o.r.sink.mu.Lock()
	n := len(o.r.sink.fresh)
	o.r.sink.mu.Unlock()
	o.r.sink.await(t, "some changes of the writers", func() bool { return len(o.r.sink.fresh) > n+300 })
	if err := end(); err != nil {
		t.Fatal(err)
	}
	writing.Wait()
	if err := o.server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.again(t)
	o.d.exec("delete from orders where id % 10 = 1 and id > 1000000")
	if written.Load() < 10 {
		t.Errorf("only %d transactions", written.Load())
	}
}

// sameAsThere compares what was captured, applied, with what is there.
func (o *outages) sameAsThere(t *testing.T) {
	t.Helper()
	rows := map[string]string{}
	for _, c := range o.r.caughtUp(o.d) {
		if c.Op == schemas.OpDelete {
			delete(rows, c.Key[0])
		} else {
			status, _ := c.After.Get("status")
			rows[c.Key[0]] = status.Text
		}
	}
	there, err := o.d.conn.Query(t.Context(), "select id::text, coalesce(status, '') from orders")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var id, status string
	_, err = pgx.ForEachRow(there, []any{&id, &status}, func() error {
		n++
		if got, ok := rows[id]; !ok || got != status {
			t.Errorf("row %s is %.20q, captured %.20q (%t)", id, status, got, ok)
		}
		return nil
	})
	if err != nil || n != len(rows) {
		t.Errorf("%d rows, %d captured: %v", n, len(rows), err)
	}
}

// A server that recovers from an archive begins a new timeline, as a promoted
// standby does. Before version 17 nothing shows that a slot that is there came
// from the primary (TestI7_Failover shows the other case).
func (o *outages) promoted(t *testing.T) {
	n := len(o.r.caughtUp(o.d))
	o.d.exec("insert into orders values (70)")
	o.fresh(t, n)
	if err := o.server.Stop(); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(o.server.Dir, "data")
	signal := filepath.Join(data, "recovery.signal")
	if err := os.WriteFile(signal, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(signal, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := o.server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.again(t)
	until(t, "a primary", func() bool { return !get[bool](o.d, "select pg_is_in_recovery()") })
	o.d.exec("insert into orders values (71)")
	wantGap(t, o.r.failed(), "not one that it had from its primary: before PostgreSQL 17 slots do not survive a promotion")
	resume, _ := o.r.sink.ack()
	_, err := o.r.source.Open(t.Context(), capture.Resume(strings.Replace(string(resume), "0/", "FFFF/", 1)), o.r.start.Identity)
	wantGap(t, err, "timeline 1 ended")
	// What begins there goes on there.
	o.d.exec("select pg_drop_replication_slot('outages')")
	s, start := openFirst(o.t, o.r.source.cfg)
	if !strings.HasSuffix(string(start.Resume), "@2") {
		t.Errorf("a first start at %s", start.Resume)
	}
	o.r = capturing(o.t, s, start, newSink())
	o.d.exec("insert into orders values (72)")
	want(t, o.fresh(t, 0), "0 insert [72]: - -> id=72 status=NULL amount=NULL note=NULL")
}

// E4: a slot that fell behind max_slot_wal_keep_size is a gap, not an error to
// try again.
func (o *outages) lost(t *testing.T) {
	o.r.stop()
	resume, _ := o.r.sink.ack()
	o.d.exec("alter system set max_slot_wal_keep_size = '16MB'")
	o.d.exec("select pg_reload_conf()")
	until(t, "a lost slot", func() bool {
		o.d.exec("insert into orders select max(id) + 1 from orders")
		o.d.exec("select pg_switch_wal()")
		o.d.exec("checkpoint")
		return get[string](o.d, "select wal_status from pg_replication_slots where slot_name = 'outages'") == "lost"
	})
	var gap *capture.GapError
	if _, err := o.r.source.Open(t.Context(), resume, o.r.start.Identity); !errors.As(err, &gap) || !strings.Contains(gap.Reason, "is lost") {
		t.Error(err)
	}
	by := findings(t, o.r.source.cfg)
	expect(t, by, capture.Fail, "slot outages", "pg_drop_replication_slot")
}
