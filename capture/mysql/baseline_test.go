package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

// copyOf is what a log says tables hold, by canonical key. It is a sink, and
// says what of a baseline contradicts the stream.
type copyOf struct {
	mu      sync.Mutex
	rules   *schemas.Rules
	rows    map[string]map[string]version // by entity and order key
	covered []schemas.Covered
	reads   int
	said    schemas.Progress
	resume  capture.Resume
	broken  []string
	waiting []func() // durable with the next progress
	onRead  func()   // nil: nothing
	// onCovered is called before a range is noted, under mu; nil: nothing.
	onCovered func()
	news      chan struct{}
	ids       map[schemas.EventID]struct{}
}

type version struct {
	pos  string
	ord  uint32
	text string // "" is absent
}

func newCopyOf(rules *schemas.Rules) *copyOf {
	return &copyOf{rules: rules, rows: map[string]map[string]version{}, news: make(chan struct{}), ids: map[schemas.EventID]struct{}{}}
}

func (s *copyOf) breaks(format string, args ...any) {
	if len(s.broken) < 10 {
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
	v := version{pos: c.Pos, ord: c.Ordinal}
	if c.After != nil {
		v.text = rowImage(c.After)
	}
	was, known := rows[key]
	if c.Op == schemas.OpRead {
		if s.reads++; s.onRead != nil {
			s.onRead()
		}
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
	s.said, s.resume = p, resume
	calls := s.waiting
	s.waiting = nil
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
		s.onCovered()
	}
	s.covered = append(s.covered, *c)
	return nil
}

func (s *copyOf) Void(_ context.Context, g *schemas.Gap) error {
	s.breaks("void: %s at %s", g.Entity, g.Pos)
	return nil
}

func (s *copyOf) Durable(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, fn)
}

// await waits until ok says so; it is asked under the lock, at each progress.
func (s *copyOf) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timeout := time.NewTimer(patient)
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
			t.Fatalf("%s: not within %s", what, patient)
		}
	}
}

// based is a source that runs with a baseline beside it.
type based struct {
	l    *lab
	rows *baseline.Runner
	sink *copyOf
	stop func()
}

func (l *lab) based(at capture.Start, state string, sink *copyOf, tune func(*baseline.Config)) *based {
	l.t.Helper()
	s, start, err := l.open(at)
	if err != nil {
		l.t.Fatal(err)
	}
	config := baseline.Config{Side: l.cfg.Side, Source: l.cfg.Source, Epoch: 1, Rules: l.cfg.Rules, Store: s.Baseline(), StatePath: state, ChunkRows: 50, Log: l.cfg.Logger}
	if tune != nil {
		tune(&config)
	}
	b := &based{l: l, sink: sink}
	if b.rows, err = baseline.New(config); err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx, start, 1, sink, nil); ctx.Err() == nil {
			l.t.Errorf("the source has ended: %v", err)
		}
	})
	running.Go(func() { b.rows.Run(ctx) })
	b.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	l.t.Cleanup(func() {
		b.stop()
		for _, x := range sink.broken {
			l.t.Error(x)
		}
	})
	return b
}

// read reads entities until they are covered.
func (b *based) read(names ...string) {
	b.l.t.Helper()
	b.rows.Want(names)
	b.sink.await(b.l.t, "covered", b.rows.Idle)
	for _, s := range b.rows.Status() {
		if s.Problem != "" {
			b.l.t.Errorf("%s: %s", s.Entity, s.Problem)
		}
	}
}

// same compares what the log says with the rows that the server prints, by
// expressions over the columns.
func (b *based) same(entity string, expressions []string) int {
	b.l.t.Helper()
	now, err := parseClock(b.l.ask("select unix_timestamp(now(6))"))
	if err != nil {
		b.l.t.Fatal(err)
	}
	b.sink.await(b.l.t, "progress to the end", func() bool { return b.sink.said.TS >= now })
	return b.sink.same(b.l, entity, expressions)
}

