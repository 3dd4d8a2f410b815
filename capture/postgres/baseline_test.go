package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// table is what a log says a table holds, by canonical key. It is a sink, and
// says what of a baseline contradicts the stream.
type copyOf struct {
	mu        sync.Mutex
	rules     *schemas.Rules
	rows      map[string]map[string]version // by entity and order key
	covered   []schemas.Covered
	reads     int
	voids     []schemas.Gap
	pos       string // of the latest progress
	resume    capture.Resume
	broken    []string
	waiting   []func()                     // durable with the next progress
	forget    bool                         // nothing becomes durable
	onChange  func(*schemas.Change)        // nil: nothing
	onCovered func(*schemas.Covered)       // the same, under mu
	news      chan struct{}                // closed when something comes
	ids       map[schemas.EventID]struct{} // of rows read
}

type version struct {
	pos  string
	ord  uint32
	text string // "" is absent
	was  schemas.Row
}

func newCopyOf(rules *schemas.Rules) *copyOf {
	return &copyOf{rules: rules, rows: map[string]map[string]version{}, news: make(chan struct{}), ids: map[schemas.EventID]struct{}{}}
}

func (s *copyOf) breaks(format string, args ...any) {
	if len(s.broken) < 20 {
		s.broken = append(s.broken, fmt.Sprintf(format, args...))
	}
}

func rowImage(row schemas.Row) string {
	var b strings.Builder
	for _, c := range row {
		fmt.Fprintf(&b, "%s=%d:%q ", c.Name, c.Presence, c.Text)
	}
	return b.String()
}

func (s *copyOf) Change(_ context.Context, c *schemas.Change) error {
	if s.onChange != nil {
		s.onChange(c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows[c.Entity] == nil {
		s.rows[c.Entity] = map[string]version{}
	}
	rows := s.rows[c.Entity]
	if c.Op == schemas.OpTruncate {
		clear(rows)
		return nil
	}
	e, _ := s.rules.Entity(c.Entity)
	key := string(e.OrderKey(c.Key))
	v := version{pos: c.Pos, ord: c.Ordinal, was: c.After}
	if c.After != nil {
		v.text = rowImage(c.After)
	}
	was, known := rows[key]
	if c.Op == schemas.OpRead {
		s.reads++
		if _, twice := s.ids[c.EventID]; twice {
			s.breaks("I3: two rows read are %v", c.EventID)
		}
		s.ids[c.EventID] = struct{}{}
		switch {
		case known && (was.pos > c.Pos || was.pos == c.Pos && was.ord >= c.Ordinal):
			s.breaks("I10: %v was read at %s, below its change at %s", c.Key, c.Pos, was.pos)
		case known && was.text != v.text:
			s.breaks("I10: %v was read at %s as %s; the stream made it %q at %s", c.Key, c.Pos, v.text, was.text, was.pos)
		}
	}
	if !known || v.pos > was.pos || v.pos == was.pos && v.ord > was.ord {
		rows[key] = v
	}
	return nil
}

func (s *copyOf) Progress(_ context.Context, p schemas.Progress, resume capture.Resume) error {
	s.mu.Lock()
	s.pos, s.resume = p.Pos, resume
	calls := s.waiting
	s.waiting = nil
	if s.forget {
		calls = nil
	}
	close(s.news)
	s.news = make(chan struct{})
	s.mu.Unlock()
	for _, fn := range calls {
		fn()
	}
	return nil
}

func (s *copyOf) Covered(_ context.Context, c *schemas.Covered) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onCovered != nil {
		s.onCovered(c)
	}
	s.covered = append(s.covered, *c)
	return nil
}

func (s *copyOf) Void(_ context.Context, g *schemas.Gap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.rows[g.Entity])
	s.voids = append(s.voids, *g)
	return nil
}

func (s *copyOf) Durable(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, fn)
}

func (s *copyOf) ack() (capture.Resume, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resume, s.resume != ""
}

// await waits until ok says so; it is asked under the lock, at each progress.
func (s *copyOf) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		done, news := ok(), s.news
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-timeout.C:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// present are the rows that are not absent.
func (s *copyOf) present(entity string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := map[string]string{}
	for key, v := range s.rows[entity] {
		if v.text != "" {
			rows[key] = v.text
		}
	}
	return rows
}

// based is a source that runs with a baseline beside it.
type based struct {
	t      testing.TB
	cfg    Config
	source *Source
	rows   *baseline.Runner
	sink   *copyOf
	stop   func()
}

