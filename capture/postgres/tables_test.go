package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/trueup-io/trueup/capture"
)

// partedEntity maps the partitioned table that partedTable makes.
const partedEntity = `
  - name: sale
    key: [id, day]
    legacy: {table: public.sales}
    target: {table: shop.sales}
    fields: {id: {type: integer}, day: {type: date}, v: {type: text}}
`

const partedTable = `create table sales (id int, day date, v text, primary key (id, day)) partition by range (day);
	create table sales_1 partition of sales for values from ('2026-01-01') to ('2026-02-01');
	create table sales_2 partition of sales for values from ('2026-02-01') to ('2026-03-01') partition by list (id);
	create table sales_2_1 partition of sales_2 for values in (1); create table sales_2_rest partition of sales_2 default;
	alter table sales replica identity full; alter table sales_1 replica identity full;
	alter table sales_2_1 replica identity full; alter table sales_2_rest replica identity full`

// "Partitioned tables by their root": rows of every level, a row that moves to
// another partition, TRUNCATE of the whole.
func TestPartitionsAreTheirRoot(t *testing.T) { partitionsAreTheirRoot(t, newDB(t)) }

func partitionsAreTheirRoot(t *testing.T, d *db) {
	d.exec(partedTable)
	r := first(t, d.config(partedEntity))
	d.exec(`insert into sales values (1, '2026-01-05', 'a'), (1, '2026-02-05', 'b'), (2, '2026-02-05', 'c')`)
	d.exec(`update sales set day = '2026-02-06' where v = 'a'`)
	d.exec(`update sales_2_rest set v = 'cc'`)
	// One that is created as a partition brings no rows along. Its columns may stand in another order elsewhere.
	d.exec(`create table sales_3 partition of sales for values from ('2026-03-01') to ('2026-04-01'); insert into sales values (3, '2026-03-05', 'd')`)
	d.exec(`truncate sales`)
	want(t, r.caughtUp(d),
		"0 insert [1 2026-01-05]: - -> id=1 day=2026-01-05 v=a",
		"1 insert [1 2026-02-05]: - -> id=1 day=2026-02-05 v=b",
		"2 insert [2 2026-02-05]: - -> id=2 day=2026-02-05 v=c",
		"0 delete [1 2026-01-05]: id=1 day=2026-01-05 v=a -> -",
		"1 insert [1 2026-02-06]: - -> id=1 day=2026-02-06 v=a",
		"0 update [2 2026-02-05]: id=2 day=2026-02-05 v=c -> id=2 day=2026-02-05 v=cc",
		"0 insert [3 2026-03-05]: - -> id=3 day=2026-03-05 v=d",
		"0 truncate []: - -> -")
	r.stop()
	if _, err := r.source.Open(t.Context(), r.sink.resumes[len(r.sink.resumes)-1], r.start.Identity); err != nil {
		t.Errorf("a partition that was created as one: %v", err)
	}
}

// saidLog keeps what was logged.
type saidLog struct {
	testLog
	mu   *sync.Mutex
	said *[]string
}

func (l saidLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	*l.said = append(*l.said, line)
	return nil
}

func (l saidLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// "Attach, detach: what happens must be said, never silently lost" (I7): a
// partition that may bring rows along is a gap, one that takes its rows away
// is said, and one that was away in between is a gap.
func TestI7_PartitionsComeAndGo(t *testing.T) {
	for name, c := range map[string]struct{ sql, gap, left string }{
		"attached": {`create table more (like sales); insert into more values (9, '2026-05-05', 'x');
			alter table more add primary key (id, day), replica identity full`,
			"partitions were attached to it: public.more;", ""},
		"detached": {`alter table sales detach partition sales_1`, "", "public.sales_1"},
		"dropped":  {`drop table sales_2`, "", "public.sales_2"},
		"detached and attached": {`alter table sales detach partition sales_1; insert into sales_1 values (8, '2026-01-08', 'y')`,
			"public.sales_1", ""},
		"created": {`create table sales_4 partition of sales for values from ('2026-04-01') to ('2026-05-01')`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t, partedTable)
			said := saidLog{testLog{t}, new(sync.Mutex), new([]string)}
			cfg := d.config(partedEntity)
			cfg.Logger = slog.New(said)
			s, start := openFirst(t, cfg)
			d.exec(c.sql)
			switch name {
			case "attached":
				d.exec(`alter table sales attach partition more for values from ('2026-05-01') to ('2026-06-01')`)
			case "detached and attached":
				d.exec(`alter table sales attach partition sales_1 for values from ('2026-01-01') to ('2026-02-01')`)
			}
			again, err := s.Open(t.Context(), start.Resume, start.Identity)
			if err != nil || (len(again.Found) == 1) != (c.gap != "") || c.gap != "" && !strings.Contains(again.Found[0].Reason, c.gap) {
				t.Errorf("at a start: %+v, %v, want %q", again.Found, err, c.gap)
			}
			// While the stream runs the tables are looked at from time to time.
			id, _, err := parseStart(start)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := s.cfg.connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer hangUp(conn)
			running := &sampler{source: s, bounds: new(bounds), lost: make(chan map[string]*problem, 1), log: id}
			for range 2 {
				_, err := running.inspect(t.Context(), conn)
				var lost map[string]*problem
				select {
				case lost = <-running.lost:
				default:
				}
				if err != nil || (len(lost) == 1) != (c.gap != "") {
					t.Errorf("while running: %v, %v, want %q", lost, err, c.gap)
				}
			}
			if c.gap == "" {
				if _, err = s.Open(t.Context(), again.Resume, again.Identity); err != nil {
					t.Error(err)
				}
			}
			// Once at the start that found it, once while running, never again.
			var left int
			for _, line := range *said.said {
				if strings.Contains(line, "detached or dropped") && strings.Contains(line, "table=public.sales partitions="+c.left) {
					left++
				}
			}
			if want := map[bool]int{true: 2, false: 0}[c.left != ""]; left != want {
				t.Errorf("said %d times that partitions are gone, want %d: %q", left, want, *said.said)
			}
		})
	}
}

