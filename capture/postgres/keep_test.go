package postgres

import (
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
)

// A first start that is killed between making the slot and writing down where
// it stands loses nothing: the next one takes the slot, by what it was about to
// make.
func TestI2_FirstStartCutShortGoesOn(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	cfg := d.config(orderEntity)
	intended, err := New(cfg).Intend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made, err := New(cfg).Open(t.Context(), "", intended)
	if err != nil {
		t.Fatal(err)
	}
	d.exec("insert into orders values (1)")
	if _, err := New(cfg).Open(t.Context(), "", ""); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("without the intent: %v", err)
	}
	if _, err := New(cfg).Intend(t.Context()); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("a second intent: %v", err)
	}
	for name, other := range map[string]string{
		"another cluster": strings.Replace(intended, `"system_id":"`, `"system_id":"9`, 1),
		"a later intent":  strings.Replace(intended, `"after":"0/`, `"after":"F/`, 1),
		"another slot":    strings.Replace(intended, cfg.Slot, "other", 1),
	} {
		if _, err := New(cfg).Open(t.Context(), "", other); err == nil || !strings.Contains(err.Error(), "exists already") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := New(cfg)
	start, err := s.Open(t.Context(), "", intended)
	if err != nil || (start.Resume != made.Resume || start.Identity != made.Identity) {
		t.Fatalf("%+v, %v; want %+v", start, err, made)
	}
	r := capturing(t, s, start, newSink())
	d.exec("insert into orders values (2)")
	want(t, r.caughtUp(d), "0 insert [1]: - -> id=1 status=NULL amount=NULL note=NULL", "0 insert [2]: - -> id=2 status=NULL amount=NULL note=NULL")
	r.stop()
	awaitFree(d, cfg.Slot)
	// Once it was read from, where it stands says nothing of what was missed.
	until(t, "statistics of the slot", func() bool {
		return get[int](d, "select coalesce(sum(total_txns), 0)::int from pg_stat_replication_slots where slot_name = $1", cfg.Slot) > 0
	})
	if _, err := New(cfg).Open(t.Context(), "", intended); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("after it was read from: %v", err)
	}
}

// A new epoch drops the old one's slot, if it is that: unused, where we left
// it or before.
func TestI7_OnlyOurSlotIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happens func(d *db, slot string)
		says    string // "": it is dropped
	}{
		"as it was left": {func(*db, string) {}, ""},
		"gone":           {func(d *db, slot string) { d.exec("select pg_drop_replication_slot($1)", slot) }, ""},
		"moved on": {func(d *db, slot string) {
			d.exec("insert into orders values (7)")
			d.exec("select pg_replication_slot_advance($1, pg_current_wal_flush_lsn())", slot)
		}, "nothing after"},
		"made again": {func(d *db, slot string) {
			d.exec("select pg_drop_replication_slot($1)", slot)
			d.exec("select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
		}, "nothing after"},
		"another plugin's": {func(d *db, slot string) {
			d.exec("select pg_drop_replication_slot($1)", slot)
			d.exec("select pg_create_logical_replication_slot($1, 'test_decoding')", slot)
		}, "test_decoding"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t, createOrders)
			cfg := d.config(orderEntity)
			r := first(t, cfg)
			d.exec("insert into orders values (1)")
			r.caughtUp(d)
			r.stop()
			resume, _ := r.sink.ack()
			awaitFree(d, cfg.Slot)
			c.happens(d, cfg.Slot)
			err := r.source.Abandon(t.Context(), resume, r.start.Identity)
			left := get[int](d, "select count(*) from pg_replication_slots where slot_name = $1", cfg.Slot)
			if c.says == "" {
				if err != nil || left != 0 {
					t.Errorf("%v, %d slots", err, left)
				}
				if _, start := openFirst(t, cfg); start.Resume == "" {
					t.Error("no new beginning")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "pg_drop_replication_slot") || left != 1 {
				t.Errorf("%v, %d slots", err, left)
			}
		})
	}
	t.Run("in use", func(t *testing.T) {
		t.Parallel()
		d := newDB(t, createOrders)
		cfg := d.config(orderEntity)
		r := first(t, cfg)
		d.exec("insert into orders values (1)")
		r.caughtUp(d)
		resume, _ := r.sink.ack()
		cfg.SlotWait = 1
		err := New(cfg).Abandon(t.Context(), resume, r.start.Identity)
		if err == nil || !strings.Contains(err.Error(), "stays in use by server process") {
			t.Error(err)
		}
		d.exec("insert into orders values (2)")
		r.caughtUp(d)
	})
	t.Run("another cluster's", func(t *testing.T) {
		t.Parallel()
		d := newDB(t, createOrders)
		s, start := openFirst(t, d.config(orderEntity))
		err := s.Abandon(t.Context(), start.Resume, strings.Replace(start.Identity, `"system_id":"`, `"system_id":"9`, 1))
		if err == nil || !strings.Contains(err.Error(), "another cluster") {
			t.Error(err)
		}
		if err := s.Abandon(t.Context(), capture.Resume("x"), start.Identity); err == nil {
			t.Error("a position that is none was taken")
		}
	})
}
