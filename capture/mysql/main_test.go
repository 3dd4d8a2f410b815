package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// patient is how long a test waits for a signal on a busy machine.
const patient = 90 * time.Second

// A testServer is a server that the tests share.
type testServer struct {
	name     string
	driver   string
	database func(testing.TB) (dsn, name string)
}

// The servers: what a version may do in another way runs on each of them, the
// rest on one of each flavour.
var (
	flavoured    = []testServer{{MariaDB, MariaDB, servertest.MariaDBDatabase}, {MySQL, MySQL, servertest.MySQLDatabase}}
	everyVersion = append([]testServer{{"mariadb11", MariaDB, servertest.MariaDB11Database}}, flavoured...)
)

// flavours runs a test on the shared server of each flavour, both at once.
func flavours(t *testing.T, test func(t *testing.T, l *lab)) {
	t.Helper()
	on(t, flavoured, test)
}

// versions runs a test on the shared server of every version, all at once.
func versions(t *testing.T, test func(t *testing.T, l *lab)) {
	t.Helper()
	on(t, everyVersion, test)
}

func on(t *testing.T, servers []testServer, test func(t *testing.T, l *lab)) {
	t.Helper()
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			dsn, name := s.database(t)
			l := newLab(t, s.driver, dsn, name)
			l.server = s.name
			test(t, l)
		})
	}
}

// lab is a database and what captures it.
type lab struct {
	t      *testing.T
	server string // its name among the versions; "": one of the test's own
	driver string
	dsn    string
	name   string // of the database
	db     *sql.DB
	cfg    Config
}

