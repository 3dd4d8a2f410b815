package postgres

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/schemas"
)

// streamingConfig is a configuration under which the server streams every
// transaction of more than 64 kB.
func (d *db) streamingConfig(entities, suffix string) Config {
	cfg := d.config(entities)
	cfg.DSN = withSetting(d.t, cfg.DSN, "logical_decoding_work_mem", "64kB")
	cfg.Slot += suffix
	cfg.SpillDir = filepath.Join(d.t.TempDir(), "spill")
	return cfg
}

func withSetting(t testing.TB, dsn, name, value string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// session is a connection that runs several statements at once.
type session struct {
	t    testing.TB
	conn *pgx.Conn
}

func (s session) do(sql ...string) {
	s.t.Helper()
	for _, q := range sql {
		if _, err := s.conn.PgConn().Exec(s.t.Context(), q).ReadAll(); err != nil {
			s.t.Fatalf("%s: %v", q, err)
		}
	}
}

// wide inserts some 100 kB of rows with ids from a number on.
func wide(from int) string {
	return fmt.Sprintf("insert into orders select i, repeat('w', 500), i, 'n' from generate_series(%d, %d) i", from, from+199)
}

const sayTag = `select pg_logical_emit_message(true, 'trueup', '{"write_id":"%s"}')`

// largeTransactions are transactions of every shape, several open at once.
func largeTransactions(d *db) {
	one, two, three := session{d.t, d.connect()}, session{d.t, d.connect()}, session{d.t, d.connect()}
	// Interleaved, one of them taken back, with small ones between.
	one.do("begin", wide(1000), fmt.Sprintf(sayTag, "one"))
	two.do("begin", wide(2000))
	three.do("begin", wide(3000))
	d.exec("insert into orders values (1, 'small')")
	one.do(wide(1200))
	two.do(wide(2200))
	three.do(wide(3200))
	d.exec("update orders set status = 'smaller' where id = 1")
	three.do("rollback")
	two.do("commit")
	one.do(wide(1400), "commit")
	// A tag before, in the middle, and at the end; other rows between them.
	for i, at := range []int{0, 1, 2} {
		one.do("begin")
		for part := range 3 {
			if part == at {
				one.do(fmt.Sprintf(sayTag, fmt.Sprint("tag-", i)))
			}
			one.do(wide(10_000 + i*1000 + part*200))
		}
		one.do("commit")
	}
	// Savepoints, taken back and released, within one another.
	one.do("begin", wide(20_000), "savepoint a", wide(20_200), "savepoint b", wide(20_400), "rollback to b", wide(20_600), "release b",
		wide(20_800), "rollback to a", wide(21_000), "release a", "savepoint c", wide(21_200), "savepoint d", wide(21_400), "release d", "release c",
		"savepoint e", "update elsewhere set id = id", wide(21_600), "rollback to e", "commit")
	// The first rows of all are of a subtransaction that is taken back.
	two.do("begin", "savepoint a", wide(30_000), "rollback to a", wide(30_200), "savepoint a", "savepoint b", wide(30_400), "release b", "rollback to a", "commit")
	// Blocks with exceptions: a subtransaction for each, every third taken back.
	three.do(`do $$ begin for i in 1..300 loop
		begin insert into orders values (40000 + i, repeat('e', 1000)); if i % 3 = 0 then raise exception 'no'; end if;
		exception when others then null; end; end loop; end $$`)
	// The table changes within, before and after a subtransaction that is taken back.
	one.do("begin", wide(50_000), "alter table orders add more text default 'm'", wide(50_200), "savepoint a", "alter table orders drop more, add other int default 7",
		wide(50_400), "rollback to a", wide(50_600), "savepoint b", "alter table orders add third int", wide(50_800), "release b", wide(51_000), "commit")
	d.exec("insert into orders values (2, 'after', 1, 'n', 'x', 3)")
	one.do("begin", wide(52_000), "savepoint a", "alter table orders drop third", wide(52_200), "rollback to a", "commit")
	d.exec("insert into orders values (3, 'after', 1, 'n', 'x', 3)")
	// Rows that move, go and come; and the whole table.
	one.do("begin", wide(60_000), "update orders set id = id + 5000 where id between 60000 and 60050", "savepoint a", "update orders set status = 'gone'",
		"delete from orders where id < 50000", "rollback to a", "delete from orders where id between 60100 and 60150", "truncate elsewhere, orders", wide(61_000), "commit")
	one.do("begin", "savepoint a", "truncate orders", wide(62_000), "rollback to a", wide(62_400), fmt.Sprintf(sayTag, "last"), "commit")
	two.do("begin", wide(70_000), "rollback", "begin", wide(71_000), "commit")
}

// I3: "same change ⇒ same EventID after any restart", and the same change: a
// log reads the same whether large transactions are streamed or not, except
// for the times in which a commit is known to lie, which depend on when it is
// read. I6: "no event of an uncommitted/aborted txn is published".
func TestI3_StreamedOrNotIsTheSame(t *testing.T) {
	t.Parallel()
	streamedOrNotIsTheSame(t, newDB(t))
}

func streamedOrNotIsTheSame(t *testing.T, d *db) {
	d.setup(createOrders, "create table elsewhere (id int primary key)", "insert into elsewhere select generate_series(1, 3000)",
		"create publication trueup for table orders, elsewhere")
	whole := d.streamingConfig(orderEntity, "_whole")
	whole.Streaming = StreamingOff
	inParts := d.streamingConfig(orderEntity, "_parts")
	onDisk := d.streamingConfig(orderEntity, "_disk")
	onDisk.SpillBytes = 1000
	var sources []*Source
	var sinks []*sink
	live := first(t, d.streamingConfig(orderEntity, "_live")) // reads while it is written
	var starts []func()
	for _, cfg := range []Config{whole, inParts, onDisk} {
		s, start := openFirst(t, cfg)
		sources, sinks = append(sources, s), append(sinks, newSink())
		n := len(sinks) - 1
		starts = append(starts, func() { capturing(t, s, start, sinks[n]) })
	}
	largeTransactions(d)
	for _, start := range starts {
		start()
	}
	sources, sinks = append(sources, live.source), append(sinks, live.sink)
	var wanted [][]byte
	for i, s := range sinks {
		s.reached(t, d.flushed())
		var got [][]byte
		var lines []string
		s.mu.Lock()
		for _, c := range s.fresh {
			c.CommitTS, c.CommitTSMin = 0, 0
			got = append(got, schemas.AppendRecord(nil, &schemas.Record{Change: &c}))
			lines = append(lines, fmt.Sprintf("%s %.60s %s %d", c.Pos, said(c), c.Tag.WriteID, c.TxnRows))
		}
		s.mu.Unlock()
		stats := sources[i].Stats()
		t.Logf("%s: %+v, %d changes", sources[i].cfg.Slot, stats, len(got))
		if i == 0 {
			wanted = got
			if stats.Streamed != 0 || len(got) < 5000 {
				t.Fatalf("%d streamed, %d changes", stats.Streamed, len(got))
			}
			continue
		}
		if stats.Streamed < 10 || // which ones is the server's choice
			(stats.Spilled > 0) != (i == 2) {
			t.Errorf("%d streamed, %d bytes spilled", stats.Streamed, stats.Spilled)
		}
		if diff := cmp.Diff(len(wanted), len(got)); diff != "" {
			t.Errorf("number of changes (-whole +in parts):\n%s", diff)
		}
		for n := range min(len(wanted), len(got)) {
			if string(wanted[n]) != string(got[n]) {
				t.Fatalf("change %d differs: %s", n, lines[n])
			}
		}
		if dir := sources[i].cfg.SpillDir; dir != "" {
			noFiles(t, dir)
		}
	}
}

// Decision 9: a tag stands or falls with its subtransaction. The server does
// not say of which one it is while it streams: where that matters, the log is
// read again.
func TestTagOfASubtransactionThatIsTakenBack(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	r := first(t, d.streamingConfig(orderEntity, ""))
	s := session{t, d.connect()}
	s.do("begin", wide(1000), "savepoint a", fmt.Sprintf(sayTag, "gone"), wide(2000), "rollback to a", wide(3000), "commit")
	s.do("begin", "savepoint a", fmt.Sprintf(sayTag, "kept"), wide(4000), "release a", wide(5000), "commit")
	s.do("begin", wide(6000), "savepoint a", wide(7000), fmt.Sprintf(sayTag, "gone"), wide(8000), "rollback to a", "commit")
	tags := map[string]int{}
	for _, c := range r.caughtUp(d) {
		tags[c.Tag.WriteID]++
		if c.TxnRows != 400 && c.TxnRows != 200 {
			t.Fatalf("%s: of %d rows", said(c), c.TxnRows)
		}
	}
	if diff := cmp.Diff(map[string]int{"": 600, "kept": 400}, tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if n := r.source.Stats().Connections; n != 2 {
		t.Errorf("%d connections", n)
	}
}

// What was held is gone with its connection and comes again: a killed
// connection in the middle of a transaction, and a stop and start with files
// left as a kill leaves them.
func TestI3_SpilledTransactionSurvivesConnections(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	cfg := d.streamingConfig(orderEntity, "")
	cfg.SpillBytes = 1000
	s, start := openFirst(t, cfg)
	r := capturing(t, s, start, newSink())
	open := session{t, d.connect()}
	open.do("begin", wide(1000), fmt.Sprintf(sayTag, "w"), wide(2000))
	spilled := func(dir string) func() bool {
		return func() bool {
			files, err := os.ReadDir(dir)
			return err == nil && len(files) > 0
		}
	}
	until(t, "a spilled transaction", spilled(cfg.SpillDir))
	d.exec("insert into orders values (1, 'small')")
	want(t, r.caughtUp(d), "0 insert [1]: - -> id=1 status=small amount=NULL note=NULL")
	d.exec("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1", cfg.Slot)
	until(t, "another connection", func() bool { return s.Stats().Connections == 2 })
	// What stands before the position asked for the server streams only together with something after it.
	open.do(wide(4000))
	until(t, "the transaction again", spilled(cfg.SpillDir))
	r.stop()
	noFiles(t, cfg.SpillDir)
	if err := os.WriteFile(filepath.Join(cfg.SpillDir, "77.spill"), []byte("half a rec"), 0o600); err != nil {
		t.Fatal(err)
	}
	resume, _ := r.sink.ack()
	start.Resume = resume
	r = capturing(t, s, start, newSink())
	open.do(wide(3000), "commit")
	got := r.caughtUp(d)
	if len(got) != 800 {
		t.Fatalf("%d changes", len(got))
	}
	for i, c := range got {
		if c.Ordinal != uint32(i) || c.TxnRows != 800 || c.Tag.WriteID != "w" {
			t.Fatalf("%s: tag %q, of %d rows", said(c), c.Tag.WriteID, c.TxnRows)
		}
	}
	r.stop()
	noFiles(t, cfg.SpillDir)
}

// A directory that cannot be written to ends the run, with its name.
func TestSpillDirectoryThatIsNone(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	cfg := d.config(orderEntity)
	cfg.SpillDir = filepath.Join(os.DevNull, "spill")
	if err := first(t, cfg).failed(); !strings.Contains(err.Error(), cfg.SpillDir) || !strings.Contains(err.Error(), "make room") {
		t.Error(err)
	}
}