// start runs source and baseline from a place, with what is known in a state
// file.
func startBased(t testing.TB, cfg Config, at capture.Start, state string, sink *copyOf, tune func(*baseline.Config)) *based {
	t.Helper()
	s := New(cfg)
	b := &based{t: t, cfg: cfg, source: s, sink: sink}
	config := baseline.Config{Side: cfg.Side, Source: cfg.Source, Epoch: 1, Rules: cfg.Rules, Store: s.Baseline(),
		StatePath: state, ChunkRows: 50, Log: cfg.Logger}
	if tune != nil {
		tune(&config)
	}
	var err error
	if b.rows, err = baseline.New(config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx, at, config.Epoch, sink, sink.ack); ctx.Err() == nil {
			t.Errorf("the source has ended: %v", err)
		}
	})
	running.Go(func() { b.rows.Run(ctx) })
	stopped := false
	b.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			running.Wait()
		}
	}
	t.Cleanup(func() {
		b.stop()
		for _, x := range sink.broken {
			t.Error(x)
		}
	})
	return b
}

// read reads all entities until they are covered.
func (b *based) read() {
	b.t.Helper()
	var names []string
	for _, e := range b.cfg.Rules.Entities() {
		names = append(names, e.Name)
	}
	b.rows.Want(names)
	b.sink.await(b.t, "covered", func() bool { return b.rows.Idle() })
	for _, s := range b.rows.Status() {
		if !s.Covered {
			b.t.Errorf("%s is not covered: %s", s.Entity, s.Problem)
		}
	}
}

// same compares what the log says with what the server has, once it is read.
func (b *based) same(d *db, entity string) int {
	b.t.Helper()
	d.exec("select pg_logical_emit_message(true, 'test', 'what committed without waiting is flushed')")
	at := posText(d.flushed() - 1)
	b.sink.await(b.t, "progress to the end", func() bool { return b.sink.pos >= at })
	want := serverRows(b.t, b.source, entity)
	got := b.sink.present(entity)
	wrong := 0
	for key, text := range want {
		if got[key] != text {
			if wrong++; wrong < 5 {
				b.t.Errorf("%s %x: the server has %s\nthe log says %q", entity, key, text, got[key])
			}
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			if wrong++; wrong < 5 {
				b.t.Errorf("%s %x: the log says %s\nthe server has no such row", entity, key, got[key])
			}
		}
	}
	return len(want)
}

