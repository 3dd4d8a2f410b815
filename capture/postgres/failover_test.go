package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// cluster is a primary and its standbys, of one version.
type cluster struct {
	t       *testing.T
	primary *servers.Postgres
	d       *db // on the primary
}

func newCluster(t *testing.T, version string, settings map[string]string) *cluster {
	t.Helper()
	o := servers.PostgresOptions{Settings: settings}
	if version != "" {
		bin, err := servers.FetchPostgres(t.Context(), version)
		servertest.Check(t, err)
		o.Bin = bin
	}
	o.Dir = t.TempDir()
	primary, err := servers.StartPostgres(t.Context(), o)
	servertest.Check(t, err)
	stopLater(t, primary)
	return &cluster{t: t, primary: primary, d: openDB(t, primary.DSN, createOrders)}
}

func stopLater(t *testing.T, s *servers.Postgres) {
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// standby starts one, with the settings that carry slots over if it shall.
func (c *cluster) standby(name string, carries bool) (*servers.Postgres, *db) {
	c.t.Helper()
	settings := map[string]string{"hot_standby_feedback": "on", "wal_receiver_status_interval": "1s"}
	if carries {
		settings["sync_replication_slots"] = "on"
	}
	s, err := servers.StartStandby(c.t.Context(), c.primary, name, servers.PostgresOptions{Settings: settings})
	if err != nil {
		c.t.Fatal(err)
	}
	stopLater(c.t, s)
	return s, openDB(c.t, s.DSN)
}

// dsnOf names several servers in one connection string.
func dsnOf(t *testing.T, all ...*servers.Postgres) string {
	t.Helper()
	u, err := url.Parse(all[0].DSN)
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for _, s := range all {
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", s.Port))
	}
	u.Host = strings.Join(hosts, ",")
	u.RawQuery = "sslmode=disable&target_session_attrs=read-write"
	return u.String()
}

func promote(d *db) {
	d.t.Helper()
	if !get[bool](d, "select pg_promote()") {
		d.t.Fatal("not promoted")
	}
}

// untilSynced waits until a standby would keep the slot through a promotion.
func (c *cluster) untilSynced(standby *db, slot string) {
	c.t.Helper()
	i := 0
	until(c.t, "slot "+slot+" on the standby", func() bool {
		i++
		c.d.exec(fmt.Sprintf("insert into orders values (%d); delete from orders where id = %d", -i, -i)) // its positions move on
		c.d.exec("select pg_log_standby_snapshot()")
		return get[bool](standby, "select exists (select from pg_replication_slots where slot_name = $1 and synced and not temporary)", slot)
	})
}

func untilReplayed(t *testing.T, from *db, standby *db) {
	t.Helper()
	end := from.flushed().String()
	until(t, "replay of "+end, func() bool { return get[bool](standby, "select pg_last_wal_replay_lsn() >= $1::pg_lsn", end) })
}

// idsOf are the keys that captured changes leave, and those that the table has.
func idsOf(d *db, r *running) (captured, stored []string) {
	d.t.Helper()
	there := map[string]bool{}
	for _, c := range r.caughtUp(d) {
		there[c.Key[0]] = c.After != nil
	}
	for id, is := range there {
		if is {
			captured = append(captured, id)
		}
	}
	slices.Sort(captured)
	stored = strings.Split(get[string](d, `select coalesce(string_agg(id::text, ',' order by id::text collate "C"), '') from orders`), ",")
	return captured, stored
}

func wantGap(t *testing.T, err error, says string) {
	t.Helper()
	var gap *capture.GapError
	if !errors.As(err, &gap) || !strings.Contains(gap.Reason, says) || gap.Remedy == "" {
		t.Errorf("%v; want a gap that says %q", err, says)
	}
}

// "PG failover, slot synced (17+): verify system_identifier, timeline history,
// synced; continue. Never: read from the old primary after promotion." And
// "Failover loses txns we already captured: … fork point < ours".
func TestI7_Failover(t *testing.T) {
	t.Parallel()
	for _, version := range []string{servers.Postgres17, servers.Postgres18} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, version, map[string]string{"synchronized_standby_slots": "b"})
			b, onB := c.standby("b", true)
			late, onLate := c.standby("late", true)

			cfg := c.d.config(orderEntity)
			cfg.Slot, cfg.DSN = "carried", dsnOf(t, c.primary, b)
			r := first(t, cfg)
			if !get[bool](c.d, "select failover from pg_replication_slots where slot_name = 'carried'") {
				t.Fatal("the slot is not one that standbys carry over")
			}
			c.d.exec("insert into orders select i from generate_series(1, 100) i")
			c.untilSynced(onB, cfg.Slot)
			c.untilSynced(onLate, cfg.Slot)
			by := findings(t, cfg)
			expect(t, by, capture.OK, "server 127.0.0.1:"+fmt.Sprint(b.Port), "carries the slot over")
			expect(t, by, capture.OK, "failover", "can take over")
			withLate := cfg
			withLate.DSN = dsnOf(t, c.primary, b, late)
			onLate.exec("alter system set hot_standby_feedback = off")
			onLate.exec("alter system set sync_replication_slots = off")
			onLate.exec("select pg_reload_conf()")
			until(t, "other settings", func() bool { return get[string](onLate, "show sync_replication_slots") == "off" })
			by = findings(t, withLate)
			expect(t, by, capture.Warn, "server 127.0.0.1:"+fmt.Sprint(late.Port), "ALTER SYSTEM SET hot_standby_feedback = 'on'")
			expect(t, by, capture.Warn, "server 127.0.0.1:"+fmt.Sprint(late.Port), "ALTER SYSTEM SET sync_replication_slots = 'on'")

			// The other standby hears nothing more; the log of what comes is in the stream all the same.
			onLate.exec("alter system set primary_conninfo = ''")
			onLate.exec("select pg_reload_conf()")
			until(t, "a standby that has stopped", func() bool { return get[int](onLate, "select count(*) from pg_stat_wal_receiver") == 0 })
			c.d.exec("insert into orders select i from generate_series(101, 200) i")
			r.caughtUp(c.d)
			atOld, _ := r.sink.ack()

			if err := c.primary.Kill(); err != nil {
				t.Fatal(err)
			}
			promote(onB)
			onB.exec("insert into orders select i from generate_series(201, 300) i")
			if captured, stored := idsOf(onB, r); !slices.Equal(captured, stored) || len(stored) != 300 {
				t.Errorf("%d keys captured, %d in the table", len(captured), len(stored))
			}
			r.stop()
			resume, _ := r.sink.ack()
			if !strings.HasSuffix(string(resume), "@2") {
				t.Fatalf("at %s", resume)
			}
			next, err := r.source.Open(t.Context(), resume, r.start.Identity)
			if err != nil {
				t.Fatal(err)
			}

			// The old primary comes back, and thinks that it is one still.
			if err := c.primary.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			old := openDB(t, c.primary.DSN)
			old.exec("insert into orders values (9999)")
			t.Run("OldPrimaryIsRefused", func(t *testing.T) {
				cfg := cfg
				cfg.DSN = c.primary.DSN
				said := make(chan string, 1)
				cfg.Logger = slog.New(listener{testLog{t}, "it was failed over from", said})
				_, err := New(cfg).Open(t.Context(), resume, next.Identity)
				if err == nil || errors.As(err, new(*capture.GapError)) || !strings.Contains(err.Error(), "timeline 1") {
					t.Errorf("%v; want it refused, and no gap: the DSN may lead to the new primary yet", err)
				}
				r := capturing(t, New(cfg), capture.Start{Resume: resume, Identity: next.Identity}, newSink())
				<-said
				r.stop()
				if len(r.sink.changes) != 0 || r.source.Stats().Connections != 0 {
					t.Error("it was read from")
				}
			})
			again := capturing(t, New(cfg), capture.Start{Resume: resume, Identity: next.Identity}, newSink())
			onB.exec("insert into orders values (301)")
			want(t, again.caughtUp(onB), "0 insert [301]: - -> id=301 status=NULL amount=NULL note=NULL")
			again.stop()

			// A standby that did not have everything takes over: what was captured after the fork never happened.
			promote(onLate)
			cfg.DSN = late.DSN
			for name, from := range map[string]capture.Start{"before B": {Resume: atOld, Identity: r.start.Identity}, "after B": {Resume: resume, Identity: next.Identity}} {
				says := "timeline 1 ended at"
				if name == "after B" {
					says = "another timeline 2"
				}
				_, err := New(cfg).Open(t.Context(), from.Resume, from.Identity)
				wantGap(t, err, says)
				r := capturing(t, New(cfg), from, newSink())
				wantGap(t, r.failed(), says)
				if len(r.sink.changes) != 0 {
					t.Errorf("%s: changes came from beyond the gap", name)
				}
			}
			// An operator accepts it: the slot that was carried over is given up, and a new one begins.
			if err := New(cfg).Abandon(t.Context(), atOld, r.start.Identity); err != nil {
				t.Error(err)
			}
			s, start := openFirst(t, cfg)
			anew := capturing(t, s, start, newSink())
			onLate.exec("insert into orders values (400)")
			want(t, anew.caughtUp(onLate), "0 insert [400]: - -> id=400 status=NULL amount=NULL note=NULL")
			anew.stop()

			// Two that were both promoted are told apart by nobody but an operator.
			cfg.DSN = dsnOf(t, b, late)
			if _, err := New(cfg).Open(t.Context(), resume, next.Identity); err == nil || !strings.Contains(err.Error(), "two servers are primaries of timeline 2") {
				t.Error(err)
			}
		})
	}
}

