package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/internal/crash/crashtest"
	"github.com/trueup-io/trueup/internal/logcheck"
	"github.com/trueup-io/trueup/schemas"
	eventlog "github.com/trueup-io/trueup/stream"
)

// ledgerEntities map the tables of the workload.
const ledgerEntities = orderEntity + `
  - name: line
    key: [order_id, n]
    legacy: {table: public.lines}
    target: {table: shop.lines}
    fields: {order_id: {type: integer}, n: {type: integer}, v: {type: text}}
`

// ledger makes triggers that note every row change down in its own transaction,
// as a write of a changed key is captured: as a delete and an insert.
const ledger = `
create table lines (order_id bigint, n int, v text, primary key (order_id, n));
alter table lines replica identity full;
create table write_ledger (seq bigserial, txn text not null default pg_current_xact_id()::text, entity text, op text, key text[]);
create function note() returns trigger language plpgsql as $$
declare was text[]; is_ text[];
begin
	if tg_op = 'TRUNCATE' then
		insert into public.write_ledger (entity, op, key) values (tg_argv[0], 'truncate', '{}');
		return null;
	end if;
	if tg_op <> 'INSERT' then
		select array_agg(to_jsonb(old)->>k order by o) into was from unnest(tg_argv[1:]) with ordinality as a(k, o);
	end if;
	if tg_op <> 'DELETE' then
		select array_agg(to_jsonb(new)->>k order by o) into is_ from unnest(tg_argv[1:]) with ordinality as a(k, o);
	end if;
	if tg_op = 'UPDATE' and was = is_ then
		insert into public.write_ledger (entity, op, key) values (tg_argv[0], 'update', is_);
		return null;
	end if;
	if was is not null then
		insert into public.write_ledger (entity, op, key) values (tg_argv[0], 'delete', was);
	end if;
	if is_ is not null then
		insert into public.write_ledger (entity, op, key) values (tg_argv[0], 'insert', is_);
	end if;
	return null;
end $$;
create trigger note after insert or update or delete on orders for each row execute function note('order', 'id');
create trigger note after insert or update or delete on lines for each row execute function note('line', 'order_id', 'n');
create trigger note_all after truncate on lines for each statement execute function note('line');`

// ledgerWorkload commits and aborts transactions of every shape, on three
// connections.
func ledgerWorkload(d *db, rounds int) {
	d.t.Helper()
	open, other := d.connect(), d.connect()
	run := func(conn *pgx.Conn, sql string, args ...any) {
		d.t.Helper()
		if _, err := conn.PgConn().Exec(d.t.Context(), fmt.Sprintf(sql, args...)).ReadAll(); err != nil {
			d.t.Fatalf("%s: %v", sql, err)
		}
	}
	for i := range rounds {
		id := 1000 * (i + 1)
		run(open, "begin; insert into orders values (%d, 'slow', 1, null); insert into lines values (%[1]d, 0, 'slow')", id+900)
		copyRows(d, id, id+4) // one WAL record, one position
		run(d.conn, "begin; insert into orders select i, 'many', i * 0.5, repeat('x', 50) from generate_series(%d, %d) i; insert into lines select %[1]d, i, 'l' from generate_series(1, 6) i; commit", id+10, id+15)
		run(d.conn, "begin; update orders set id = id + 20, status = 'moved' where id between %d and %d; commit", id+10, id+12)
		run(d.conn, "begin; savepoint a; delete from lines where order_id = %d; rollback to a; update lines set v = 'b' where order_id = %[1]d and n < 4; savepoint b; insert into lines values (%[1]d, 100, 'kept'); release b; commit", id+10)
		run(d.conn, "begin; insert into orders select i, 'never', 0, null from generate_series(%d, %d) i; update orders set status = 'never'; rollback", id+500, id+520)
		run(other, "begin; insert into orders values (%d, 'beside', 1, null)", id+800)
		run(open, "insert into lines values (%d, 1, 'slow'); commit", id+900)
		run(other, "commit") // right behind the commit of the one before
		if i%3 == 1 {
			run(d.conn, "begin; truncate lines; insert into lines values (%d, 7, 'first'); commit", id)
		}
		if i%3 == 0 { // large enough to be streamed, with others between
			run(other, "begin; insert into orders select i, repeat('s', 1500), 1, null from generate_series(%d, %d) i; savepoint a", id+600, id+629)
			run(d.conn, "update orders set status = 'between' where id = %d", id+10+20)
			run(other, "insert into orders select i, repeat('s', 1500), 1, null from generate_series(%d, %d) i; rollback to a", id+630, id+659)
			run(other, "insert into orders select i, repeat('s', 1500), 1, null from generate_series(%d, %d) i; commit", id+660, id+689)
		}
		run(d.conn, "delete from orders where id = %d", id+1)
	}
}

