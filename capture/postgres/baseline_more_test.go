package postgres

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/internal/typematrix"
	"github.com/trueup-io/trueup/schemas"
)

const thingEntity = `
  - name: thing
    key: [id]
    legacy: {table: public.things}
    target: {table: shop.things}
    fields: {id: {type: integer}, v: {type: text}, n: {type: decimal, scale: 2}}
`

// "snapshot chunk read, before high watermark: chunk redone": capture and
// baseline end in the middle of chunks again and again, with what they knew
// remembered or not, while others write. Nothing is lost, no two rows read have
// one id (I3), and the covered ranges reach the end.
func TestI10_KilledWithinChunksNothingIsLost(t *testing.T) {
	d := newDB(t, `create table things (id bigint primary key, v text, n numeric); alter table things replica identity full;
		insert into things select n - 200, 'old ' || n, n from generate_series(0, 1499) n`)
	cfg := d.config(thingEntity)
	_, at := openFirst(t, cfg)
	sink := newCopyOf(cfg.Rules)
	state := filepath.Join(t.TempDir(), "state.json")
	rng := rand.New(rand.NewPCG(1, 3))
	stop := write(t, d, keyKinds[0], 1500)
	kills := 0
	for {
		ended, left := make(chan struct{}), 1+rng.IntN(400)
		end := sync.OnceFunc(func() { close(ended) })
		sink.mu.Lock()
		sink.forget = rng.IntN(2) == 0
		sink.onChange = func(c *schemas.Change) { // by the delivering goroutine
			if c.Op == schemas.OpRead {
				if left--; left == 0 {
					end()
				}
			}
		}
		sink.onCovered = func(c *schemas.Covered) {
			if c.To == nil && sink.forget { // the end, of which nothing will be known
				end()
			}
		}
		if sink.resume != "" {
			at.Resume = sink.resume
		}
		sink.waiting = nil
		sink.mu.Unlock()
		b := startBased(t, cfg, at, state, sink, func(c *baseline.Config) { c.ChunkRows = 60 })
		b.rows.Want([]string{"thing"})
		done := make(chan struct{})
		go func() {
			defer close(done)
			sink.await(t, "covered or killed", func() bool {
				select {
				case <-ended:
					return true
				default:
					return b.rows.Idle()
				}
			})
		}()
		<-done
		if b.rows.Status()[0].Covered {
			stop()
			if n := b.same(d, "thing"); n == 0 {
				t.Error("no rows are left")
			}
			break
		}
		kills++
		b.stop()
	}
	t.Logf("%d kills, %d rows read", kills, sink.reads)
	if kills < 5 {
		t.Errorf("only %d kills", kills)
	}
	if last := sink.covered[len(sink.covered)-1]; last.To != nil {
		t.Errorf("covered up to %v", last.To)
	}
}

// "Snapshot and stream give the same text": every type at its edges.
func TestI10_EveryTypeIsReadAsSelectPrintsIt(t *testing.T) {
	d := newDB(t, "create schema if not exists shop")
	name := get[string](d, "select current_database()")
	for setting, value := range map[string]string{"DateStyle": "'German, DMY'", "IntervalStyle": "'sql_standard'", "TimeZone": "'Asia/Kathmandu'",
		"extra_float_digits": "0", "bytea_output": "'escape'"} {
		d.exec(fmt.Sprintf("alter database %s set %s = %s", identifier(name), setting, value))
	}
	types := typematrix.Of(get[int](d, "select current_setting('server_version_num')::int / 10000"), nil)
	var entities strings.Builder
	for i := range types {
		d.setup(types[i].Setup...)
		d.exec(types[i].Create() + "; alter table " + types[i].Table() + " replica identity full")
		d.exec(types[i].Insert())
		entities.WriteString(types[i].Entity())
	}
	cfg := d.config(entities.String())
	_, start := openFirst(t, cfg)
	b := startBased(t, cfg, start, filepath.Join(t.TempDir(), "state.json"), newCopyOf(cfg.Rules), nil)
	b.read()
	rows := 0
	for i := range types {
		rows += b.same(d, types[i].Table())
	}
	t.Logf("%d types, %d rows", len(types), rows)
}

