package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

// patience bounds every wait for something that has to come.
const patience = 60 * time.Second

// db is a database of the test's own, and a connection to it.
type db struct {
	t    testing.TB
	dsn  string
	conn *pgx.Conn
}

func newDB(t testing.TB, setup ...string) *db {
	t.Helper()
	return openDB(t, servertest.PostgresDatabase(t), setup...)
}

func openDB(t testing.TB, dsn string, setup ...string) *db {
	t.Helper()
	d := &db{t: t, dsn: dsn}
	d.conn = d.connect()
	d.setup(setup...)
	return d
}

func (d *db) setup(statements ...string) {
	d.t.Helper()
	for _, sql := range statements {
		d.exec(sql)
	}
}

func (d *db) connect() *pgx.Conn {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.dsn)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (d *db) exec(sql string, args ...any) {
	d.t.Helper()
	if len(args) == 0 {
		// Several statements at once are one transaction.
		if _, err := d.conn.PgConn().Exec(d.t.Context(), sql).ReadAll(); err != nil {
			d.t.Fatalf("%s: %v", sql, err)
		}
		return
	}
	if _, err := d.conn.Exec(d.t.Context(), sql, args...); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

func get[T any](d *db, sql string, args ...any) (v T) {
	d.t.Helper()
	if err := d.conn.QueryRow(d.t.Context(), sql, args...).Scan(&v); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// flushed is up to where everything committed is in the log.
func (d *db) flushed() lsn {
	d.t.Helper()
	l, err := parseLSN(get[string](d, "select pg_current_wal_flush_lsn()::text"))
	if err != nil {
		d.t.Fatal(err)
	}
	return l
}

// confirmed is how far the slot lets the server forget.
func (d *db) confirmed(slot string) lsn {
	d.t.Helper()
	l, err := parseLSN(get[string](d, "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1", slot))
	if err != nil {
		d.t.Fatal(err)
	}
	return l
}

// config is a configuration for the database with a slot of its own: slots are
// the whole server's.
func (d *db) config(entities string) Config {
	u, err := url.Parse(d.dsn)
	if err != nil {
		d.t.Fatal(err)
	}
	return Config{Side: schemas.Legacy, Source: "pg-test", DSN: d.dsn, Slot: "s_" + strings.TrimPrefix(u.Path, "/"), Publication: "trueup",
		Rules: rulesOf(d.t, entities), Logger: slog.New(testLog{d.t})}
}

// testLog logs to the test.
type testLog struct{ t testing.TB }

func (l testLog) Enabled(context.Context, slog.Level) bool { return true }
func (l testLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l testLog) WithGroup(string) slog.Handler            { return l }
func (l testLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%v", a.Key, a.Value); return true })
	l.t.Log(b.String())
	return nil
}

func lsnOf(t testing.TB, resume capture.Resume) lsn {
	t.Helper()
	p, err := parseResume(resume)
	if err != nil {
		t.Fatal(err)
	}
	return p.at
}

// sink is a log with dials. It holds every change and progress, and says when
// what it is given breaks what a Sink may rely on.
type sink struct {
	mu        sync.Mutex
	changes   []schemas.Change
	progress  []schemas.Progress
	resumes   []capture.Resume // of the progress
	seen      map[schemas.EventID]string
	fresh     []schemas.Change // changes without the repeated ones
	repeated  int
	broken    []string
	acked     int           // progress that was acknowledged
	hold      bool          // acknowledge nothing by itself
	news      chan struct{} // closed when something comes
	onChange  func(ctx context.Context, c *schemas.Change) error
	lastFresh schemas.EventID
	ended     error // what Run returned

	refuses bool // it takes what is no change
	refused []schemas.Quarantine
	halts   []capture.Halt
}

// refusing is a sink that takes what no change can be made of.
type refusing struct{ *sink }

// Quarantine implements capture.Refuser.
func (r refusing) Quarantine(_ context.Context, q *schemas.Quarantine) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sink.refused = append(r.sink.refused, *q)
	r.tell()
	return nil
}

// Halt implements capture.Refuser.
func (r refusing) Halt(_ context.Context, h capture.Halt) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sink.halts = append(r.sink.halts, h)
	r.tell()
	return nil
}

func newSink() *sink { return &sink{seen: map[schemas.EventID]string{}, news: make(chan struct{})} }

func (s *sink) breaks(format string, args ...any) {
	s.broken = append(s.broken, fmt.Sprintf(format, args...))
}

func (s *sink) tell() {
	close(s.news)
	s.news = make(chan struct{})
}

