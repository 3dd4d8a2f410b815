package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/schemas"
)

// shape says what a backlog is made of.
type shape struct {
	name    string
	rows    int
	perTxn  int
	columns string // SQL, and what stands in them for row g
	values  string
	fields  string // of the mapping
	// binlogMore are the columns that MariaDB's table has besides the seven, and their values.
	binlogMore [2]string
	drains     int // how many benchmarks drain it; 0: two, to discard and into the log
}

// Rows of seven columns, about 254 bytes in the protocol.
const (
	columns7 = `id bigint primary key, customer text, quantity int, price numeric(12,2), placed timestamptz, attributes jsonb, note text`
	values7  = `g, 'customer number ' || g, g % 100, (g % 100000)::numeric / 100, timestamptz '2026-01-01' + g * interval '1 second',
		jsonb_build_object('channel', 'web', 'items', g % 7, 'gift', g % 2 = 0), repeat('note ' || g % 10, 25)`
	fields7 = `
      id:         {type: integer}
      customer:   {type: text}
      quantity:   {type: integer}
      price:      {type: decimal, scale: 2}
      placed:     {type: timestamp, precision: 6}
      attributes: {type: json}
      note:       {type: text}`
)

// Rows of twelve columns, about 340 bytes in the protocol.
const (
	columns12sql = columns7 + `, city text, active boolean, weight numeric(10,3), due date, code uuid`
	values12     = values7 + `, 'city ' || g % 1000, g % 3 = 0, (g % 9999)::numeric / 1000, date '2026-01-01' + g % 365, md5(g::text)::uuid`
	fields12     = fields7 + `
      city:       {type: text}
      active:     {type: boolean}
      weight:     {type: decimal, scale: 3}
      due:        {type: date}
      code:       {type: uuid}`
)

var (
	rows1000  = &shape{name: "rows1000", rows: 500_000, perTxn: 1000, columns: columns7, values: values7, fields: fields7}
	rows1     = &shape{name: "rows1", rows: 300_000, perTxn: 1, columns: columns7, values: values7, fields: fields7}
	hugetxn   = &shape{name: "hugetxn", rows: 1_000_000, perTxn: 1_000_000, columns: columns7, values: values7, fields: fields7}
	columns12 = &shape{name: "columns12", rows: 400_000, perTxn: 1000, columns: columns12sql, values: values12, fields: fields12}
	// peerRows is what peers drain: long enough for a JVM to be warm for most of it.
	peerRows = &shape{name: "peers", rows: 1_000_000, perTxn: 1000, columns: columns12sql, values: values12, fields: fields12, drains: 3, binlogMore: [2]string{
		`, city varchar(50), active boolean, weight decimal(10,3), due date, code char(36)`,
		`, concat('city ', g % 1000), g % 3 = 0, (g % 9999) / 1000, date'2026-01-01' + interval g % 365 day, insert(insert(insert(insert(md5(g), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-')`}}
)

// shapeOf finds a shape by its name, as a child is told it.
func shapeOf(name string) (*shape, error) {
	for _, sh := range []*shape{rows1000, rows1, columns12, hugetxn, trickle, peerRows} {
		if sh.name == name {
			return sh, nil
		}
	}
	return nil, fmt.Errorf("no backlog is called %q", name)
}