// Memory is bounded by bytes: a chunk whose rows are larger than those before
// ends early, and the rest of it is read as another.
func TestChunksOfLargeRowsAreCut(t *testing.T) {
	d := newDB(t, `create table things (id bigint primary key, v text, n numeric); alter table things replica identity full;
		insert into things select n, 'small', n from generate_series(1, 1200) n;
		insert into things select n, repeat('large', 2000), n from generate_series(1201, 1400) n`)
	cfg := d.config(thingEntity)
	_, start := openFirst(t, cfg)
	sink := newCopyOf(cfg.Rules)
	b := startBased(t, cfg, start, filepath.Join(t.TempDir(), "state.json"), sink, func(c *baseline.Config) { c.ChunkRows, c.ChunkBytes = 500, 50_000 })
	b.read()
	if n := b.same(d, "thing"); n != 1400 {
		t.Errorf("%d rows", n)
	}
	// Ranges join, from the first key to the last.
	last := ""
	for i, c := range sink.covered {
		switch {
		case i == 0 && c.From != nil, i > 0 && c.From[0] != last:
			t.Errorf("range %d begins at %v, the one before ended at %s", i, c.From, last)
		case i == len(sink.covered)-1 && c.To != nil:
			t.Errorf("the last range ends at %v", c.To)
		case c.To != nil:
			last = c.To[0]
		}
	}
	if len(sink.covered) < 10 {
		t.Errorf("%d ranges", len(sink.covered))
	}
}

// A chunk within which the table is truncated is read again.
func TestI10_TruncatedWhileItIsRead(t *testing.T) {
	d := newDB(t, `create table things (id bigint primary key, v text, n numeric); alter table things replica identity full;
		insert into things select n, 'old', n from generate_series(1, 2000) n`)
	cfg := d.config(thingEntity)
	_, start := openFirst(t, cfg)
	sink := newCopyOf(cfg.Rules)
	truncate, truncated, other := make(chan struct{}), make(chan struct{}), d.connect()
	once := false
	sink.onChange = func(c *schemas.Change) {
		if c.Op == schemas.OpRead && !once {
			once = true
			close(truncate)
		}
	}
	go func() {
		defer close(truncated)
		<-truncate
		other.Exec(t.Context(), "truncate things")
		other.Exec(t.Context(), "insert into things values (5, 'new', 1), (1999, 'new', 2)")
	}()
	b := startBased(t, cfg, start, filepath.Join(t.TempDir(), "state.json"), sink, func(c *baseline.Config) { c.ChunkRows, c.RowsPerSecond = 50, 4000 })
	b.read()
	<-truncated
	if n := b.same(d, "thing"); n != 2 {
		t.Errorf("%d rows", n)
	}
}

// A table that cannot be read says so and what to do; the others are read.
func TestATableThatCannotBeReadStopsAlone(t *testing.T) {
	d := newDB(t, `create table things (id bigint primary key, v text, n numeric); alter table things replica identity full;
		insert into things values (1, 'a', 1);
		create table loose (id bigint unique, v text); alter table loose replica identity full; insert into loose values (1, 'a')`)
	cfg := d.config(thingEntity + `
  - name: loose
    key: [id]
    legacy: {table: public.loose}
    target: {table: shop.loose}
    fields: {id: {type: integer}, v: {type: text}}
`)
	_, start := openFirst(t, cfg)
	b := startBased(t, cfg, start, filepath.Join(t.TempDir(), "state.json"), newCopyOf(cfg.Rules), nil)
	b.rows.Want([]string{"thing", "loose"})
	b.sink.await(t, "idle", b.rows.Idle)
	status := b.rows.Status()
	if !status[0].Covered || status[0].Problem != "" {
		t.Errorf("thing: %+v", status[0])
	}
	if status[1].Covered || !strings.Contains(status[1].Problem, "NOT NULL") {
		t.Errorf("loose: %+v", status[1])
	}
	// Somebody does what it says, and asks again.
	d.exec("alter table loose alter id set not null")
	b.rows.Want(nil)
	b.read()
}