// "PG failover, slot missing/unsynced: gap. Never: auto-create slot and go on
// (Z4)." On PostgreSQL 15 that is every promotion.
func TestI7_PromotionWithoutTheSlotIsAGap(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", servers.Postgres17} {
		t.Run("postgres"+version, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, version, nil)
			b, onB := c.standby("b", false)
			cfg := c.d.config(orderEntity)
			cfg.Slot, cfg.DSN, cfg.inspectEvery = "left", dsnOf(t, c.primary, b), 50*time.Millisecond
			r := first(t, cfg)
			by := findings(t, cfg)
			if version == "" {
				expect(t, by, capture.Warn, "failover", "before PostgreSQL 17 slots do not survive")
			} else {
				expect(t, by, capture.Warn, "synchronized_standby_slots", "ALTER SYSTEM SET synchronized_standby_slots = 'b'")
				expect(t, by, capture.Warn, "server 127.0.0.1:"+fmt.Sprint(b.Port), "ALTER SYSTEM SET sync_replication_slots = 'on'")
			}
			c.d.exec("insert into orders values (1)")
			r.caughtUp(c.d)
			untilReplayed(t, c.d, onB)
			if version == "" { // else it lives on, and the stream from it says nothing of the promotion
				if err := c.primary.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			promote(onB)
			onB.exec("insert into orders values (2)")
			wantGap(t, r.failed(), "slot left is gone")
			if n := len(r.sink.changes); n != 1 {
				t.Errorf("%d changes", n)
			}
			if n := get[int](onB, "select count(*) from pg_replication_slots"); n != 0 {
				t.Errorf("%d slots were made", n)
			}
			// One that somebody makes there proves nothing, wherever it stands.
			resume, _ := r.sink.ack()
			onB.exec("select pg_create_logical_replication_slot('left', 'pgoutput')")
			_, err := r.source.Open(t.Context(), resume, r.start.Identity)
			if err == nil || !errors.As(err, new(*capture.GapError)) {
				t.Error(err)
			}
		})
	}
}

