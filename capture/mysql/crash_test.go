package mysql

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/internal/crash/crashtest"
	"github.com/trueup-io/trueup/internal/logcheck"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
	eventlog "github.com/trueup-io/trueup/stream"
)

// ledger is a workload that notes down what each transaction wrote: whoever
// commits it is told its GTID (MariaDB).
type ledger struct {
	t      *testing.T
	db     *sql.DB
	writes []logcheck.Write
}

func (g *ledger) conn() *sql.Conn {
	g.t.Helper()
	c, err := g.db.Conn(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	return c
}

func (g *ledger) run(c *sql.Conn, statements ...string) {
	g.t.Helper()
	for _, s := range statements {
		if _, err := c.ExecContext(g.t.Context(), s); err != nil {
			g.t.Fatalf("%s: %v", s, err)
		}
	}
}

// commits runs what ends a transaction, and notes down its writes: op, entity
// and key of each.
func (g *ledger) commits(c *sql.Conn, statement string, writes ...string) {
	g.t.Helper()
	g.run(c, statement)
	var gtid string
	if err := c.QueryRowContext(g.t.Context(), "select @@last_gtid").Scan(&gtid); err != nil {
		g.t.Fatal(err)
	}
	ops := map[string]schemas.Op{}
	for op := schemas.OpInsert; op <= schemas.OpTruncate; op++ {
		ops[op.String()] = op
	}
	for _, w := range writes {
		words := strings.Fields(w)
		g.writes = append(g.writes, logcheck.Write{Txn: gtid, Op: ops[words[0]], Entity: words[1], Key: words[2:]})
	}
}

// work commits and aborts transactions of every shape, on three connections.
func (g *ledger) work(rounds int) {
	g.t.Helper()
	one, open, other := g.conn(), g.conn(), g.conn()
	insert := func(table, v string, from, to int) (statement string, writes []string) {
		rows := []string{}
		for id := from; id <= to; id++ {
			rows, writes = append(rows, fmt.Sprintf("(%d, '%s', 0)", id, v)), append(writes, fmt.Sprintf("insert %s %d", table, id))
		}
		return fmt.Sprintf("insert into %s values %s", table, strings.Join(rows, ", ")), writes
	}
	for i := range rounds {
		id := 1000 * (i + 1)
		g.run(open, "begin", fmt.Sprintf("insert into a values (%d, 'slow', 1)", id+900))
		statement, writes := insert("a", "many", id, id+5)
		g.commits(one, statement, writes...)
		g.run(one, "begin", fmt.Sprintf("update a set id = id + 20 where id in (%d, %d)", id, id+1), "savepoint s",
			fmt.Sprintf("delete from a where id in (%d, %d)", id+3, id+4), "rollback to s",
			fmt.Sprintf("insert into b values (%d, 'b', 0)", id))
		g.commits(one, "commit", fmt.Sprintf("delete a %d", id), fmt.Sprintf("insert a %d", id+20), fmt.Sprintf("delete a %d", id+1), fmt.Sprintf("insert a %d", id+21), fmt.Sprintf("insert b %d", id))
		g.run(one, "begin", fmt.Sprintf("update a set n = n + 1 where id in (%d, %d)", id+3, id+4), "create temporary table if not exists tt (i int)", "rollback") // stands in the log, and is rolled back
		statement, writes = insert("b", strings.Repeat("s", 90), id+100, id+129)                                                                                   // too much for memory
		g.run(other, "begin", statement)
		g.commits(one, fmt.Sprintf("update a set v = 'between' where id = %d", id+20), fmt.Sprintf("update a %d", id+20))
		g.run(other, fmt.Sprintf("delete from b where id = %d", id+100))
		g.commits(other, "commit", append(writes, fmt.Sprintf("delete b %d", id+100))...)
		xa := fmt.Sprintf("'x%d'", i)
		g.run(other, "xa start "+xa, fmt.Sprintf("insert into a values (%d, 'xa', 0), (%d, 'xa', 0)", id+800, id+801), "xa end "+xa, "xa prepare "+xa)
		g.run(open, fmt.Sprintf("insert into b values (%d, 'slow', 1)", id+900))
		g.commits(open, "commit", fmt.Sprintf("insert a %d", id+900), fmt.Sprintf("insert b %d", id+900))
		if i%2 == 0 {
			g.commits(other, "xa commit "+xa, fmt.Sprintf("insert a %d", id+800), fmt.Sprintf("insert a %d", id+801))
		} else {
			g.run(other, "xa rollback "+xa)
		}
		switch i % 3 {
		case 1:
			g.commits(one, "truncate table b", "truncate b")
		case 2:
			g.run(one, "flush binary logs")
		}
		g.commits(one, fmt.Sprintf("delete from a where id = %d", id+2), fmt.Sprintf("delete a %d", id+2))
	}
}

// killing is the campaign: a workload that stands in the server's log once, and
// is read from its beginning by each run.
type killing struct {
	t       *testing.T
	l       *lab
	broker  *eventlog.Embedded
	binary  string
	dir     string
	state   []byte // of the beginning
	until   string
	ledger  []logcheck.Write
	whole   *logcheck.Checker // the log of the run that was not killed
	runs    int
	kills   int
	repeats int
}

// sampled are the sites that every run of the tests is killed at. What is not
// MariaDB's own is killed with PostgreSQL at all of them.
var sampled = []string{"capture.mysql.", "capture.change_before_ack", "capture.progress_before_mark", "capture.state_file_before_rename"}

// I1: "saved GTID ≤ min over partitions of contiguous acked prefix"; I2: "every
// committed row change in scope appears"; I3: "same change ⇒ same EventID
// after any restart"; I4: "re-emission is a contiguous run ending at the
// tail"; I5: "a key never changes partition"; I6: "no event of an aborted txn";
// I40: "kill -9 loses nothing". A capture of MariaDB is killed at every site, at
// a hit within the workload; with TRUEUP_CRASH_ALL=1 at every hit.
func TestI1_I2_I3_I4_I5_I6_I40_KilledAtEverySite(t *testing.T) {
	k := newKilling(t)
	hits := k.undisturbed()
	for _, site := range slices.Sorted(maps.Keys(crash.Sites)) {
		n := hits[site]
		switch {
		case strings.HasPrefix(site, "capture.postgres."), strings.HasPrefix(site, "capture.baseline."), strings.HasPrefix(site, "compensate."),
			strings.HasPrefix(site, "reconcile."), strings.HasPrefix(site, "changelog."), site == "capture.state_file_before_confirm" && n == 0:
			continue // nothing is confirmed to this server
		case !crashtest.Chosen(site), !crashtest.All() && !slices.ContainsFunc(sampled, func(prefix string) bool { return strings.HasPrefix(site, prefix) }):
			continue
		case n == 0:
			t.Errorf("the workload never comes to %s", site)
			continue
		}
		killed := 0
		for _, hit := range crashtest.Hits(n) {
			killed += k.run(site, hit)
		}
		if killed == 0 { // some sites are hit as often as time allows
			killed = k.run(site, 1)
		}
		if killed == 0 {
			t.Errorf("%s: %d hits, and no run was killed there", site, n)
		}
	}
	t.Logf("%d kills in %d runs; %d records were written again", k.kills, k.runs, k.repeats)
}

func newKilling(t *testing.T) *killing {
	t.Helper()
	dsn, name := servertest.MariaDBDatabase(t)
	l := newLab(t, MariaDB, dsn, name)
	k := killingOf(t, l, fmt.Sprintf("  - {name: a, key: [id], legacy: {table: %[1]s.a}, target: {table: public.a}, fields: {id: {type: integer}, v: {type: text}}}\n"+
		"  - {name: b, key: [id], legacy: {table: %[1]s.b}, target: {table: public.b}, fields: {id: {type: integer}, v: {type: text}}}\n", name))
	_, start, err := l.open(capture.Start{})
	if err != nil {
		t.Fatal(err)
	}
	if k.state, err = json.Marshal(map[string]any{"source": "crash", "epoch": 1, "identity": start.Identity, "resume": start.Resume}); err != nil {
		t.Fatal(err)
	}
	g := &ledger{t: t, db: l.db}
	g.work(3)
	k.ledger = g.writes
	k.toTheEnd()
	return k
}

// killingOf builds what is killed, and starts the broker that it writes to.
func killingOf(t *testing.T, l *lab, entities string) *killing {
	t.Helper()
	k := &killing{t: t, l: l, dir: t.TempDir()}
	k.binary = filepath.Join(k.dir, "capturer")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", crash.Tag, "-o", k.binary, "../../internal/crash/capturer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	yaml := fmt.Sprintf("apiVersion: trueup/v1\nkind: Migration\nmetadata: {name: crash, owner: us}\nstores:\n  legacy: {driver: %s, dsn: \"env:A\"}\n"+
		"  target: {driver: postgres, dsn: \"env:B\"}\nentities:\n%s", l.driver, entities)
	if err := os.WriteFile(k.rulesPath(), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := schemas.LoadMigration(k.rulesPath())
	if err != nil {
		t.Fatal(err)
	}
	if l.cfg.Rules, err = m.Rules(); err != nil {
		t.Fatal(err)
	}
	l.cfg.Side, l.cfg.Source = schemas.Legacy, "crash"
	if k.broker, err = eventlog.StartEmbedded(eventlog.EmbeddedConfig{Dir: filepath.Join(k.dir, "broker"), Migration: "crash"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.broker.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (k *killing) rulesPath() string { return filepath.Join(k.dir, "migration.yaml") }

// lived is one run of the workload: a log and a state file of its own, and as
// many processes as it takes.
type lived struct {
	*killing
	name, state, spill string
	rows               string // state of a baseline; empty: none is read
	log                *eventlog.Log
}

func (k *killing) begin() *lived {
	k.t.Helper()
	k.runs++
	l := &lived{killing: k, name: fmt.Sprintf("crash%d", k.runs)}
	l.state, l.spill = filepath.Join(k.dir, l.name+".json"), filepath.Join(k.dir, l.name)
	if err := os.WriteFile(l.state, k.state, 0o600); err != nil {
		k.t.Fatal(err)
	}
	var err error
	if l.log, err = eventlog.Open(k.t.Context(), eventlog.Config{Migration: l.name, Brokers: []string{k.broker.Addr()}, Partitions: 4}); err != nil {
		k.t.Fatal(err)
	}
	return l
}

func (l *lived) end() {
	l.t.Helper()
	if err := l.log.Close(); err != nil {
		l.t.Error(err)
	}
}

// process captures until it is done, or killed; env says where it dies.
func (l *lived) process(env ...string) (killed bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patient)
	defer cancel()
	pause := crashPause
	if l.rows != "" {
		pause = 0 // writers go on until it ends
	}
	argument, err := json.Marshal(map[string]any{"Migration": l.name, "Rules": l.rulesPath(), "Brokers": []string{l.broker.Addr()}, "Driver": l.l.driver,
		"DSN": l.l.cfg.DSN, "State": l.state, "Spill": l.spill, "Until": l.until, "Pause": pause, "Baseline": l.rows})
	if err != nil {
		l.t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, l.binary, string(argument))
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = &said
	err = cmd.Run()
	killed = cmd.ProcessState.ExitCode() == -1
	if err != nil && !killed || ctx.Err() != nil {
		l.t.Fatalf("%s %v: %v\n%s", l.name, env, err, said.String())
	}
	return killed
}

// crashPause makes a run last long enough for several progress records.
const crashPause = 3 * time.Millisecond

// undisturbed runs the workload once, and counts how often sites are hit. Its
// log is what every other one is compared with.
func (k *killing) undisturbed() map[string]int {
	k.t.Helper()
	l := k.begin()
	defer l.end()
	listed := filepath.Join(k.dir, "hits")
	if l.process(crash.HitsFile + "=" + listed) {
		k.t.Fatal("it was killed, and nobody asked for that")
	}
	k.whole = l.read()
	l.expect(k.whole)
	return readHits(k.t, listed)
}

func readHits(t *testing.T, path string) map[string]int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hits := map[string]int{}
	for site := range strings.Lines(string(b)) {
		hits[strings.TrimSpace(site)]++
	}
	t.Logf("hits: %v", hits)
	return hits
}

// run kills the capture at a hit of a site, then at an earlier hit of the same
// site in its second life, and lets the third one end. It returns how often it
// was killed.
func (k *killing) run(site string, hit int) (kills int) {
	k.t.Helper()
	l := k.begin()
	defer l.end()
	for _, at := range []int{hit, (hit + 2) / 3} {
		if !l.process(crash.KillAt + "=" + site + ":" + strconv.Itoa(at)) {
			break
		}
		kills++
		l.afterKill(site, at)
	}
	if l.process() {
		k.t.Fatalf("%s %s:%d: killed, and nobody asked for that", l.name, site, hit)
	}
	c := l.read()
	l.expect(c)
	for _, v := range c.Same(k.whole) {
		k.t.Errorf("%s:%d: %s", site, hit, v)
	}
	k.repeats += c.Repeated()
	k.kills += kills
	if k.t.Failed() {
		k.t.Fatalf("%s:%d, killed %d times", site, hit, kills)
	}
	return kills
}

func (l *lived) read() *logcheck.Checker {
	l.t.Helper()
	c, err := logcheck.Topic(l.t.Context(), l.log, l.l.cfg.Rules)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// expect holds a log that is done to every promise, and to the ledger.
func (l *lived) expect(c *logcheck.Checker) {
	l.t.Helper()
	for _, v := range append(c.Violations(), c.Expect("crash", l.ledger)...) {
		l.t.Errorf("%s: %s", l.name, v)
	}
	if files, err := os.ReadDir(l.spill); err == nil && len(files) > 0 {
		l.t.Errorf("%s: %d files of large transactions are left", l.name, len(files))
	}
}

// afterKill looks at what a dead process has left (I1): the state file is the
// old one or the new one, and everything before its position is in the log.
func (l *lived) afterKill(site string, hit int) {
	l.t.Helper()
	b, err := os.ReadFile(l.state)
	if err != nil {
		l.t.Fatal(err)
	}
	var state struct{ Resume capture.Resume }
	if err := json.Unmarshal(b, &state); err != nil {
		l.t.Fatalf("the state file is neither the old nor the new one: %v", err)
	}
	at, err := parseResume(MariaDB, state.Resume)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, id := range l.read().Lacks(l.whole, at.pos.text()) {
		l.t.Errorf("I1: %s:%d: the state file is at %s, and %s/%d is not in the log", site, hit, at.pos, id.Pos, id.Ordinal)
	}
}