// TRUNCATE is one change for each mapped table that it empties, those that
// CASCADE reaches included.
func TestTruncateOfSeveralTables(t *testing.T) {
	d := newDB(t, createOrders, `create table lines (id int primary key references orders, v text); create table elsewhere (id int primary key references orders)`,
		`alter table lines replica identity full`)
	r := first(t, d.config(orderEntity+`
  - name: line
    key: [id]
    legacy: {table: public.lines}
    target: {table: shop.lines}
    fields: {id: {type: integer}, v: {type: text}}
`))
	d.exec(`insert into orders values (1); insert into lines values (1, 'x')`)
	d.exec(`truncate orders restart identity cascade`)
	d.exec(`truncate lines`)
	d.exec(`begin; truncate lines; rollback`)
	var got []string
	for _, c := range r.caughtUp(d)[2:] {
		got = append(got, fmt.Sprintf("%s %s", c.Op, c.Entity))
	}
	// The server names the tables of one TRUNCATE in the order in which it reached them.
	if fmt.Sprint(got) != "[truncate order truncate line truncate line]" {
		t.Error(got)
	}
}

// Bad input 16 and its like: what the log does not carry is refused at the
// first start and by check, with what to do.
func TestBadInput16_TablesThatTheLogDoesNotCarry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setup, says, remedy string
		fields              string // of the entity, instead of id and v
	}{
		"identity nothing": {`create table t (id int primary key, v text); alter table t replica identity nothing`, "REPLICA IDENTITY NOTHING", `ALTER TABLE "public"."t" REPLICA IDENTITY FULL`, ""},
		"no key":           {`create table t (id int, v text)`, "no replica identity", `ALTER TABLE "public"."t" REPLICA IDENTITY FULL`, ""},
		"key of another index": {`create table t (id int primary key, v text not null unique); alter table t replica identity using index t_v_key`,
			"key column id is not part of the replica identity", `ALTER TABLE "public"."t" REPLICA IDENTITY FULL`, ""},
		"index without uniqueness of the key": {`create table t (id int, v text); alter table t replica identity full`, "nothing keeps two rows", `ADD PRIMARY KEY ("id")`, ""},
		"unlogged":                            {`create unlogged table t (id int primary key, v text)`, "unlogged", `ALTER TABLE "public"."t" SET LOGGED`, ""},
		"unlogged partition": {`create table t (id int primary key, v text) partition by range (id); create unlogged table t1 partition of t default`,
			"partitions are unlogged: their changes are not in the log: public.t1", "ALTER TABLE public.t1 SET LOGGED", ""},
		"inheritance": {`create table t (id int primary key, v text); create table child () inherits (t)`, "other tables inherit from it: public.child",
			`ALTER TABLE public.child NO INHERIT "public"."t"`, ""},
		"materialized view":       {`create table x (id int, v text); create materialized view t as select * from x`, "it is not a table", "map the table behind it", ""},
		"generated column":        {`create table t (id int primary key, a text, v text generated always as (a || '!') stored); alter table t replica identity full`, "column v is generated", "map the columns that it is made of", ""},
		"generated, expression":   {`create table t (id int primary key, a text, v text generated always as (a || '!') stored); alter table t replica identity full`, "field w of entity t: column v is generated", "map the columns that it is made of", `id: {type: integer}, w: {type: text, legacy: {expr: "a + v"}, target: w}`},
		"column gone, expression": {`create table t (id int primary key, a text)`, "field w of entity t: there is no column v", "correct the mapping", `id: {type: integer}, w: {type: text, legacy: {expr: "a + v"}, target: w}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t, c.setup)
			fields := c.fields
			if fields == "" {
				fields = "id: {type: integer}, v: {type: text}"
			}
			cfg := d.config(fmt.Sprintf(`
  - name: t
    key: [id]
    legacy: {table: public.t}
    target: {table: shop.t}
    fields: {%s}
`, fields))
			_, err := New(cfg).Open(t.Context(), "", "")
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.remedy) {
				t.Errorf("Open: %v; want %q and %q", err, c.says, c.remedy)
			}
			found := false
			for _, f := range Check(t.Context(), cfg) {
				found = found || f.Severity == capture.Fail && strings.Contains(f.Detail, c.says) && strings.Contains(f.Remedy, c.remedy)
			}
			if !found {
				t.Errorf("check says nothing of %q", c.says)
			}
			if n := get[int](d, "select (select count(*) from pg_publication) + (select count(*) from pg_replication_slots where slot_name = $1)", cfg.Slot); n != 0 {
				t.Error("something was created")
			}
		})
	}
}

// A generated column that nothing compares keeps nobody from starting: it is
// not there in the row, never NULL.
func TestI9_GeneratedColumnIsAbsent(t *testing.T) {
	d := newDB(t, `create table orders (id bigint generated always as identity primary key, status text, gone int, amount numeric(12,2),
		note text, twice text generated always as (note || note) stored); alter table orders replica identity full`)
	d.exec(`alter table orders drop gone`)
	r := first(t, d.config(orderEntity+"      twice:  {type: text, ignore: true}\n"))
	d.exec(`insert into orders (status, amount, note) values ('new', 1, 'n')`)
	d.exec(`alter table orders drop amount; alter table orders add amount numeric(12,2) default 2`)
	d.exec(`update orders set status = 'paid'`)
	want(t, r.caughtUp(d), "0 insert [1]: - -> id=1 status=new amount=1.00 note=n",
		"0 update [1]: id=1 status=new note=n amount=2.00 -> id=1 status=paid note=n amount=2.00")
}

// The widest table that there is, and the longest names; a long value whose
// place in the row is the last.
func TestWidestTable(t *testing.T) {
	name := strings.Repeat("tä", 21) // 63 bytes
	var columns, fields strings.Builder
	for i := 1; i < 1599; i++ {
		fmt.Fprintf(&columns, ", c%04d int default %d", i, i)
		if i%100 == 0 {
			fmt.Fprintf(&fields, ", c%04d: {type: integer}", i)
		}
	}
	d := newDB(t, fmt.Sprintf(`create table "%[1]s" (id int primary key%[2]s, "last ""one""" text); alter table "%[1]s" replica identity full;
		alter table "%[1]s" alter "last ""one""" set storage external`, name, columns.String()))
	r := first(t, d.config(fmt.Sprintf(`
  - name: wide
    key: [id]
    legacy: {table: '"public"."%s"'}
    target: {table: shop.wide}
    fields: {id: {type: integer}, last: {type: text, legacy: '"last ""one"""', target: last}%s}
`, name, fields.String())))
	long := strings.Repeat("x", 5000)
	d.exec(fmt.Sprintf(`insert into "%s" values (1); update "%[1]s" set "last ""one""" = '%[2]s'; update "%[1]s" set c0001 = null`, name, long))
	got := r.caughtUp(d)
	if len(got) != 3 {
		t.Fatalf("%d changes", len(got))
	}
	for i, c := range got {
		last, ok := c.After.Get(`last "one"`)
		if len(c.After) != 1600 || !ok || (last.Text == long) != (i > 0) || c.Mapping == "" {
			t.Errorf("change %d: %d columns, the last one %s", i, len(c.After), short(last.Text))
		}
		if v, _ := c.After.Get("c1500"); v.Text != "1500" {
			t.Errorf("change %d: c1500 is %q", i, v.Text)
		}
	}
}

// A database in another encoding: texts and names come in UTF-8.
func TestNamesAndTextsOfALatin1Database(t *testing.T) {
	d := newDB(t)
	name := get[string](d, "select current_database()") + "_latin1"
	d.exec("create database " + name + " encoding 'LATIN1' locale 'C' template template0")
	t.Cleanup(func() {
		if _, err := d.conn.Exec(context.Background(), "drop database "+name+" with (force)"); err != nil {
			t.Error(err)
		}
	})
	in := openDB(t, strings.Replace(d.dsn, get[string](d, "select current_database()"), name, 1),
		`set client_encoding = 'UTF8'`, `create table "Bücher" (id int primary key, "Größe" text); alter table "Bücher" replica identity full`)
	cfg := in.config(`
  - name: book
    key: [id]
    legacy: {table: '"public"."Bücher"'}
    target: {table: shop.books}
    fields: {id: {type: integer}, size: {type: text, legacy: '"Größe"', target: size}}
`)
	cfg.Publication = "für_bücher"
	r := first(t, cfg)
	in.exec(`insert into "Bücher" values (1, 'groß')`)
	want(t, r.caughtUp(in), "0 insert [1]: - -> id=1 Größe=groß")
	r.stop()
	awaitFree(in, cfg.Slot)
	in.exec("select pg_drop_replication_slot('" + cfg.Slot + "')")
}
