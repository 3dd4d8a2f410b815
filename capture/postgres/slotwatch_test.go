package postgres

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// "Warnings long before loss, each with a remedy and said once per state
// change."
func TestSlotWarningsAreSaidOnce(t *testing.T) {
	lines := make(chan string, 100)
	log := slog.New(listener{slog.DiscardHandler, "", lines})
	said := func() (all []string) {
		for {
			select {
			case line := <-lines:
				all = append(all, line)
			default:
				return all
			}
		}
	}
	var w slotWatch
	now := time.Unix(1_790_000_000, 0)
	for i, step := range []struct {
		slot  SlotStats
		after time.Duration
		warns string // what the first warning says; "": none is there
		said  string // what is logged: w(arning), i(nformation)
	}{
		{SlotStats{WALStatus: "reserved", KeepBytes: -1, restart: "0/1", insert: "0/1"}, 0, "", ""},
		{SlotStats{WALStatus: "reserved", KeepBytes: -1, RetainedBytes: 2 << 30, restart: "0/1", insert: "0/2"}, time.Second, "nothing stops the server", "w"},
		{SlotStats{WALStatus: "reserved", KeepBytes: -1, RetainedBytes: 3 << 30, restart: "0/1", insert: "0/3"}, time.Second, "3.0 GB are kept", ""},
		{SlotStats{WALStatus: "extended", KeepBytes: -1, RetainedBytes: 3 << 30, restart: "0/1", insert: "0/4"}, time.Second, "more than max_wal_size", "w"},
		{SlotStats{WALStatus: "extended", KeepBytes: 5 << 30, RetainedBytes: 3 << 30, restart: "0/1", insert: "0/5"}, time.Second, "of 5.0 GB after which the slot is lost", "w"},
		{SlotStats{WALStatus: "unreserved", KeepBytes: 2 << 30, RetainedBytes: 3 << 30, restart: "0/1", insert: "0/6"}, time.Second, "lost at its next checkpoint", "w"},
		{SlotStats{WALStatus: "reserved", KeepBytes: 2 << 30, RetainedBytes: 1 << 20, restart: "0/7", insert: "0/7"}, time.Second, "", "i"},
		{SlotStats{WALStatus: "reserved", KeepBytes: -1, HeldBytes: 100 << 20, restart: "0/7", insert: "0/8"}, 9 * time.Minute, "", ""},
		{SlotStats{WALStatus: "reserved", KeepBytes: -1, HeldBytes: 100 << 20, restart: "0/7", insert: "0/9"}, time.Minute, "a transaction has been open", "w"},
		{SlotStats{WALStatus: "reserved", KeepBytes: -1, HeldBytes: 100 << 20, restart: "0/8", insert: "0/9"}, time.Minute, "", "i"},
		{SlotStats{WALStatus: "reserved", KeepBytes: -1, HeldBytes: 100 << 20, restart: "0/8", insert: "0/9"}, time.Hour, "", ""}, // nothing is written
		{SlotStats{WALStatus: "reserved", KeepBytes: -1, CatalogXminAge: 200_000_000, restart: "0/8", insert: "0/9"}, time.Second, "200000000 transactions", "w"},
	} {
		now = now.Add(step.after)
		warnings := w.take(&step.slot, now, log)
		if (len(warnings) == 0) != (step.warns == "") || len(warnings) > 0 && (!strings.Contains(warnings[0].Detail, step.warns) || warnings[0].Remedy == "") {
			t.Errorf("step %d: %+v, want %q", i, warnings, step.warns)
		}
		got := ""
		for _, line := range said() {
			got += map[string]string{"the server warns of a gap to come": "w", "no longer so": "i"}[line]
		}
		if got != step.said {
			t.Errorf("step %d: said %q, want %q", i, got, step.said)
		}
	}
}

// A capture that falls behind is warned of while there is time, and what it
// keeps is in its statistics.
func TestSlotThatFallsBehindIsWarnedOf(t *testing.T) {
	t.Parallel()
	server, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Settings: map[string]string{"max_slot_wal_keep_size": "64MB",
		"logical_decoding_work_mem": "64kB"}})
	servertest.Check(t, err)
	stopLater(t, server)
	d := openDB(t, server.DSN, createOrders, "create table noise (x text)")
	cfg := d.config(orderEntity)
	cfg.Slot, cfg.inspectEvery = "behind", time.Millisecond
	warned := make(chan string, 1)
	cfg.Logger = slog.New(listener{testLog{t}, "of 64 MB after which the slot is lost", warned})
	s, start := openFirst(t, cfg)
	to := newSink()
	to.hold = true
	r := capturing(t, s, start, to)
	// What is captured and not acknowledged holds the slot: what comes behind it is not of interest, and would not.
	d.exec("insert into orders values (0, 'held')")
	r.caughtUp(d)
	d.exec("insert into noise select repeat('x', 1000) from generate_series(1, 45000)")
	<-warned
	stats := s.Stats()
	if len(stats.Warnings) != 1 || stats.Slot == nil || stats.Slot.RetainedBytes < 32<<20 || stats.Slot.KeepBytes != 64<<20 || stats.Slot.SafeBytes == nil ||
		!strings.Contains(stats.Warnings[0].Remedy, "ALTER SYSTEM SET max_slot_wal_keep_size") {
		t.Errorf("%+v %+v", stats.Slot, stats.Warnings)
	}
	// It catches up, and the warning goes.
	d.exec("insert into orders select i, repeat('x', 1000) from generate_series(1, 500) i")
	r.caughtUp(d)
	to.mu.Lock()
	to.hold, to.acked = false, len(to.progress)
	to.mu.Unlock()
	until(t, "no warning", func() bool {
		d.exec("checkpoint") // the slot's log is let go where running transactions are noted
		stats = s.Stats()
		return len(stats.Warnings) == 0 && stats.Slot.RetainedBytes < 16<<20
	})
	until(t, "what was spilled", func() bool { return s.Stats().Slot.SpillBytes > 0 || s.Stats().Slot.StreamBytes > 0 })
	if line := s.Stats().Slot.String(); !strings.Contains(line, "slot behind: reserved") || !strings.Contains(line, "until it may be lost") {
		t.Error(line)
	}
}

// "Retained WAL stays small while a neighbour database writes": an idle
// database's slot is moved by what the server says of its end.
func TestI1_IdleDatabaseKeepsNoLog(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	neighbour := newDB(t, `create table noise (x text)`)
	cfg := d.config(orderEntity)
	r := first(t, cfg)
	const written = 24 << 20
	from := neighbour.flushed()
	neighbour.exec(`insert into noise select repeat('x', 1000) from generate_series(1, 24000)`)
	at := neighbour.flushed()
	if at-from < written {
		t.Fatalf("only %d bytes were written", at-from)
	}
	untilConfirmed(t, d, cfg.Slot, at)
	until(t, "little retained log", func() bool {
		d.exec("checkpoint") // notes the running transactions, as the server itself does every 15 s
		kept := get[int64](d, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::bigint from pg_replication_slots where slot_name = $1", cfg.Slot)
		return kept < written/8
	})
	if n := len(r.sink.changes); n != 0 {
		t.Errorf("%d changes", n)
	}
}