// listener passes records on, and says when one has a text in it; with no text
// to wait for, it says every message.
type listener struct {
	slog.Handler
	text string
	said chan<- string
}

func (l listener) Enabled(context.Context, slog.Level) bool { return true }
func (l listener) WithAttrs([]slog.Attr) slog.Handler       { return l }

func (l listener) Handle(ctx context.Context, r slog.Record) error {
	if l.text == "" {
		l.said <- r.Message
	}
	r.Attrs(func(a slog.Attr) bool {
		if l.text != "" && strings.Contains(a.String(), l.text) {
			select {
			case l.said <- r.Message:
			default:
			}
		}
		return true
	})
	return l.Handler.Handle(ctx, r)
}

// Which of the servers that a DSN names is captured from.
func TestChosenPrimary(t *testing.T) {
	up := func(timeline int32) node {
		return node{address: fmt.Sprint("up", timeline), SystemID: "1", Timeline: timeline}
	}
	down := func(timeline int32) node {
		return node{address: fmt.Sprint("down", timeline), SystemID: "1", Timeline: timeline, Standby: true}
	}
	gone := node{address: "gone", err: errors.New("no answer")}
	for name, c := range map[string]struct {
		nodes []node
		at    int
		says  string
	}{
		"the primary":            {[]node{down(1), up(1)}, 1, ""},
		"one that answers":       {[]node{gone, up(1)}, 1, ""},
		"the new one":            {[]node{up(1), up(2), gone}, 1, ""},
		"an old one":             {[]node{up(1), down(2)}, 0, "failed over from"},
		"none":                   {[]node{down(1), gone}, 0, "down1 is a standby; gone: no answer"},
		"two":                    {[]node{up(2), up(2)}, 0, "two servers are primaries"},
		"two old, one new":       {[]node{up(2), up(3), up(2)}, 1, ""},
		"another cluster's":      {[]node{up(1), {address: "other", SystemID: "2", Timeline: 1}}, 0, "two clusters"},
		"another cluster's late": {[]node{gone, up(1), {address: "other", SystemID: "2", Timeline: 5, Standby: true}}, 0, "two clusters"},
	} {
		at, err := chosen(c.nodes)
		if c.says == "" && (err != nil || at != c.at) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %d, %v; want %d %q", name, at, err, c.at, c.says)
		}
	}
	if err := (&Config{DSN: "host=a,b target_session_attrs=standby"}).Validate(); err == nil || !strings.Contains(err.Error(), "leads to a standby") {
		t.Error(err)
	}
}
