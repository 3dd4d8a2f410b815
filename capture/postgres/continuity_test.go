package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// workload commits transactions of every shape: COPY, many rows, single rows,
// moved keys, savepoints, interleaved with one that stays open.
func workload(d *db, rounds int) {
	d.t.Helper()
	other := d.connect()
	for i := range rounds {
		base := i * 100
		if i%5 == 0 {
			if _, err := other.PgConn().Exec(d.t.Context(), fmt.Sprintf("begin; insert into orders values (%d, 'slow')", base+90)).ReadAll(); err != nil {
				d.t.Fatal(err)
			}
		}
		copyRows(d, base, base+3)
		d.exec(fmt.Sprintf("insert into orders select i, 'many' from generate_series(%d, %d) i", base+10, base+14))
		d.exec(fmt.Sprintf("begin; update orders set id = id + 20 where id between %d and %d; savepoint a; delete from orders; rollback to a; insert into orders values (%d); commit",
			base+10, base+14, base+50))
		d.exec(fmt.Sprintf("delete from orders where id = %d", base+1))
		if i%5 == 4 {
			if _, err := other.PgConn().Exec(d.t.Context(), "commit").ReadAll(); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	if _, err := other.PgConn().Exec(d.t.Context(), "commit").ReadAll(); err != nil {
		d.t.Fatal(err)
	}
}

// I3: "same change ⇒ same EventID after any restart". The same log is read
// again from every kind of position that a progress gave.
func TestI3_SameIdentityFromEveryPosition(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	s, start := openFirst(t, d.config(orderEntity))
	whole := newSink()
	whole.hold = true // the slot stays where it is, so that everything can be read again
	r := capturing(t, s, start, whole)
	workload(d, 20)
	all := r.caughtUp(d)
	end := d.flushed()
	r.stop()
	if len(all) != 20*(3+5+10+1+1)+4 {
		t.Fatalf("%d changes", len(all))
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	// A start says that what is before it is durable: the positions rise.
	positions := make([]int, 6)
	for i := range positions {
		positions[i] = random.IntN(len(whole.resumes))
	}
	slices.Sort(positions)
	for _, i := range positions {
		again := newSink()
		again.hold = true
		r := capturing(t, s, capture.Start{Resume: whole.resumes[i], Identity: start.Identity}, again)
		again.reached(t, end)
		r.stop()
		var rest []schemas.Change
		for _, c := range all {
			if c.Pos > whole.progress[i].Pos {
				rest = append(rest, c)
			}
		}
		if len(again.changes) != len(rest) {
			t.Fatalf("%d changes after %s, the first reading gave %d", len(again.changes), whole.progress[i].Pos, len(rest))
		}
		for j, c := range again.changes {
			if c.EventID != rest[j].EventID || said(c) != said(rest[j]) || c.Txn != rest[j].Txn || c.TxnRows != rest[j].TxnRows {
				t.Fatalf("after %s: %v %s, the first reading gave %v %s", whole.progress[i].Pos, c.EventID, said(c), rest[j].EventID, said(rest[j]))
			}
		}
	}
}

// A lost connection is one more: continuity is proven again, what was received
// whole is handed over to its end, and what was received in part comes again.
func TestI3_SameIdentityAfterLostConnection(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	cfg := d.config(orderEntity)
	r := first(t, cfg)
	killer := d.connect()
	kills := 0
	r.sink.onChange = func(ctx context.Context, c *schemas.Change) error {
		if c.Ordinal != 4000 {
			return nil
		}
		tag, err := killer.Exec(ctx, "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active_pid is not null", cfg.Slot)
		kills += int(tag.RowsAffected())
		return err
	}
	// Each larger than what waits for a commit, and than what waits between the goroutines.
	for i := range 3 {
		d.exec(fmt.Sprintf(`insert into orders select i, repeat('x', 500) from generate_series(%d, %d) i`, 1_000_001+i*20_000, 1_020_000+i*20_000))
	}
	workload(d, 2)
	got := r.caughtUp(d)
	if len(got) != 60000+2*20+1 || kills == 0 { // one that was received whole already is handed over without a connection
		t.Errorf("%d changes, %d kills", len(got), kills)
	}
	if r.sink.repeated != 0 || r.source.Stats().Connections < 2 {
		t.Errorf("%d were repeated over %d connections", r.sink.repeated, r.source.Stats().Connections)
	}
}

// I1: "position sent to slot ≤ … contiguous acked prefix, at a txn boundary".
func TestI1_AckAfterDurable(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	cfg := d.config(orderEntity)
	s, start := openFirst(t, cfg)
	to := newSink()
	to.hold = true
	at := lsnOf(t, start.Resume)
	r := capturing(t, s, start, to)
	workload(d, 3)
	r.caughtUp(d)
	to.ackAll()
	resume, _ := to.ack()
	acked := lsnOf(t, resume)
	untilConfirmed(t, d, cfg.Slot, acked)
	d.exec("insert into orders values (100000)")
	r.caughtUp(d)
	// Several statuses have gone out by now and more go: none is ahead.
	for range 20 {
		if c := d.confirmed(cfg.Slot); c != acked {
			t.Fatalf("the slot is at %s, only %s is durable", c, acked)
		}
		n := len(to.progress)
		to.await(t, "progress", func() bool { return len(to.progress) > n })
	}
	if acked <= at {
		t.Fatalf("nothing moved beyond %s", at)
	}
	// What became durable late is told on leaving.
	to.ackAll()
	last, _ := to.ack()
	r.stop()
	untilConfirmed(t, d, cfg.Slot, lsnOf(t, last))

	// A sink that says more than it was given is not believed.
	liar := capturing(t, s, capture.Start{Resume: last, Identity: start.Identity}, newSink())
	liar.sink.mu.Lock()
	liar.sink.resumes, liar.sink.progress, liar.sink.acked = []capture.Resume{"FFFF/0@1"}, []schemas.Progress{{}}, 1
	liar.sink.hold = true
	liar.sink.mu.Unlock()
	if err := liar.failed(); !strings.Contains(err.Error(), "FFFF/0") {
		t.Error(err)
	}
	if c := d.confirmed(cfg.Slot); c > d.flushed() {
		t.Errorf("the slot is at %s", c)
	}
}

// I7, zoo Z4: "if continuity is not proven at (re)connect, stop with a gap".
func TestI7_GapIsLoud(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breaks func(d *db, slot string)
		says   string
		entity bool // of the entity alone
	}{
		"slot dropped": {func(d *db, slot string) { d.exec("select pg_drop_replication_slot($1)", slot) }, "is gone", false},
		"slot made again": {func(d *db, slot string) {
			d.exec("select pg_drop_replication_slot($1)", slot)
			d.exec("insert into orders values (1000)")
			d.exec("select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
		}, "after our position", false},
		"slot made again at once": {func(d *db, slot string) {
			d.exec("select pg_drop_replication_slot($1)", slot)
			d.exec("select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
		}, "after our position", false},
		"slot of another plugin": {func(d *db, slot string) {
			d.exec("select pg_drop_replication_slot($1)", slot)
			d.exec("select pg_create_logical_replication_slot($1, 'test_decoding')", slot)
		}, "test_decoding", false},
		"slot moved on": {func(d *db, slot string) {
			d.exec("insert into orders values (1000)")
			d.exec("select pg_replication_slot_advance($1, pg_current_wal_flush_lsn())", slot)
		}, "after our position", false},
		"publication made again": {func(d *db, slot string) {
			d.exec("drop publication trueup; create publication trueup for table orders")
		}, "publication trueup was dropped", false},
		"publication gone": {func(d *db, slot string) { d.exec("drop publication trueup") }, "publication trueup is gone", false},
		"publication smaller": {func(d *db, slot string) {
			d.exec("alter publication trueup set (publish = 'insert')")
		}, "every kind of change", false},
		"table out and in": {func(d *db, slot string) {
			d.exec("alter publication trueup drop table orders; alter publication trueup add table orders")
		}, "came back", true},
		"table out":      {func(d *db, slot string) { d.exec("alter publication trueup drop table orders") }, "left publication", true},
		"table filtered": {func(d *db, slot string) { d.exec("alter publication trueup set table orders where (id > 5)") }, "came back", true},
		"table made again": {func(d *db, slot string) {
			d.exec("drop table orders; " + createOrders + "; alter publication trueup add table orders")
		}, "orders: it was dropped and created again", true},
		"table gone": {func(d *db, slot string) { d.exec("drop table orders") }, "table public.orders: it is gone", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t, createOrders)
			cfg := d.config(orderEntity)
			s, start := openFirst(t, cfg)
			r := capturing(t, s, start, newSink())
			d.exec("insert into orders values (1)")
			r.caughtUp(d)
			r.stop()
			resume, _ := r.sink.ack()
			untilConfirmed(t, d, cfg.Slot, lsnOf(t, resume))
			if _, err := s.Open(t.Context(), resume, start.Identity); err != nil {
				t.Fatalf("before anything happened: %v", err)
			}
			awaitFree(d, cfg.Slot)
			c.breaks(d, cfg.Slot)

			var gap *capture.GapError
			opened, err := s.Open(t.Context(), resume, start.Identity)
			if c.entity {
				if err != nil || len(opened.Found) != 1 || !strings.Contains(opened.Found[0].Reason, c.says) || opened.Found[0].Entity != "order" || opened.Found[0].Remedy == "" {
					t.Fatalf("open: %+v, %v", opened, err)
				}
				if again, err := s.Open(t.Context(), resume, opened.Identity, "order"); err != nil || len(again.Found) != 0 {
					t.Errorf("open without the entity: %+v, %v", again, err)
				}
			} else if !errors.As(err, &gap) || !strings.Contains(gap.Reason, c.says) || gap.Source != "pg-test" || gap.Remedy == "" {
				t.Errorf("open: %v", err)
			}
			again := capturing(t, s, capture.Start{Resume: resume, Identity: start.Identity}, newSink())
			if err := again.failed(); !errors.As(err, &gap) || !strings.Contains(gap.Reason, c.says) {
				t.Errorf("run: %v", err)
			}
			if len(again.sink.changes) != 0 {
				t.Errorf("%d changes came from beyond the gap", len(again.sink.changes))
			}
		})
	}
}

// awaitFree waits until nobody streams from a slot.
func awaitFree(d *db, slot string) {
	d.t.Helper()
	until(d.t, "slot "+slot+" is free", func() bool {
		return !get[bool](d, "select active from pg_replication_slots where slot_name = $1", slot)
	})
}

// A gap that opens while the stream runs is found without a new connection,
// even where the stream itself says nothing about it.
func TestI7_TableLeavesWhileStreaming(t *testing.T) {
	d := newDB(t, createOrders)
	s, start := openFirst(t, d.config(orderEntity))
	to := newSink()
	to.refuses = true
	r := capturing(t, s, start, to)
	d.exec("insert into orders values (1)")
	r.caughtUp(d)
	d.exec("drop table orders; " + createOrders + "; alter publication trueup add table orders; insert into orders values (2)")
	to.await(t, "halt", func() bool { return len(to.halts) == 1 })
	if h := to.halts[0]; h.Entity != "order" || !strings.Contains(h.Reason, "dropped and created again") {
		t.Errorf("%+v", h)
	}
	r.caughtUp(d)
	want(t, r.sink.fresh, "0 insert [1]: - -> id=1 status=NULL amount=NULL note=NULL")
}

// What the identity alone decides, and what only a fork in the timelines can.
func TestIdentityBreaks(t *testing.T) {
	id := identity{SystemID: "1", Timeline: 2, Database: "d", Slot: "s", Publication: "p", PublicationOID: 5, History: "1:0/1000",
		Tables: map[string]tableIdentity{"public.a": {OID: 7, Membership: 8}, "public.gone": {OID: 1, Membership: 2}}}
	parsed, at, err := parseStart(capture.Start{Resume: "0/4000@2", Identity: id.String()})
	if err != nil || at != 0x4000 {
		t.Fatal(at, err)
	}
	forks, err := parseForks("1\t0/1000\tno recovery target specified\n\n2\t0/5000\tbefore 2026-11-23\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*identity)
		at     lsn
		says   string
	}{
		"same":             {func(*identity) {}, 0x4000, ""},
		"no longer mapped": {func(i *identity) { i.Tables = map[string]tableIdentity{"public.a": {OID: 7, Membership: 8}} }, 1, ""},
		"another cluster":  {func(i *identity) { i.SystemID = "2" }, 1, "another cluster"},
		"database":         {func(i *identity) { i.Database = "e" }, 1, "database is e"},
		"slot":             {func(i *identity) { i.Slot = "t" }, 1, "slot is t"},
		"publication":      {func(i *identity) { i.Publication = "q" }, 1, "publication is q"},
		"descendant":       {func(i *identity) { i.Timeline = 3 }, 0x5000, ""},
		"beyond the fork":  {func(i *identity) { i.Timeline = 3 }, 0x5001, "timeline 2 ended at 0/5000, before our position 0/5001"},
		"no descendant":    {func(i *identity) { i.Timeline = 1 }, 1, "does not descend"},
		"another fork":     {func(i *identity) { i.History = "1:0/1001" }, 1, "another timeline 2"},
		"of ours":          {func(i *identity) { i.Timeline, i.History = 3, "1:0/1000 2:0/5000" }, 1, ""},
		"longer number":    {func(i *identity) { i.Timeline, i.History = 3, "1:0/10001 2:0/5000" }, 1, "another timeline 3"},
	} {
		now := parsed
		now.Tables = map[string]tableIdentity{"public.a": {OID: 7, Membership: 8}, "public.gone": {OID: 1, Membership: 2}}
		c.change(&now)
		of := forks
		if name == "no descendant" {
			of = nil
		}
		if got := id.breaks(now, of, c.at); (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q, want %q", name, got, c.says)
		}
	}
	for _, bad := range []capture.Resume{"", "0/1", "0/1@", "0/1@0", "0/0@1", "0/1@x", "1@1", "0/100000000@1", "0/1@1@1", "g/1@1"} {
		if p, err := parseResume(bad); err == nil {
			t.Errorf("%q is %+v", bad, p)
		}
	}
	for _, bad := range []string{"x", "1\tx", "1"} {
		if _, err := parseForks(bad); err == nil {
			t.Errorf("history %q was read", bad)
		}
	}
}

// "Slot active elsewhere: wait/fail with PID; never kill the other's backend".
func TestSlotInUse(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	cfg := d.config(orderEntity)
	s, start := openFirst(t, cfg)
	held := newSink()
	held.hold = true
	one := capturing(t, s, start, held)
	d.exec("insert into orders values (1)")
	one.caughtUp(d)
	pid := get[int](d, "select active_pid from pg_replication_slots where slot_name = $1", cfg.Slot)

	cfg.SlotWait = time.Second
	two := capturing(t, New(cfg), start, newSink())
	err := two.failed()
	if !strings.Contains(err.Error(), fmt.Sprint(pid)) || !strings.Contains(err.Error(), cfg.Slot) {
		t.Errorf("%v; want the slot and process %d", err, pid)
	}
	d.exec("insert into orders values (2)")
	one.caughtUp(d)
	if n := one.source.Stats().Connections; n != 1 {
		t.Errorf("the first was interrupted: %d connections", n)
	}
	// It waits for one that goes.
	cfg.SlotWait = patience
	three := capturing(t, New(cfg), start, newSink())
	one.stop()
	d.exec("insert into orders values (3)")
	three.caughtUp(d)
}

// The first start does not take over a slot that is there, and says everything
// that is wrong at once, before it creates anything.
func TestFirstStartRefuses(t *testing.T) {
	d := newDB(t, createOrders, "create table bad (id int, v text)", "create view seen as select * from orders")
	cfg := d.config(orderEntity + `
  - name: bad
    key: [id]
    legacy: {table: public.bad}
    target: {table: shop.bad}
    fields: {id: {type: integer}, v: {type: text}, missing: {type: text}}
  - name: seen
    key: [id]
    legacy: {table: public.seen}
    target: {table: shop.seen}
    fields: {id: {type: integer}}
`)
	_, err := New(cfg).Open(t.Context(), "", "")
	for _, says := range []string{"public.bad", "REPLICA IDENTITY FULL", "public.seen: it is not a table"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; want %q in it", err, says)
		}
	}
	d.exec("alter table bad replica identity full")
	if _, err := New(cfg).Open(t.Context(), "", ""); err == nil || !strings.Contains(err.Error(), "no column missing") || !strings.Contains(err.Error(), "ADD PRIMARY KEY (\"id\")") {
		t.Error(err)
	}
	if n := get[int](d, "select (select count(*) from pg_publication) + (select count(*) from pg_replication_slots where slot_name = $1)", cfg.Slot); n != 0 {
		t.Error("something was created")
	}
	cfg = d.config(orderEntity)
	_, start := openFirst(t, cfg)
	if _, err := New(cfg).Open(t.Context(), "", ""); err == nil || !strings.Contains(err.Error(), "exists already") || !strings.Contains(err.Error(), "pg_drop_replication_slot") {
		t.Error(err)
	}
	if _, err := New(cfg).Open(t.Context(), start.Resume, ""); err == nil {
		t.Error("a position without the identity of its log was accepted")
	}
}

// A first start waits for the transactions that are open; one that is given up
// leaves no slot behind.
func TestFirstStartGivenUpLeavesNoSlot(t *testing.T) {
	d := newDB(t, createOrders)
	other := d.connect()
	if _, err := other.PgConn().Exec(t.Context(), "begin; insert into orders values (1)").ReadAll(); err != nil {
		t.Fatal(err)
	}
	cfg := d.config(orderEntity)
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	go func() {
		_, err := New(cfg).Open(ctx, "", "")
		opened <- err
	}()
	await := func(n int) {
		t.Helper()
		until(t, fmt.Sprintf("%d slots", n), func() bool {
			return get[int](d, "select count(*) from pg_replication_slots where slot_name = $1", cfg.Slot) == n
		})
	}
	await(1) // in the making
	cancel()
	if err := <-opened; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	await(0)
}