// Change implements capture.Sink.
func (s *sink) Change(ctx context.Context, c *schemas.Change) error {
	if s.onChange != nil {
		if err := s.onChange(ctx, c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = append(s.changes, *c)
	said := said(*c) + " " + c.Txn
	was, again := s.seen[c.EventID]
	switch {
	case again && was != said:
		s.breaks("I3: %v was %q, is %q", c.EventID, was, said)
	case again:
		s.repeated++
	default:
		s.seen[c.EventID] = said
		s.fresh = append(s.fresh, *c)
		if n := len(s.progress); n > 0 {
			if p := s.progress[n-1]; c.Pos <= p.Pos {
				s.breaks("I17: %v comes after progress to %s", c.EventID, p.Pos)
			} else if c.CommitTS < p.TS {
				s.breaks("%v committed at %s at the latest, but progress had passed %s", c.EventID, c.CommitTS, p.TS)
			}
		}
		if last := s.lastFresh; c.Pos < last.Pos || c.Pos == last.Pos && c.Ordinal <= last.Ordinal {
			s.breaks("I4: %v comes after %v", c.EventID, last)
		}
		s.lastFresh = c.EventID
	}
	if c.CommitTS == 0 || c.CommitTSMin > c.CommitTS {
		s.breaks("%v committed between %s and %s", c.EventID, c.CommitTSMin, c.CommitTS)
	}
	s.tell()
	return nil
}

// Progress implements capture.Sink.
func (s *sink) Progress(_ context.Context, p schemas.Progress, resume capture.Resume) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.changes); n > 0 && s.changes[n-1].Pos > p.Pos {
		s.breaks("progress to %s after a change at %s", p.Pos, s.changes[n-1].Pos)
	}
	if n := len(s.progress); n > 0 && (p.Pos < s.progress[n-1].Pos || p.TS < s.progress[n-1].TS) {
		s.breaks("I18: progress to %s, %s after %s, %s", p.Pos, p.TS, s.progress[n-1].Pos, s.progress[n-1].TS)
	}
	s.progress = append(s.progress, p)
	s.resumes = append(s.resumes, resume)
	if !s.hold {
		s.acked = len(s.progress)
	}
	s.tell()
	return nil
}

// ack is what Run asks for what is durable.
func (s *sink) ack() (capture.Resume, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acked == 0 {
		return "", false
	}
	return s.resumes[s.acked-1], true
}

// ackAll makes everything so far durable.
func (s *sink) ackAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = len(s.progress)
}

// await waits until ok says so; it is asked under the lock.
func (s *sink) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		done, news, ended := ok(), s.news, s.ended
		s.mu.Unlock()
		if done {
			return
		}
		if ended != nil {
			t.Fatalf("%s: the source has ended: %v", what, ended)
		}
		select {
		case <-news:
		case <-timeout.C:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// reached waits until the sink is complete up to a position.
func (s *sink) reached(t testing.TB, at lsn) {
	t.Helper()
	s.await(t, "progress to "+at.String(), func() bool {
		n := len(s.progress)
		return n > 0 && s.progress[n-1].Pos >= posText(at-1)
	})
}

// running is a source that runs.
type running struct {
	t      testing.TB
	source *Source
	sink   *sink
	start  capture.Start
	cancel context.CancelFunc
	done   chan error
}

// openFirst opens the source for the first time.
func openFirst(t testing.TB, cfg Config) (*Source, capture.Start) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s := New(cfg)
	start, err := s.Open(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return s, start
}

// capturing runs the source until the test ends, or stop.
func capturing(t testing.TB, s *Source, start capture.Start, to *sink) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, source: s, sink: to, start: start, cancel: cancel, done: make(chan error, 1)}
	go func() {
		var sink capture.Sink = to
		if to.refuses {
			sink = refusing{to}
		}
		err := s.Run(ctx, start, 1, sink, to.ack)
		to.mu.Lock()
		to.ended = err
		to.tell()
		to.mu.Unlock()
		r.done <- err
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.done:
			r.done <- err
		case <-time.After(patience):
			t.Error("the source does not stop")
		}
		to.mu.Lock()
		defer to.mu.Unlock()
		for i, b := range to.broken {
			if i < 10 {
				t.Error(b)
			}
		}
	})
	return r
}

// first opens and runs a source.
func first(t testing.TB, cfg Config) *running {
	t.Helper()
	s, start := openFirst(t, cfg)
	return capturing(t, s, start, newSink())
}

// stop ends the source in good order.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	err := <-r.done
	r.done <- err
	if !errors.Is(err, context.Canceled) {
		r.t.Fatalf("stopped: %v", err)
	}
}

// failed waits for the source to fail.
func (r *running) failed() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		if errors.Is(err, context.Canceled) {
			r.t.Fatal("it was stopped, it did not fail")
		}
		return err
	case <-time.After(patience):
		r.t.Fatal("the source runs on")
		return nil
	}
}

// caughtUp waits until everything that is committed now was delivered, and
// returns all changes, each once.
func (r *running) caughtUp(d *db) []schemas.Change {
	r.t.Helper()
	r.sink.reached(r.t, d.flushed())
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	return append([]schemas.Change(nil), r.sink.fresh...)
}

// untilConfirmed waits until the slot has moved to at least a position.
func untilConfirmed(t testing.TB, d *db, slot string, at lsn) {
	t.Helper()
	until(t, "slot "+slot+" at "+at.String(), func() bool { return d.confirmed(slot) >= at })
}

// until waits for something that the server shows and does not signal.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the server's catalog sends no signal
	}
}