// same compares what was said so far with the rows of the server of a lab.
func (s *copyOf) same(l *lab, entity string, expressions []string) int {
	l.t.Helper()
	e, _ := l.cfg.Rules.Entity(entity)
	want := l.selected(e, expressions)
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong := 0
	for key, text := range want {
		if got := s.rows[entity][key].text; got != text {
			if wrong++; wrong < 4 {
				l.t.Errorf("%s %x: the server has %.300s\nthe log says %.300q", entity, key, text, got)
			}
		}
	}
	for key, v := range s.rows[entity] {
		if _, ok := want[key]; !ok && v.text != "" {
			if wrong++; wrong < 4 {
				l.t.Errorf("%s %x: the log says %s\nthe server has no such row", entity, key, v.text)
			}
		}
	}
	return len(want)
}

// selected are the rows of an entity as the server prints them, by order key.
func (l *lab) selected(e *schemas.Entity, expressions []string) map[string]string {
	l.t.Helper()
	conn, err := l.db.Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(l.t.Context(), "set time_zone = '+00:00'"); err != nil {
		l.t.Fatal(err)
	}
	rows, err := conn.QueryContext(l.t.Context(), "select "+strings.Join(expressions, ", ")+" from "+quoted(e.Table(l.cfg.Side)))
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	names, _ := rows.Columns()
	cells, into := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range cells {
		into[i] = &cells[i]
	}
	all := map[string]string{}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			l.t.Fatal(err)
		}
		row := make(schemas.Row, len(names))
		for i, c := range cells {
			row[i] = schemas.Column{Name: names[i], Text: c.String, Presence: schemas.Value}
			if !c.Valid {
				row[i].Presence = schemas.Null
			}
		}
		key, err := e.Key(l.cfg.Side, row)
		if err != nil {
			l.t.Fatal(err)
		}
		all[string(e.OrderKey(key))] = rowImage(row)
	}
	return all
}

// keyKind is a kind of primary key.
type keyKind struct {
	name, only, columns, key, fields string
	value                            func(n int) string
	expressions                      []string // the key's, as they are printed
}

var keyKinds = []keyKind{
	{"bigint", "", "id bigint", "id", "id: {type: integer}", func(n int) string { return fmt.Sprint(n - 200) }, []string{"id"}},
	{"text", "", "id varchar(40) collate utf8mb4_general_ci", "id", "id: {type: text}", func(n int) string {
		return fmt.Sprintf("'%sKey %d'", strings.Repeat("é", n%3), n*7919%997)
	}, []string{"id"}},
	{"mixed", "", "a smallint, b varbinary(8), c datetime(6)", "a, b, c", "a: {type: integer}, b: {type: bytes}, c: {type: timestamp, precision: 6}", func(n int) string {
		return fmt.Sprintf("%d, unhex('%02x00'), timestamp'2026-11-23 10:00:00.%06d'", n/7-20, n%7, n)
	}, []string{"a", `concat('\\x', lower(hex(b))) b`, "c"}},
	{"uuid", MariaDB, "id uuid", "id", "id: {type: uuid}", func(n int) string { return fmt.Sprintf("'%08x-1111-2222-3333-%012x'", n*2654435761%(1<<32), n) }, []string{"id"}},
}

// I10, "no row lost or resurrected": rows are read in small chunks while others
// insert, update, delete, move and roll back. What the log says then equals
// SELECT, for every kind of key, on both servers.
func TestI10_RowsReadBesideWritersEqualSelect(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		for _, kind := range keyKinds {
			if kind.only != "" && kind.only != l.driver {
				continue
			}
			t.Run(kind.name, func(t *testing.T) {
				l := *l
				l.t = t
				table := "things_" + kind.name
				l.exec(fmt.Sprintf("create table %s (%s, v varchar(50), n decimal(8,2), primary key (%s))", table, kind.columns, kind.key))
				const rows = 500
				for n := range rows {
					l.exec(fmt.Sprintf("insert into %s values (%s, 'old %d', %d.5)", table, kind.value(n), n, n))
				}
				l.cfg.Rules = keyRules(t, l.driver, l.name, table, kind)
				sink := newCopyOf(l.cfg.Rules)
				b := l.based(capture.Start{}, filepath.Join(t.TempDir(), "state.json"), sink, func(c *baseline.Config) { c.ChunkRows, c.RowsPerSecond = 20, 1500 })
				stop := l.write(table, kind, 2*rows)
				b.read(table)
				stop()
				n := b.same(table, append(kind.expressions[:len(kind.expressions):len(kind.expressions)], "v", "n"))
				t.Logf("%d rows, %d read, %d covered ranges", n, sink.reads, len(sink.covered))
				if sink.reads < rows/3 {
					t.Errorf("only %d rows were read", sink.reads)
				}
				if last := sink.covered[len(sink.covered)-1]; last.To != nil {
					t.Errorf("the last range ends at %v", last.To)
				}
				b.stop()
			})
		}
	})
}

