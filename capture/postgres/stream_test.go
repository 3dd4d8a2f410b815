package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/schemas"
)

const createOrders = `create table orders (id bigint primary key, status text, amount numeric(12,2), note text); alter table orders replica identity full`

// Decision 7: "values travel as the server's canonical text", whatever the
// database's own settings are.
func TestValuesEqualTheServersText(t *testing.T) { valuesEqualTheServersText(t, newDB(t)) }

func valuesEqualTheServersText(t *testing.T, d *db) {
	d.setup(`create type mood as enum ('sad', 'très heureux')`,
		`create table kinds (id int primary key, i2 smallint, i8 bigint, num numeric, f4 real, f8 double precision, b boolean,
			txt text, vc varchar(20), ch char(8), raw bytea, day date, tim time(6), ts timestamp, tz timestamptz, span interval,
			u uuid, j json, jb jsonb, arr int[], m mood, ip inet, cost money, rng tsrange, cls regclass); alter table kinds replica identity full`)
	name := get[string](d, "select current_database()")
	for setting, value := range map[string]string{"DateStyle": "'German, DMY'", "IntervalStyle": "'sql_standard'", "TimeZone": "'Asia/Kathmandu'",
		"extra_float_digits": "0", "bytea_output": "'escape'"} {
		d.exec(fmt.Sprintf("alter database %s set %s = %s", name, setting, value))
	}
	r := first(t, d.config(`
  - name: kind
    key: [id]
    legacy: {table: public.kinds}
    target: {table: shop.kinds}
    fields: {id: {type: integer}, txt: {type: text}}
`))
	d.exec(`insert into kinds values
		(1, -32768, 9223372036854775807, '12345678901234567890.123456789', 0.1, 0.1::float8 + 0.2, true, E'line\nbreak "quoted" ''x'' \\ \u00e9 😀', 'vc', 'ab',
			'\x00ff5c27', '2026-11-23', '23:59:59.999999', '2026-11-23 10:00:00.000001', '2026-11-23 10:00:00+05:45', '1 year 2 mons -3 days 04:05:06.789',
			'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"b": 1.10,  "a": [1,2]}', '{"b": 1.10, "a": 12345678901234567890}', '[0:1]={1,NULL}', 'très heureux',
			'10.1.2.3/8', '1234.5', '[2026-01-01,infinity)', 'kinds'),
		(2, 0, 0, 'NaN', '-Infinity', 'NaN', false, '', '', '', '', 'infinity', '24:00:00', '-infinity', 'infinity', '-0.000001 sec', null, 'null', 'null', '{}', null, '::1', '-0.01', 'empty', null),
		(3, null, null, '-Infinity', 1e-45, 1.7976931348623157e308, null, null, null, null, null, '4713-01-01 BC', '00:00', '294276-12-31 23:59:59.999999', '4713-01-01 00:00:00 BC', '-178000000 years', null, null, null, null, null, null, null, null, null),
		(4, null, null, 0.000, '-0', '-0', null, E'\x7f\x01', null, null, null, '0044-03-15 BC', null, null, null, null, null, null, null, '{{1,2},{3,NULL}}', null, null, null, null, null)`)
	got := r.caughtUp(d)
	if len(got) != 4 {
		t.Fatalf("%d changes", len(got))
	}
	// The same rows as the server prints them on a connection of ours.
	conn, err := r.source.cfg.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(conn)
	results, err := conn.Exec(t.Context(), "select * from public.kinds order by id").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range results[0].Rows {
		row := got[i].After
		if len(row) != len(want) {
			t.Fatalf("%d columns of %d", len(row), len(want))
		}
		for c, field := range results[0].FieldDescriptions {
			expect := schemas.Column{Name: field.Name, Text: string(want[c])}
			if want[c] == nil {
				expect.Presence = schemas.Null
			}
			if row[c] != expect {
				t.Errorf("row %d: %+v, the server prints %+v", i+1, row[c], expect)
			}
		}
	}
}

// Names need quotes, are not ASCII, and hold what would end a string.
func TestNamesOfEveryKind(t *testing.T) {
	d := newDB(t, `create schema "Büro ""7"""; create table "Büro ""7"""."Bestel'lung" ("Größe;" int primary key, "select" text, "表" text)`,
		`alter table "Büro ""7"""."Bestel'lung" replica identity full`)
	cfg := d.config(`
  - name: order
    key: [id]
    legacy: {table: '"Büro ""7"""."Bestel''lung"'}
    target: {table: shop.orders}
    fields: {id: {type: integer, legacy: '"Größe;"', target: id}, s: {type: text, legacy: select, target: s}, 表: {type: text}}
`)
	cfg.Publication = `pub "li'c` // and a quote
	r := first(t, cfg)
	d.exec(`insert into "Büro ""7"""."Bestel'lung" values (1, 'x', '文')`)
	d.exec(`update "Büro ""7"""."Bestel'lung" set "Größe;" = 2`)
	want(t, r.caughtUp(d), `0 insert [1]: - -> Größe;=1 select=x 表=文`,
		`0 delete [1]: Größe;=1 select=x 表=文 -> -`, `1 insert [2]: - -> Größe;=2 select=x 表=文`)
}