// ledgerOf reads what has to be in the log.
func ledgerOf(d *db) (writes []logcheck.Write) {
	d.t.Helper()
	rows, err := d.conn.Query(d.t.Context(), "select txn, entity, op, key from write_ledger order by seq")
	if err != nil {
		d.t.Fatal(err)
	}
	ops := map[string]schemas.Op{}
	for op := schemas.OpInsert; op <= schemas.OpTruncate; op++ {
		ops[op.String()] = op
	}
	var w logcheck.Write
	var op string
	if _, err := pgx.ForEachRow(rows, []any{&w.Txn, &w.Entity, &op, &w.Key}, func() error {
		w.Op = ops[op]
		writes = append(writes, logcheck.Write{Txn: w.Txn, Entity: w.Entity, Op: w.Op, Key: slices.Clone(w.Key)})
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
	return writes
}

// killing is the campaign: a workload that stands in the server's log once, and
// a slot on it for each run.
type killing struct {
	t       *testing.T
	d       *db
	broker  *eventlog.Embedded
	binary  string
	rules   *schemas.Rules
	dir     string
	slot    string // the slot that no run moves
	state   string // what its state file says
	until   string
	ledger  []logcheck.Write
	whole   *logcheck.Checker // the log of the run that was not killed
	runs    int
	kills   int
	repeats int
}

// I1: "position sent to slot ≤ min over partitions of contiguous acked prefix";
// I2: "every committed row change in scope appears"; I3: "same change ⇒ same
// EventID after any restart"; I4: "re-emission is a contiguous run ending at
// the tail"; I5: "a key never changes partition"; I6: "no event of an aborted
// txn"; I40: "kill -9 loses nothing". A capture is killed at every site, at a
// hit within the workload; with TRUEUP_CRASH_ALL=1 at every hit.
func TestI1_I2_I3_I4_I5_I6_I40_KilledAtEverySite(t *testing.T) {
	k := newKilling(t)
	hits := k.undisturbed()
	for _, site := range slices.Sorted(maps.Keys(crash.Sites)) {
		if strings.HasPrefix(site, "capture.baseline.") || strings.HasPrefix(site, "capture.mysql.") || !crashtest.Chosen(site) {
			continue // the workload reads no rows that were there before, and no binlog
		}
		if strings.HasPrefix(site, "compensate.") || strings.HasPrefix(site, "reconcile.") || strings.HasPrefix(site, "changelog.") {
			continue // nothing is compared or repaired here
		}
		n := hits[site]
		if n == 0 {
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
	t.Logf("%d kills in %d runs at %d hits of %d sites; %d records were written again", k.kills, k.runs, total(hits), len(hits), k.repeats)
}

func total(hits map[string]int) (sum int) {
	for _, n := range hits {
		sum += n
	}
	return sum
}

func newKilling(t *testing.T) *killing {
	t.Helper()
	d := newDB(t, createOrders, ledger)
	k := killingOf(t, d, ledgerEntities)
	cfg := d.config(ledgerEntities)
	cfg.Source = "crash"
	s, start := openFirst(t, cfg)
	k.slot = s.cfg.Slot
	state, err := json.Marshal(map[string]any{"source": cfg.Source, "epoch": 1, "identity": start.Identity, "resume": start.Resume})
	if err != nil {
		t.Fatal(err)
	}
	k.state = string(state)
	ledgerWorkload(d, 6)
	k.ledger = ledgerOf(d)
	k.until = posText(d.flushed() - 1)
	return k
}

// killingOf makes what a campaign needs besides its workload.
func killingOf(t *testing.T, d *db, entities string) *killing {
	t.Helper()
	k := &killing{t: t, d: d, dir: t.TempDir(), rules: d.config(entities).Rules}
	k.binary = filepath.Join(k.dir, "capturer")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", crash.Tag, "-o", k.binary, "../../internal/crash/capturer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(k.dir, "migration.yaml"), []byte(migrationOf(entities)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.closeBroker)
	return k
}

// brokerRuns is how many logs a broker carries: it keeps every file open.
const brokerRuns = 100

// freshBroker starts a broker for the next runs, every now and then.
func (k *killing) freshBroker() {
	k.t.Helper()
	if k.runs%brokerRuns != 0 {
		return
	}
	k.closeBroker()
	var err error
	dir := filepath.Join(k.dir, fmt.Sprintf("broker%d", k.runs))
	if k.broker, err = eventlog.StartEmbedded(eventlog.EmbeddedConfig{Dir: dir, Migration: "crash"}); err != nil {
		k.t.Fatal(err)
	}
}

func (k *killing) closeBroker() {
	if k.broker == nil {
		return
	}
	if err := k.broker.Close(); err != nil {
		k.t.Error(err)
	}
	k.broker = nil
}

// crashPause makes a run last longer than confirmEvery, so that something is
// confirmed in each.
const crashPause = 700 * time.Microsecond

// lived is one run of the workload: a slot, a log and a state file of its own,
// and as many processes as it takes.
type lived struct {
	*killing
	name, slot, state, spill string
	dsn                      string
	until                    string        // where a process ends
	rows                     string        // the state file of the baseline that is read beside; "": none is
	source                   *Source       // of such a one: to look at the server with
	pause                    time.Duration // between changes
	log                      *eventlog.Log
}

// begin makes a run's slot, log and state.
func (k *killing) begin() *lived {
	k.t.Helper()
	k.freshBroker()
	k.runs++
	l := &lived{killing: k, name: fmt.Sprintf("crash%d", k.runs), slot: fmt.Sprintf("%s_%d", k.slot, k.runs), until: k.until, pause: crashPause,
		dsn: withSetting(k.t, k.d.dsn, "logical_decoding_work_mem", "64kB")}
	k.d.exec("select pg_copy_logical_replication_slot($1, $2)", k.slot, l.slot)
	l.state, l.spill = filepath.Join(k.dir, l.name+".json"), filepath.Join(k.dir, l.name)
	if err := os.WriteFile(l.state, []byte(strings.ReplaceAll(k.state, k.slot, l.slot)), 0o600); err != nil {
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
	awaitFree(l.d, l.slot)
	l.d.exec("select pg_drop_replication_slot($1)", l.slot)
	if err := l.log.Close(); err != nil {
		l.t.Error(err)
	}
}

// command is a process that captures until it is done, or killed; env says
// where it dies. Said is what it says.
func (l *lived) command(ctx context.Context, env ...string) (cmd *exec.Cmd, said *bytes.Buffer) {
	l.t.Helper()
	argument, err := json.Marshal(map[string]any{"Migration": l.name, "Rules": filepath.Join(l.dir, "migration.yaml"), "Brokers": []string{l.broker.Addr()},
		"DSN": l.dsn, "Slot": l.slot, "State": l.state, "Spill": l.spill, "Until": l.until, "Pause": l.pause, "Baseline": l.rows})
	if err != nil {
		l.t.Fatal(err)
	}
	said = new(bytes.Buffer)
	cmd = exec.CommandContext(ctx, l.binary, string(argument))
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = said
	return cmd, said
}

// process runs a command to its end.
func (l *lived) process(env ...string) (killed bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	cmd, said := l.command(ctx, env...)
	err := cmd.Run()
	killed = cmd.ProcessState.ExitCode() == -1
	if err != nil && !killed || ctx.Err() != nil {
		l.t.Fatalf("%s %v: %v\n%s", l.name, env, err, said.String())
	}
	awaitFree(l.d, l.slot)
	return killed
}

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

// readHits counts the hits that a process has listed.
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
	c, err := logcheck.Topic(l.t.Context(), l.log, l.rules)
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
	noFiles(l.t, l.spill)
}

// afterKill looks at what a dead process has left (I1): the slot is not ahead
// of the state file, everything before the state file's position is in the log,
// and where it died with a transaction in a file, the file is there.
func (l *lived) afterKill(site string, hit int) {
	l.t.Helper()
	at := l.remembered()
	if c := l.d.confirmed(l.slot); c > at {
		l.t.Errorf("I1: %s:%d: the slot is at %s, the state file at %s", site, hit, c, at)
	}
	for _, id := range l.read().Lacks(l.whole, posText(at)) {
		l.t.Errorf("I1: %s:%d: the state file is at %s, and %s/%d is not in the log", site, hit, at, id.Pos, id.Ordinal)
	}
	if files, err := os.ReadDir(l.spill); strings.HasPrefix(site, "capture.postgres.spill") && len(files) == 0 {
		l.t.Errorf("%s:%d: no transaction is in a file: %v", site, hit, err)
	}
}

// remembered is the position in the state file, which is the old one or the
// new one, whole.
func (l *lived) remembered() lsn {
	l.t.Helper()
	b, err := os.ReadFile(l.state)
	if err != nil {
		l.t.Fatal(err)
	}
	var state struct{ Resume capture.Resume }
	if err := json.Unmarshal(b, &state); err != nil {
		l.t.Fatalf("the state file is neither the old nor the new one: %v", err)
	}
	return lsnOf(l.t, state.Resume)
}

// Fault matrix: our process stands still for longer than wal_sender_timeout,
// and goes on (I2, I3). The server gives it up meanwhile.
func TestI2_I3_StoppedBeyondTheSendersTimeout(t *testing.T) {
	t.Parallel()
	k := newKilling(t)
	k.undisturbed()
	l := k.begin()
	defer l.end()
	l.dsn += "&options=-c%20wal_sender_timeout%3D1s"
	l.pause = 5 * time.Millisecond
	began := l.remembered()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd, said := l.command(ctx)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "something that is remembered", func() bool { return l.remembered() > began })
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
	}
	signal(syscall.SIGSTOP)
	awaitFree(l.d, l.slot)
	signal(syscall.SIGCONT)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if !strings.Contains(said.String(), "stream broken") {
		t.Errorf("the stream was not broken:\n%s", said.String())
	}
	c := l.read()
	l.expect(c)
	for _, v := range c.Same(k.whole) {
		t.Error(v)
	}
}