func keyRules(t *testing.T, driver, database, table string, kind keyKind) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(fmt.Sprintf(`apiVersion: trueup/v1
kind: Migration
metadata: {name: test, owner: us}
stores:
  legacy: {driver: postgres, dsn: "env:LEGACY_DSN"}
  target: {driver: %s, dsn: "env:TARGET_DSN"}
entities:
  - name: %[2]s
    key: [%[4]s]
    legacy: {table: public.%[2]s}
    target: {table: %[3]s.%[2]s}
    fields: {%[5]s, v: {type: text}, n: {type: decimal, scale: 2}}
`, driver, table, database, kind.key, kind.fields)), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// A range of keys is said to be covered when every row of it stands in the log, for
// each kind of key whose rows the store has in canonical order: those are read in step
// with the other side. Of the others is said how they are ordered.
func TestCoveredRangesHoldEveryRow(t *testing.T) {
	const rows = 200
	texts := func(n int) string {
		return fmt.Sprintf("'%s%d'", []string{"", "é", "Z", "a ", "a\\t", "~"}[n%6], n*7919%997)
	}
	parts := func(n int) string { return fmt.Sprintf("%s, %d, unhex('%02x00')", texts(n/20), 100-n%20, n%7) }
	const partFields = "a: {type: text}, b: {type: integer}, c: {type: bytes}"
	printed := []string{"a", "b", `concat('\\x', lower(hex(c))) c`}
	flavours(t, func(t *testing.T, l *lab) {
		for _, kind := range []struct {
			keyKind
			why string // the rows are not in canonical order
		}{
			{keyKind{"uuid", "", "id binary(16)", "id", "id: {type: uuid}", func(n int) string { return fmt.Sprintf("unhex(md5('%d'))", n) }, []string{`concat('\\x', lower(hex(id))) id`}}, ""},
			{keyKind{"nopad", MariaDB, "a varchar(20) collate utf8mb4_nopad_bin, b int, c varbinary(8)", "a, b, c", partFields, parts, printed}, ""},
			{keyKind{"bytes", MySQL, "b int, c varbinary(8)", "b, c", "b: {type: integer}, c: {type: bytes}", func(n int) string {
				return fmt.Sprintf("%d, unhex('%02x00')", 100-n%20, n)
			}, printed[1:]}, ""},
			{keyKind{"padded", "", "id varchar(20) collate utf8mb4_bin", "id", "id: {type: text}", texts, []string{"id"}}, "column id is ordered by collation utf8mb4_bin,"},
			{keyKind{"swapped_uuid", MariaDB, "id uuid", "id", "id: {type: uuid}", func(n int) string { return fmt.Sprintf("'%08x-1111-1222-8333-%012x'", n*2654435761%(1<<32), n) }, []string{"id"}}, "column id is ordered as uuid"},
		} {
			if kind.only != "" && kind.only != l.driver {
				continue
			}
			t.Run(kind.name, func(t *testing.T) {
				l := *l
				l.t = t
				table := "ranges_" + kind.name
				l.exec(fmt.Sprintf("create table %s (%s, v varchar(50), n decimal(8,2), primary key (%s))", table, kind.columns, kind.key))
				var values []string
				for n := range rows {
					values = append(values, fmt.Sprintf("(%s, 'v', 1)", kind.value(n)))
				}
				l.exec("insert into " + table + " values " + strings.Join(values, ", "))
				l.cfg.Rules = keyRules(t, l.driver, l.name, table, kind.keyKind)
				e := l.cfg.Rules.Entities()[0]
				sink := newCopyOf(l.cfg.Rules)
				held := map[string]int{} // by key, how many ranges were covered before it stood in the log
				sink.onCovered = func() {
					for key := range sink.rows[table] {
						if _, ok := held[key]; !ok {
							held[key] = len(sink.covered)
						}
					}
				}
				b := l.based(capture.Start{}, filepath.Join(t.TempDir(), "state.json"), sink, func(c *baseline.Config) { c.ChunkRows, c.Parallel = 20, 1 })
				b.read(table)
				if n := b.same(table, append(slices.Clone(kind.expressions), "v", "n")); n != rows {
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
	})
}

// Which columns are ordered by the bytes of their canonical texts; what pads is not.
func TestOrderOfColumns(t *testing.T) {
	for _, c := range []struct {
		column rowColumn
		want   string // what it follows, or how it is ordered otherwise
	}{
		{rowColumn{dataType: "bigint", columnType: "bigint(20) unsigned"}, "integer"},
		{rowColumn{dataType: "binary", columnType: "binary(16)"}, "uuid,bytes"},
		{rowColumn{dataType: "binary", columnType: "binary(8)"}, "bytes"},
		{rowColumn{dataType: "varbinary", columnType: "varbinary(16)"}, "bytes"},
		{rowColumn{dataType: "varchar", charset: "utf8mb4", collation: "utf8mb4_0900_bin"}, "text"},
		{rowColumn{dataType: "varchar", charset: "utf8mb3", collation: "utf8mb3_nopad_bin"}, "text"},
		{rowColumn{dataType: "varchar", charset: "latin1", collation: "latin1_nopad_bin"}, "by collation latin1_nopad_bin, not by its bytes as with utf8mb4_nopad_bin or utf8mb4_0900_bin"},
		{rowColumn{dataType: "varchar", charset: "utf8mb4", collation: "utf8mb4_bin"}, "by collation utf8mb4_bin, not by its bytes as with utf8mb4_nopad_bin or utf8mb4_0900_bin"},
		{rowColumn{dataType: "char", columnType: "char(36)", charset: "utf8mb4", collation: "utf8mb4_nopad_bin"}, "as char(36)"},
		{rowColumn{dataType: "uuid", columnType: "uuid"}, "as uuid"},
		{rowColumn{dataType: "datetime", columnType: "datetime(6)"}, "as datetime(6)"},
	} {
		o := c.column.ordering()
		if got := strings.Join(o.Follows, ",") + o.Otherwise; got != c.want {
			t.Errorf("%+v: %q, want %q", c.column, got, c.want)
		}
	}
}

// write changes rows on several connections until the function that it returns
// is called.
func (l *lab) write(table string, kind keyKind, keys int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	for i := range 3 {
		rng := rand.New(rand.NewPCG(uint64(i), 10))
		writing.Go(func() {
			conn, err := l.db.Conn(ctx)
			if err != nil {
				l.t.Error(err)
				return
			}
			defer conn.Close()
			for ctx.Err() == nil {
				if err := writeOnce(conn, rng, table, kind, keys); err != nil {
					l.t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	return func() { cancel(); writing.Wait() }
}

func writeOnce(conn *sql.Conn, rng *rand.Rand, table string, kind keyKind, keys int) error {
	ctx := context.Background()
	where := func(n int) string { return fmt.Sprintf("(%s) = (%s)", kind.key, kind.value(n)) }
	statements := []string{"begin"}
	one := func() {
		n := rng.IntN(keys)
		switch rng.IntN(10) {
		case 0, 1:
			statements = append(statements, fmt.Sprintf("delete from %s where %s", table, where(n)))
		case 2, 3:
			statements = append(statements, fmt.Sprintf("insert ignore into %s values (%s, 'new %d', %d)", table, kind.value(n), rng.IntN(1000), rng.IntN(9)))
		case 4:
			statements = append(statements, fmt.Sprintf("delete from %s where %s", table, where(n)),
				fmt.Sprintf("insert ignore into %s values (%s, 'moved', 1)", table, kind.value(rng.IntN(keys))))
		default:
			statements = append(statements, fmt.Sprintf("update %s set v = 'changed %d', n = null where %s", table, rng.IntN(1000), where(n)))
		}
	}
	for range 1 + rng.IntN(4) {
		one()
	}
	if rng.IntN(3) == 0 {
		statements = append(statements, "savepoint s")
		one()
		if rng.IntN(2) == 0 {
			statements = append(statements, "rollback to s")
		}
	}
	statements = append(statements, []string{"commit", "commit", "commit", "rollback"}[rng.IntN(4)])
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			conn.ExecContext(ctx, "rollback")
			if errno := serverErrno(err); errno == 1213 || errno == 1205 {
				return nil // two that wait for one another: nothing happened
			}
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// Ends in the middle of chunks, again and again: nothing is lost, and no two
// rows read have one id (I3).
func TestI10_KilledWithinChunksNothingIsLost(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		kind := keyKinds[0]
		l.exec("create table things_bigint (id bigint primary key, v varchar(50), n decimal(8,2))")
		for n := 0; n < 800; n++ {
			l.exec(fmt.Sprintf("insert into things_bigint values (%d, 'old %d', 1)", n-200, n))
		}
		l.cfg.Rules = keyRules(t, l.driver, l.name, "things_bigint", kind)
		sink := newCopyOf(l.cfg.Rules)
		state := filepath.Join(t.TempDir(), "state.json")
		stop := l.write("things_bigint", kind, 800)
		rng := rand.New(rand.NewPCG(2, 3))
		var at capture.Start
		kills := 0
		for {
			ended, left := make(chan struct{}), 1+rng.IntN(250)
			sink.mu.Lock()
			sink.waiting = nil
			sink.onRead = func() {
				if left--; left == 0 {
					close(ended)
				}
			}
			if sink.resume != "" {
				at.Resume = sink.resume
			}
			sink.mu.Unlock()
			b := l.based(at, state, sink, func(c *baseline.Config) { c.ChunkRows = 40 })
			b.rows.Want([]string{"things_bigint"})
			sink.await(t, "covered or killed", func() bool {
				select {
				case <-ended:
					return true
				default:
					return b.rows.Idle()
				}
			})
			if b.rows.Status()[0].Covered {
				stop()
				b.same("things_bigint", []string{"id", "v", "n"})
				break
			}
			kills++
			b.stop()
			if at.Identity == "" {
				at.Identity = identityOf(t, l)
			}
		}
		t.Logf("%d kills, %d rows read", kills, sink.reads)
		if kills < 2 {
			t.Errorf("only %d kills", kills)
		}
	})
}

func identityOf(t *testing.T, l *lab) string {
	t.Helper()
	_, start, err := l.open(capture.Start{})
	if err != nil {
		t.Fatal(err)
	}
	return start.Identity
}

func rulesOfID(t *testing.T, driver, database, table string) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(fmt.Sprintf(`apiVersion: trueup/v1
kind: Migration
metadata: {name: test, owner: us}
stores:
  legacy: {driver: postgres, dsn: "env:LEGACY_DSN"}
  target: {driver: %s, dsn: "env:TARGET_DSN"}
entities:
  - name: %[2]s
    key: [id]
    legacy: {table: public.%[2]s}
    target: {table: %[3]s.%[2]s}
    fields: {id: {type: integer}}
`, driver, table, database)), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// A table whose rows nobody can place says so; the others are read.
func TestATableThatCannotBeReadStopsAlone(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		l.exec("insert into a values (1, 'x', 1)")
		l.exec("insert into m values (1, 'x', 1)")
		b := l.based(capture.Start{}, filepath.Join(t.TempDir(), "state.json"), newCopyOf(l.cfg.Rules), nil)
		b.rows.Want([]string{"a", "b", "m"})
		b.sink.await(t, "idle", b.rows.Idle)
		for _, s := range b.rows.Status() {
			if broken := s.Entity == "m"; s.Covered == broken || broken != strings.Contains(s.Problem, "InnoDB") {
				t.Errorf("%+v", s)
			}
		}
	})
}