// serverRows selects a table, with the settings of capture.
func serverRows(t testing.TB, s *Source, entity string) map[string]string {
	t.Helper()
	e, _ := s.cfg.Rules.Entity(entity)
	conn, err := s.cfg.connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(conn)
	name := e.Table(s.cfg.Side)
	results, err := conn.Exec(context.Background(), "select * from "+qualified(name.Schema, name.Name)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, values := range results[0].Rows {
		var row schemas.Row
		for i, f := range results[0].FieldDescriptions {
			c := schemas.Column{Name: f.Name, Text: string(values[i])}
			if values[i] == nil {
				c.Presence = schemas.Null
			}
			row = append(row, c)
		}
		key, err := e.Key(s.cfg.Side, row)
		if err != nil {
			t.Fatal(err)
		}
		rows[string(e.OrderKey(key))] = rowImage(row)
	}
	return rows
}

// keyKind is a kind of primary key.
type keyKind struct {
	name, columns, key string
	fields             string
	value              func(n int) string // the key's values, as SQL
}

var keyKinds = []keyKind{
	{"bigint", "id bigint", "id", "id: {type: integer}", func(n int) string { return fmt.Sprint(n - 200) }},
	{"text", `id text collate "C.utf8"`, "id", "id: {type: text}", func(n int) string { return literal(strings.Repeat("é", n%3) + "Key' " + fmt.Sprint(n*7919%997)) }},
	{"uuid", "id uuid", "id", "id: {type: uuid}", func(n int) string { return fmt.Sprintf("md5('%d')::uuid", n) }},
	{"integers", "a int, b smallint", "a, b", "a: {type: integer}, b: {type: integer}", func(n int) string { return fmt.Sprintf("%d, %d", n/7-20, n%7-3) }},
	{"mixed", `a char(4) collate "und-x-icu", b timestamptz`, "a, b", "a: {type: text}, b: {type: timestamp, precision: 6}",
		func(n int) string {
			return fmt.Sprintf("'%c%c', timestamptz 'epoch' + %d * interval '1 us'", "aAbB"[n%4], 'a'+rune(n%5), n)
		}},
}

// I10, "no row lost or resurrected": rows are read in small chunks while others
// insert, update, delete, move and roll back. What the log says then equals
// SELECT, for every kind of key.
func TestI10_RowsReadBesideWritersEqualSelect(t *testing.T) {
	for _, kind := range keyKinds {
		t.Run(kind.name, func(t *testing.T) {
			d := newDB(t, fmt.Sprintf(`create table things (%s, v text, n numeric, primary key (%s)); alter table things replica identity full`, kind.columns, kind.key))
			rows := 600
			for n := range rows {
				d.exec(fmt.Sprintf("insert into things values (%s, 'old %d', %d.50)", kind.value(n), n, n))
			}
			cfg := d.config(fmt.Sprintf(`
  - name: thing
    key: [%s]
    legacy: {table: public.things}
    target: {table: shop.things}
    fields: {%s, v: {type: text}, n: {type: decimal, scale: 2}}
`, kind.key, kind.fields))
			_, start := openFirst(t, cfg)
			sink := newCopyOf(cfg.Rules)
			b := startBased(t, cfg, start, filepath.Join(t.TempDir(), "state.json"), sink, func(c *baseline.Config) { c.ChunkRows = 20; c.RowsPerSecond = 1500 })
			writers := write(t, d, kind, 2*rows)
			b.read()
			writers()
			n := b.same(d, "thing")
			t.Logf("%d rows, %d read, %d covered ranges", n, sink.reads, len(sink.covered))
			if sink.reads < rows/3 {
				t.Errorf("only %d rows were read", sink.reads)
			}
			last := sink.covered[len(sink.covered)-1]
			if last.To != nil {
				t.Errorf("the last range ends at %v", last.To)
			}
			why := b.rows.Status()[0].Unordered
			if canonical := kind.name == "bigint" || kind.name == "integers" || kind.name == "uuid"; canonical != (why == "") || !canonical && len(sink.covered) != 1 || canonical && len(sink.covered) < 5 {
				t.Errorf("%d ranges are covered; of the store's order is said %q", len(sink.covered), why)
			}
		})
	}
}

// A range of keys is said to be covered when every row of it stands in the log, for
// each kind of key whose rows the store has in canonical order: those are read in step
// with the other side. Of the others is said how they are ordered.
func TestCoveredRangesHoldEveryRow(t *testing.T) {
	const rows = 200
	texts := func(n int) string {
		return literal([]string{"", "é", "Z", "a ", "a\t", "~"}[n%6] + fmt.Sprint(n*7919%997))
	}
	for _, kind := range []struct {
		keyKind
		why string // the rows are not in canonical order
	}{
		{keyKind{"uuid", "id uuid", "id", "id: {type: uuid}", func(n int) string { return fmt.Sprintf("md5('%d')::uuid", n) }}, ""},
		{keyKind{"text", `id text collate "C"`, "id", "id: {type: text}", texts}, ""},
		{keyKind{"parts", `a varchar(20) collate "POSIX", b int, c bytea`, "a, b, c", "a: {type: text}, b: {type: integer}, c: {type: bytes}",
			func(n int) string { return fmt.Sprintf(`%s, %d, '\x%02x00'`, texts(n/20), 100-n%20, n%7) }}, ""},
		{keyKind{"locale", `id text collate "und-x-icu"`, "id", "id: {type: text}", texts}, `column id is ordered by collation und-x-icu `},
		{keyKind{"folded", `id text collate "C"`, "id", "id: {type: text, collation: nfc}", texts}, `column id is ordered as text, field id is text(nfc)`},
		{keyKind{"swapped", `a int, b int`, "b, a", "a: {type: integer}, b: {type: integer}", func(n int) string { return fmt.Sprintf("%d, %d", n%7, n) }},
			`its rows are ordered by (b, a), the key is (a, b)`},
	} {
		t.Run(kind.name, func(t *testing.T) {
			d := newDB(t, fmt.Sprintf(`create table things (%s, v text, n numeric, primary key (%s)); alter table things replica identity full`, kind.columns, kind.key))
			var values []string
			for n := range rows {
				values = append(values, fmt.Sprintf("(%s, 'v', 1)", kind.value(n)))
			}
			d.exec("insert into things values " + strings.Join(values, ", "))
			key := kind.key
			if kind.name == "swapped" {
				key = "a, b"
			}
			cfg := d.config(fmt.Sprintf("\n  - name: thing\n    key: [%s]\n    legacy: {table: public.things}\n    target: {table: shop.things}\n    fields: {%s}\n", key, kind.fields))
			_, start := openFirst(t, cfg)
			sink := newCopyOf(cfg.Rules)
			e := cfg.Rules.Entities()[0]
			held := map[string]int{} // by key, how many ranges were covered before it stood in the log
			sink.onCovered = func(*schemas.Covered) {
				for key := range sink.rows["thing"] {
					if _, ok := held[key]; !ok {
						held[key] = len(sink.covered)
					}
				}
			}
			b := startBased(t, cfg, start, filepath.Join(t.TempDir(), "state.json"), sink, func(c *baseline.Config) { c.ChunkRows, c.Parallel = 20, 1 })
			b.read()
			if n := b.same(d, "thing"); n != rows {
				t.Errorf("%d rows", n)
			}
			if why := b.rows.Status()[0].Unordered; !strings.HasPrefix(why, kind.why) || (why == "") != (kind.why == "") {
				t.Errorf("the store's order: %q", why)
			}
			sink.mu.Lock()
			defer sink.mu.Unlock()
			if n := len(sink.covered); kind.why == "" && n < rows/20 || kind.why != "" && n != 1 {
				t.Errorf("%d ranges are covered", n)
			}
			for i, c := range sink.covered {
				for key, at := range held {
					inside := (c.From == nil || key >= string(e.OrderKey(c.From))) && (c.To == nil || key <= string(e.OrderKey(c.To)))
					if inside && at > i {
						t.Errorf("%x is in range %d, %q to %q, and was read after it was said to be covered", key, i, c.From, c.To)
					}
				}
			}
		})
	}
}

// write changes rows on several connections until the function that it returns
// is called.
func write(t testing.TB, d *db, kind keyKind, keys int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	for i := range 3 {
		conn := d.connect()
		rng := rand.New(rand.NewPCG(uint64(i), 10))
		if i == 1 {
			conn.Exec(ctx, "set synchronous_commit = off")
		}
		writing.Go(func() {
			defer conn.Close(context.Background())
			for ctx.Err() == nil {
				if err := writeOnce(conn, rng, kind, keys); err != nil && ctx.Err() == nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	return func() { cancel(); writing.Wait() }
}

func writeOnce(conn *pgx.Conn, rng *rand.Rand, kind keyKind, keys int) error {
	ctx := context.Background()
	var sql []string
	where := func(n int) string { return fmt.Sprintf("(%s) = (%s)", kind.key, kind.value(n)) }
	one := func() {
		n := rng.IntN(keys)
		switch rng.IntN(10) {
		case 0, 1:
			sql = append(sql, "delete from things where "+where(n))
		case 2, 3:
			sql = append(sql, fmt.Sprintf("insert into things values (%s, 'new %d', %d) on conflict do nothing", kind.value(n), rng.IntN(1000), rng.IntN(9)))
		case 4:
			m := rng.IntN(keys)
			sql = append(sql, fmt.Sprintf("update things set (%s) = row(%s) where %s and not exists (select from things where %s)", kind.key, kind.value(m), where(n), where(m)))
		default:
			sql = append(sql, fmt.Sprintf("update things set v = 'changed %d', n = null where %s", rng.IntN(1000), where(n)))
		}
	}
	sql = append(sql, "begin")
	for range 1 + rng.IntN(4) {
		one()
	}
	if rng.IntN(3) == 0 {
		sql = append(sql, "savepoint s")
		one()
		if rng.IntN(2) == 0 {
			sql = append(sql, "rollback to s")
		}
	}
	if rng.IntN(6) == 0 {
		sql = append(sql, "rollback")
	} else {
		sql = append(sql, "commit")
	}
	_, err := conn.PgConn().Exec(ctx, strings.Join(sql, ";")).ReadAll()
	if err == nil {
		return nil
	}
	// Two that move a row to the same key, or wait for one another: nothing happened.
	conn.PgConn().Exec(ctx, "rollback").ReadAll()
	for _, code := range []string{"23505", "40P01"} {
		if strings.Contains(err.Error(), code) {
			return nil
		}
	}
	return err
}