// newLab maps entities a, b and m with the key id to the tables of those names.
// What is captured of a row does not depend on the mapping.
func newLab(t *testing.T, driver, dsn, name string) *lab {
	t.Helper()
	l := &lab{t: t, driver: driver, dsn: dsn, name: name, db: openSQL(t, dsn)}
	l.exec("create table a (id int primary key, v varchar(100), n int)")
	l.exec("create table b (id int primary key, v varchar(100), n int)")
	l.exec("create table m (id int primary key, v varchar(100), n int) engine=myisam")
	l.exec("create table elsewhere (id int primary key, v varchar(100))")
	l.cfg = Config{Side: schemas.Target, Source: "maria-new", Driver: driver, DSN: l.least(), Rules: rulesOf(t, driver, name, "a", "b", "m"),
		ProgressEvery: 50 * time.Millisecond, SpillDir: t.TempDir()}
	if os.Getenv("TRUEUP_TEST_LOG") != "" {
		l.cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return l
}

// leastRights are those that docs/mysql.md gives, beside SELECT on the tables.
const leastRights = "replication slave, replication client on *.*"

// least makes a user with the rights that the documentation gives and no
// others, and returns its DSN: the whole suite captures under them.
func (l *lab) least() string {
	l.t.Helper()
	user := "capture_" + l.name
	l.exec("create user if not exists '" + user + "'@'%' identified by 'secret'")
	l.exec("grant " + leastRights + " to '" + user + "'@'%'")
	l.exec("grant select on " + l.name + ".* to '" + user + "'@'%'")
	l.t.Cleanup(func() { _, _ = l.db.Exec("drop user '" + user + "'@'%'") }) // the server may be gone
	dsn, err := mysql.ParseDSN(l.dsn)
	if err != nil {
		l.t.Fatal(err)
	}
	dsn.User, dsn.Passwd, dsn.DBName = user, "secret", ""
	return dsn.FormatDSN()
}

func openSQL(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = &mysql.NopLogger{} // some tests kill the server
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}

// rulesOf maps an entity to each table of the target's database.
func rulesOf(t testing.TB, driver, database string, tables ...string) *schemas.Rules {
	t.Helper()
	yaml := fmt.Sprintf(`apiVersion: trueup/v1
kind: Migration
metadata: {name: test, owner: us}
stores:
  legacy: {driver: postgres, dsn: "env:LEGACY_DSN"}
  target: {driver: %s, dsn: "env:TARGET_DSN"}
entities:
`, driver)
	for _, table := range tables {
		yaml += fmt.Sprintf(`  - name: %s
    key: [id]
    legacy: {table: public.%[1]s}
    target: {table: %[2]s.%[1]s}
    fields:
      id: {type: integer}
      v: {type: text}
`, table, database)
	}
	m, err := schemas.ParseMigration([]byte(yaml), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func (l *lab) exec(statement string, args ...any) {
	l.t.Helper()
	if _, err := l.db.Exec(statement, args...); err != nil {
		l.t.Fatalf("%s: %v", statement, err)
	}
}

// session runs statements on one connection.
func (l *lab) session(statements ...string) {
	l.t.Helper()
	conn, err := l.db.Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range statements {
		if _, err := conn.ExecContext(l.t.Context(), s); err != nil {
			l.t.Fatalf("%s: %v", s, err)
		}
	}
	// Its settings must not reach whoever takes the connection next.
	if err := conn.Raw(func(any) error { return errBad }); !errors.Is(err, errBad) {
		l.t.Fatal(err)
	}
}

var errBad = fmt.Errorf("not to be used again: %w", driver.ErrBadConn)

func (l *lab) ask(query string, args ...any) (answer string) {
	l.t.Helper()
	if err := l.db.QueryRow(query, args...).Scan(&answer); err != nil {
		l.t.Fatalf("%s: %v", query, err)
	}
	return answer
}

// open makes a source, which is closed at the end of the test.
func (l *lab) open(from capture.Start) (*Source, capture.Start, error) {
	l.t.Helper()
	if err := l.cfg.Validate(); err != nil {
		l.t.Fatal(err)
	}
	s := New(l.cfg)
	l.t.Cleanup(func() { s.Close(context.Background()) })
	start, err := s.Open(l.t.Context(), from.Resume, from.Identity, from.Halted...)
	return s, start, err
}

// capturing is a source that runs into a recorder.
type capturing struct {
	*recorder
	l      *lab
	source *Source
	start  capture.Start
	stop   func() // ends it as its owner does
	ended  chan struct{}
	result error // of Run, once ended is closed
}

// capture runs a source from a start, the zero Start being the present.
func (l *lab) capture(from capture.Start) *capturing {
	l.t.Helper()
	return l.captureInto(from, &recorder{})
}

func (l *lab) captureInto(from capture.Start, into *recorder) *capturing {
	l.t.Helper()
	source, start, err := l.open(from)
	if err != nil {
		l.t.Fatalf("open: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &capturing{recorder: into, l: l, source: source, start: start, ended: make(chan struct{})}
	into.changed, into.fail = make(chan struct{}), l.t.Errorf
	go func() {
		defer close(c.ended)
		var sink capture.Sink = into
		if into.refuses {
			sink = refusing{into}
		}
		c.result = source.Run(ctx, start, 1, sink, func() (capture.Resume, bool) { return "", false })
		into.wake()
	}()
	c.stop = func() {
		cancel()
		<-c.ended
		if c.result == nil {
			l.t.Error("a run that was stopped says nothing of it")
		}
	}
	l.t.Cleanup(c.stop)
	return c
}

// settled waits until everything that has committed is captured, and returns
// it.
func (c *capturing) settled() []*schemas.Change {
	c.l.t.Helper()
	now, err := parseClock(c.l.ask("select unix_timestamp(now(6))"))
	if err != nil {
		c.l.t.Fatal(err)
	}
	c.wait("progress beyond "+now.String(), func(r *recorder) bool { return r.frontier() >= now })
	return c.changes()
}

// failed waits until Run ends by itself.
func (c *capturing) failed() error {
	c.l.t.Helper()
	select {
	case <-c.ended:
		return c.result
	case <-time.After(patient):
		c.l.t.Fatal("capture goes on")
		return nil
	}
}

// wait waits until the recorder holds what is wanted.
func (c *capturing) wait(what string, holds func(*recorder) bool) {
	c.l.t.Helper()
	timeout := time.After(patient)
	for {
		c.mu.Lock()
		done, changed := holds(c.recorder), c.changed
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-c.ended:
			c.l.t.Fatalf("capture ended before %s: %v", what, c.result)
		case <-timeout:
			c.l.t.Fatalf("no %s", what)
		}
	}
}

// recorder is a sink that keeps everything, with dials.
type recorder struct {
	// fail is called with what a source must never do: recorders always watch.
	fail func(format string, args ...any)
	// onChange is called before a change is kept; an error from it goes back to the source.
	onChange func(n int, c *schemas.Change) error

	mu       sync.Mutex
	got      []*schemas.Change // guarded by mu, like the rest
	said     []schemas.Progress
	resumes  []capture.Resume
	saidWhen []int // how many changes came before each progress
	refuses  bool  // it takes what is no change
	refused  []schemas.Quarantine
	halts    []capture.Halt
	changed  chan struct{}
}

var _ capture.Sink = (*recorder)(nil)

// refusing is a recorder that takes what no change can be made of.
type refusing struct{ *recorder }

// Quarantine implements capture.Refuser.
func (r refusing) Quarantine(_ context.Context, q *schemas.Quarantine) error {
	r.mu.Lock()
	r.recorder.refused = append(r.recorder.refused, *q)
	r.mu.Unlock()
	r.wake()
	return nil
}

// Halt implements capture.Refuser.
func (r refusing) Halt(_ context.Context, h capture.Halt) error {
	r.mu.Lock()
	r.recorder.halts = append(r.recorder.halts, h)
	r.mu.Unlock()
	r.wake()
	return nil
}

func (r *recorder) wake() {
	r.mu.Lock()
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
}

func (r *recorder) Change(_ context.Context, c *schemas.Change) error {
	if r.onChange != nil {
		r.mu.Lock()
		n := len(r.got)
		r.mu.Unlock()
		if err := r.onChange(n, c); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.watchChange(c)
	r.got = append(r.got, c)
	r.mu.Unlock()
	r.wake()
	return nil
}

// watchChange is called with mu held, before c is kept. I4: "order of first
// emissions = commit order"; decision 2: a frontier never passes what is not
// yet in the log.
func (r *recorder) watchChange(c *schemas.Change) {
	if n := len(r.got); n > 0 {
		last := r.got[n-1]
		if c.Pos < last.Pos || c.Pos == last.Pos && c.Ordinal <= last.Ordinal {
			r.fail("change %s/%d comes after %s/%d", c.Pos, c.Ordinal, last.Pos, last.Ordinal)
		}
	}
	if n := len(r.said); n > 0 {
		if p := r.said[n-1]; c.Pos <= p.Pos || c.CommitTS <= p.TS {
			r.fail("change at %s, committed until %s, comes after progress at %s, %s", c.Pos, c.CommitTS, p.Pos, p.TS)
		}
	}
	if c.CommitTSMin > c.CommitTS || c.Txn == "" || c.TxnRows == 0 || c.Source == "" || c.Epoch == 0 || c.Side == 0 {
		r.fail("change %s says %+v", c.Pos, c)
	}
}

// watchProgress is called with mu held, before p is kept.
func (r *recorder) watchProgress(p schemas.Progress) {
	if n := len(r.said); n > 0 {
		if last := r.said[n-1]; p.Pos < last.Pos || p.TS < last.TS {
			r.fail("progress at %s, %s comes after %s, %s", p.Pos, p.TS, last.Pos, last.TS)
		}
	}
	if n := len(r.got); n > 0 && p.Pos < r.got[n-1].Pos {
		r.fail("progress at %s comes after a change at %s", p.Pos, r.got[n-1].Pos)
	}
}

func (r *recorder) Progress(_ context.Context, p schemas.Progress, resume capture.Resume) error {
	r.mu.Lock()
	r.watchProgress(p)
	r.said, r.resumes, r.saidWhen = append(r.said, p), append(r.resumes, resume), append(r.saidWhen, len(r.got))
	r.mu.Unlock()
	r.wake()
	return nil
}

func (r *recorder) changes() []*schemas.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// frontier is called with mu held.
func (r *recorder) frontier() schemas.Micros {
	if len(r.said) == 0 {
		return 0
	}
	return r.said[len(r.said)-1].TS
}

// lastResume is where the source would go on.
func (r *recorder) lastResume() capture.Resume {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.resumes) == 0 {
		return ""
	}
	return r.resumes[len(r.resumes)-1]
}

// show writes a change in a line: what happened to which key, and the columns
// v and n after it.
func show(c *schemas.Change) string {
	line := c.Op.String() + " " + c.Entity
	for _, k := range c.Key {
		line += " " + k
	}
	for _, name := range []string{"v", "n"} {
		if col, ok := c.After.Get(name); ok {
			line += " " + name + "=" + showColumn(col)
		}
	}
	return line
}

func showColumn(c schemas.Column) string {
	switch c.Presence {
	case schemas.Null:
		return "NULL"
	case schemas.Unavailable:
		return "?"
	}
	return c.Text
}

func showAll(changes []*schemas.Change) (lines []string) {
	for _, c := range changes {
		lines = append(lines, show(c))
	}
	return lines
}