// I6: "no event of an uncommitted/aborted txn is published".
func TestI6_CommittedOnly(t *testing.T) {
	d := newDB(t, createOrders)
	r := first(t, d.config(orderEntity))
	// More than logical_decoding_work_mem, so that it would be streamed if that were on.
	d.exec(`begin; insert into orders select i, repeat('x', 200) from generate_series(1, 50000) i`)
	d.exec(`rollback`)
	d.exec(`begin; insert into orders values (1); savepoint a; insert into orders values (2); savepoint b; insert into orders values (3);
		rollback to b; insert into orders values (4); rollback to a; insert into orders values (5); commit`)
	d.exec(`do $$ begin
		insert into orders values (6);
		begin insert into orders values (7); raise exception 'no'; exception when others then null; end;
	end $$`)
	want(t, r.caughtUp(d), "0 insert [1]: - -> id=1 status=NULL amount=NULL note=NULL",
		"1 insert [5]: - -> id=5 status=NULL amount=NULL note=NULL", "0 insert [6]: - -> id=6 status=NULL amount=NULL note=NULL")
}

// What a table does besides inserting.
func TestEveryKindOfChange(t *testing.T) { everyKindOfChange(t, newDB(t)) }

func everyKindOfChange(t *testing.T, d *db) {
	d.setup(createOrders, `create table plain (like orders including all)`, `alter table orders alter note set storage external`,
		`alter table plain alter note set storage external`)
	r := first(t, d.config(orderEntity+`
  - name: plain
    key: [id]
    legacy: {table: public.plain}
    target: {table: shop.plain}
    fields: {id: {type: integer}, status: {type: text}, note: {type: text}}
`))
	long := strings.Repeat("long", 1000)
	for _, table := range []string{"orders", "plain"} {
		d.exec(fmt.Sprintf(`insert into %s values (1, 'new', 1.5, $1)`, table), long)
		d.exec(fmt.Sprintf(`update %s set status = 'paid'`, table))
		d.exec(fmt.Sprintf(`update %s set id = 2`, table))
		d.exec(fmt.Sprintf(`delete from %s`, table))
	}
	d.exec(`begin; insert into orders values (3), (4); truncate orders, plain; insert into orders values (5); commit`)
	got := sayAll(r.caughtUp(d))
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], long, "LONG")
	}
	wanted := []string{
		"0 insert [1]: - -> id=1 status=new amount=1.50 note=LONG",
		"0 update [1]: id=1 status=new amount=1.50 note=LONG -> id=1 status=paid amount=1.50 note=LONG",
		"0 delete [1]: id=1 status=paid amount=1.50 note=LONG -> -",
		"1 insert [2]: - -> id=2 status=paid amount=1.50 note=LONG",
		"0 delete [2]: id=2 status=paid amount=1.50 note=LONG -> -",
		// With a key as replica identity the log has less.
		"0 insert [1]: - -> id=1 status=new amount=1.50 note=LONG",
		"0 update [1]: - -> id=1 status=paid amount=1.50 note?",
		"0 delete [1]: id=1 -> -",
		"1 insert [2]: - -> id=2 status=paid amount=1.50 note?",
		"0 delete [2]: id=2 -> -",
		"0 insert [3]: - -> id=3 status=NULL amount=NULL note=NULL",
		"1 insert [4]: - -> id=4 status=NULL amount=NULL note=NULL",
		"2 truncate []: - -> -",
		"3 truncate []: - -> -",
		"4 insert [5]: - -> id=5 status=NULL amount=NULL note=NULL",
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// Decision 9, on a server: a tag before, after and between rows, and in no
// transaction of its own.
func TestTagsFromTheServer(t *testing.T) {
	d := newDB(t, createOrders)
	r := first(t, d.config(orderEntity))
	const emit = `select pg_logical_emit_message(true, 'trueup', '{"write_id":"%s","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}');`
	d.exec(`begin;` + fmt.Sprintf(emit, "before") + `insert into orders values (1); commit`)
	d.exec(`begin; insert into orders values (2);` + fmt.Sprintf(emit, "after") + `commit`)
	d.exec(`insert into orders values (3)`)
	d.exec(`select pg_logical_emit_message(false, 'trueup', '{"write_id":"outside"}')`)
	d.exec(fmt.Sprintf(emit, "alone"))
	d.exec(`begin; select pg_logical_emit_message(true, 'trueup', 'not json'); insert into orders values (4); commit`)
	var tags []string
	for _, c := range r.caughtUp(d) {
		tags = append(tags, c.Tag.WriteID)
		if (c.Tag.Traceparent != "") != (c.Tag.WriteID != "") {
			t.Errorf("%+v", c.Tag)
		}
	}
	if want := []string{"before", "after", "", ""}; !slices.Equal(tags, want) {
		t.Errorf("tags %q, want %q", tags, want)
	}
	if n := r.source.Stats().BadTags; n != 1 {
		t.Errorf("%d bad tags were counted", n)
	}
}

// I8: "each event decoded with the schema valid at its position": the table
// changes while nobody reads, and again while somebody does.
func TestI8_SchemaAtItsPosition(t *testing.T) { schemaAtItsPosition(t, newDB(t)) }

func schemaAtItsPosition(t *testing.T, d *db) {
	d.setup(createOrders)
	s, start := openFirst(t, d.config(orderEntity))
	change := func() {
		d.exec(`insert into orders values (1, 'a', 1, 'n')`)
		d.exec(`alter table orders add more int default 7`)
		d.exec(`insert into orders values (2, 'b', 2, 'n', 8)`)
		d.exec(`begin; alter table orders drop status; insert into orders values (3, 3, 'n', 9); alter table orders add status text default 'again';
			insert into orders values (4, 4, 'n', 10, 'd'); commit`)
		d.exec(`alter table orders rename note to remark`)
		d.exec(`insert into orders values (5, 5, 'n', 11, 'e')`)
		d.exec(`alter table orders rename remark to note; alter table orders alter amount type int using amount::int`)
		d.exec(`update orders set more = 0 where id = 1`)
	}
	wanted := []string{
		"0 insert [1]: - -> id=1 status=a amount=1.00 note=n",
		"0 insert [2]: - -> id=2 status=b amount=2.00 note=n more=8",
		"0 insert [3]: - -> id=3 amount=3.00 note=n more=9",
		"1 insert [4]: - -> id=4 amount=4.00 note=n more=10 status=d",
		"0 insert [5]: - -> id=5 amount=5.00 remark=n more=11 status=e",
		"0 update [1]: id=1 amount=1 note=n more=7 status=again -> id=1 amount=1 note=n more=0 status=again",
	}
	change()
	r := capturing(t, s, start, newSink())
	got := r.caughtUp(d)
	want(t, got, wanted...)
	for i, whole := range []bool{true, true, false, true, false, true} {
		if (got[i].Mapping != "") != whole {
			t.Errorf("%s: digest under %q", said(got[i]), got[i].Mapping)
		}
	}
	d.exec(`truncate orders; alter table orders drop more; alter table orders drop status, drop note, drop amount; alter table orders
		add status text, add amount numeric(12,2), add note text`)
	before := len(r.caughtUp(d))
	d.exec(`insert into orders values (1, 'a', 1, 'n')`)
	want(t, r.caughtUp(d)[before:], "0 insert [1]: - -> id=1 status=a amount=1.00 note=n")
}

// copyRows writes rows with COPY: their row messages share one position.
func copyRows(d *db, from, to int) {
	d.t.Helper()
	var rows [][]any
	for i := from; i < to; i++ {
		rows = append(rows, []any{int64(i), "copied"})
	}
	if _, err := d.conn.CopyFrom(d.t.Context(), pgx.Identifier{"orders"}, []string{"id", "status"}, pgx.CopyFromRows(rows)); err != nil {
		d.t.Fatal(err)
	}
}

// "A poison event blocks the key, not the partition; nothing is skipped
// without a record holding position, digest and reason" (I23): a row without a
// canonical key goes to the quarantine, and without one ends the run.
func TestI23_RowWithoutKeyIsNotSkipped(t *testing.T) {
	d := newDB(t, `create table orders (id bigint unique, status text, amount numeric, note text); alter table orders replica identity full`)
	cfg := d.config(orderEntity)
	s, start := openFirst(t, cfg)
	d.exec(`begin; insert into orders values (1); insert into orders values (null, 'lost'); insert into orders values (2); commit`)
	var refused *capture.RowError
	if err := capturing(t, s, start, newSink()).failed(); !errors.As(err, &refused) || refused.Ordinal != 1 || refused.Pos == "" || refused.Digest == (schemas.Digest{}) {
		t.Fatal(err)
	}
	to := newSink()
	to.refuses = true
	r := capturing(t, New(cfg), start, to)
	want(t, r.caughtUp(d), "0 insert [1]: - -> id=1 status=NULL amount=NULL note=NULL", "2 insert [2]: - -> id=2 status=NULL amount=NULL note=NULL")
	// Rows that are read meanwhile may be those that nobody could read.
	e, _ := cfg.Rules.Entity("order")
	r.source.windows.Watch(true)
	w := r.source.windows.Ask(e)
	if _, err := r.source.windows.Boundary(t.Context(), baseline.Place{}, nil); err != nil {
		t.Fatal(err)
	}
	<-w.Ready()
	d.exec(`insert into orders values (null, 'lost as well')`)
	if err := <-w.Done(); !errors.Is(err, baseline.ErrAgain) {
		t.Errorf("what was read beside it: %v", err)
	}
	r.stop()
	got := to.refused
	if len(got) != 2 || got[0].EventID != refused.EventID || got[0].Digest != refused.Digest || got[0].Entity != "order" || got[0].Key != nil || got[0].CommitTS == 0 {
		t.Errorf("quarantined %+v, refused before %v", got, refused)
	}
}