// What is read again is read from the beginning, beside writers, and once what was
// known of it is void; it goes on where it was stopped.
func TestRowsAreReadAgainFromTheBeginning(t *testing.T) {
	d := newDB(t, `create table things (id bigint primary key, v text, n numeric); alter table things replica identity full;
		insert into things select n, 'old', n from generate_series(1, 600) n`)
	cfg := d.config(thingEntity)
	_, start := openFirst(t, cfg)
	sink, state := newCopyOf(cfg.Rules), filepath.Join(t.TempDir(), "state.json")
	again := func(c *baseline.Config) { c.ChunkRows = 50 }
	b := startBased(t, cfg, start, state, sink, again)
	b.read()
	if len(sink.voids) != 0 || sink.reads != 600 {
		t.Fatalf("%d rows, void %v", sink.reads, sink.voids)
	}
	if err := b.rows.Again(t.Context(), []string{"thing"}); err != nil {
		t.Fatal(err)
	}
	if s := b.rows.Status()[0]; s.Covered || s.Rows != 0 || s.After != nil {
		t.Errorf("what is to be read anew is %+v", s)
	}
	d.exec("update things set v = 'new' where id % 3 = 0; delete from things where id > 590")
	b.read()
	if len(sink.voids) != 1 || sink.voids[0].Entity != "thing" || sink.voids[0].Side != schemas.Legacy || sink.voids[0].Pos == "" || sink.reads < 1100 {
		t.Errorf("%d rows, void %v", sink.reads, sink.voids)
	}
	if n := b.same(d, "thing"); n != 590 {
		t.Errorf("%d rows", n)
	}
	b.stop()

	from := func() capture.Start {
		if sink.resume != "" {
			start.Resume = sink.resume
		}
		sink.waiting = nil
		return start
	}
	// Asked for, and stopped before anything was read: it is not forgotten.
	b = startBased(t, cfg, from(), state, sink, again)
	if err := b.rows.Again(t.Context(), []string{"thing"}); err != nil {
		t.Fatal(err)
	}
	b.stop()
	reads := sink.reads
	b = startBased(t, cfg, from(), state, sink, again)
	b.read()
	if len(sink.voids) != 2 || sink.reads != reads+590 {
		t.Errorf("%d rows more, void %v", sink.reads-reads, sink.voids)
	}
	b.stop()
	b = startBased(t, cfg, from(), state, sink, again)
	b.read()
	if len(sink.voids) != 2 || sink.reads != reads+590 {
		t.Errorf("read once more: %d rows, void %v", sink.reads-reads, sink.voids)
	}
}

// A state of another epoch, table or mapping is void; one that is whole is not
// read again.
func TestI7_BaselineStateIsBoundToItsEpochAndTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	d := newDB(t, `create table things (id bigint primary key, v text, n numeric); alter table things replica identity full;
		insert into things select n, 'old', n from generate_series(1, 100) n`)
	cfg := d.config(thingEntity)
	_, start := openFirst(t, cfg)
	read := func(at capture.Start, tune func(*baseline.Config)) int {
		sink := newCopyOf(cfg.Rules)
		b := startBased(t, cfg, at, path, sink, tune)
		b.read()
		b.stop()
		return sink.reads
	}
	if n := read(start, nil); n != 100 {
		t.Errorf("first: %d rows", n)
	}
	if n := read(start, nil); n != 0 {
		t.Errorf("again: %d rows", n)
	}
	if n := read(start, func(c *baseline.Config) { c.Epoch = 2 }); n != 100 {
		t.Errorf("another epoch: %d rows", n)
	}
	cfg.Rules = rulesOf(t, strings.Replace(thingEntity, "scale: 2", "scale: 1", 1))
	if n := read(start, func(c *baseline.Config) { c.Epoch = 2 }); n != 100 {
		t.Errorf("another mapping: %d rows", n)
	}
}