func (sh *shape) rules() (*schemas.Rules, error) {
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: bench, owner: bench}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    settleWindow: 1s
    fields:`+sh.fields+"\n"), "bench.yaml")
	if err != nil {
		return nil, err
	}
	return m.Rules()
}

// place is where one capture begins: a slot of its own, from before the backlog.
type place struct {
	Slot  string
	Start capture.Start // of our own; empty for a bare slot
}

// workload is a backlog, and the places before it of which each can drain it once.
type workload struct {
	shape    *shape
	dsn      string
	end      string  // where the backlog ends: every row commits before it
	subjects []place // not used yet
	limits   []place
	scratch  int // numbers the slots
}

const publication = "trueup"

// sourceName is what event ids call the store.
const sourceName = "bench-legacy"

// slots is how many places a workload has of each kind: for every benchmark that
// drains it, one a round.
func (sh *shape) slots() int {
	if sh.drains == 0 {
		return 2 * rounds
	}
	return sh.drains * rounds
}

// backlog returns the workload of a shape, written when it is first asked for.
func (s *session) backlog(ctx context.Context, sh *shape) (*workload, error) {
	if w, ok := s.workloads[sh]; ok {
		return w, nil
	}
	w, err := s.emptyWorkload(ctx, sh)
	if err != nil {
		return nil, err
	}
	err = w.connected(ctx, func(conn *pgx.Conn) error {
		for range sh.slots() {
			if err := w.open(ctx, conn); err != nil {
				return err
			}
		}
		return w.write(ctx, conn)
	})
	if err != nil {
		return nil, fmt.Errorf("write backlog %s: %w", sh.name, err)
	}
	if s.workloads == nil {
		s.workloads = map[*shape]*workload{}
	}
	s.workloads[sh] = w
	return w, nil
}

// emptyWorkload makes a database with the table and nothing in it.
func (s *session) emptyWorkload(ctx context.Context, sh *shape) (*workload, error) {
	server, err := s.server(ctx)
	if err != nil {
		return nil, err
	}
	name := "bench_" + sh.name
	w := &workload{shape: sh, dsn: strings.Replace(server.DSN, "/postgres?", "/"+name+"?", 1)}
	admin, err := pgx.Connect(ctx, server.DSN)
	if err != nil {
		return nil, err
	}
	_, err = admin.Exec(ctx, "create database "+name)
	if err := errors.Join(err, admin.Close(ctx)); err != nil {
		return nil, err
	}
	return w, w.connected(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "create table orders ("+sh.columns+"); alter table orders replica identity full")
		return err
	})
}

func (w *workload) connected(ctx context.Context, fn func(*pgx.Conn) error) error {
	config, err := pgx.ParseConfig(w.dsn)
	if err != nil {
		return err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	return errors.Join(fn(conn), conn.Close(context.WithoutCancel(ctx)))
}

// open makes a place for a subject and one for a limit. The first subject's also
// makes the publication.
func (w *workload) open(ctx context.Context, conn *pgx.Conn) error {
	w.scratch++
	slot := fmt.Sprintf("%s_ours_%d", w.shape.name, w.scratch)
	rules, err := w.shape.rules()
	if err != nil {
		return err
	}
	start, err := postgres.New(sourceConfig(w.dsn, slot, rules)).Open(ctx, "", "")
	if err != nil {
		return err
	}
	w.subjects = append(w.subjects, place{slot, start})
	slot = fmt.Sprintf("%s_limit_%d", w.shape.name, w.scratch)
	if _, err := conn.Exec(ctx, fmt.Sprintf("select pg_create_logical_replication_slot('%s', 'pgoutput')", slot)); err != nil {
		return err
	}
	w.limits = append(w.limits, place{Slot: slot})
	return nil
}

// write writes the backlog and, after its end, one more row, so that whoever
// drains it sees something beyond the end at once.
func (w *workload) write(ctx context.Context, conn *pgx.Conn) error {
	sql := fmt.Sprintf(`set synchronous_commit = off;
		do $$ begin
			for t in 0 .. %d loop
				insert into orders select %s from generate_series(t * %d + 1, (t + 1) * %[3]d) g;
				commit;
			end loop;
		end $$`, w.shape.rows/w.shape.perTxn-1, w.shape.values, w.shape.perTxn)
	// Apart: a DO that commits cannot stand in a list of statements.
	set, do, _ := strings.Cut(sql, ";")
	for _, sql := range []string{set, do, "checkpoint"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := conn.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&w.end); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, fmt.Sprintf("set synchronous_commit = on; insert into orders select %s from generate_series(0, 0) g", w.shape.values))
	return err
}

func (w *workload) take(from *[]place) (place, error) {
	if len(*from) == 0 {
		return place{}, fmt.Errorf("workload %s has no slot left: raise its drains", w.shape.name)
	}
	p := (*from)[0]
	*from = (*from)[1:]
	return p, nil
}

// free drops a slot that has been used, so that the server can forget the log.
func (w *workload) free(ctx context.Context, p place) error {
	return w.connected(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, fmt.Sprintf("select pg_drop_replication_slot('%s')", p.Slot))
		return err
	})
}

func sourceConfig(dsn, slot string, rules *schemas.Rules) postgres.Config {
	return postgres.Config{Side: schemas.Legacy, Source: sourceName, DSN: dsn, Slot: slot, Publication: publication, Rules: rules}
}
