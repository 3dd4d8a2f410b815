package postgres

import (
	"fmt"
	"net/url"
	"strconv"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/faultnet"
)

// through is a configuration whose connections pass a network with faults.
func (d *db) through(entities string) (Config, *faultnet.Network) {
	d.t.Helper()
	u, err := url.Parse(d.dsn)
	if err != nil {
		d.t.Fatal(err)
	}
	n, err := faultnet.Listen(u.Host)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := n.Close(); err != nil {
			d.t.Error(err)
		}
	})
	cfg := d.config(entities)
	u.Host = n.Addr()
	cfg.DSN = u.String()
	return cfg, n
}

// awaitConnections waits until a source has streamed over that many.
func (r *running) awaitConnections(n int64) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d connections", n), func() bool { return r.source.Stats().Connections >= n })
}

// Zoo Z2: "several events share one LSN; restart skips the rest (COPY,
// multi-row insert)"; I3: "COPY, same-LSN (E1)"; fault matrix: limit_data. The
// connection ends in the middle of a COPY, again and again.
func TestZ2_I3_RowsThatShareAPositionAfterACut(t *testing.T) {
	t.Parallel()
	const rows = 20_000 // more than wait for their commit
	d := newDB(t, createOrders)
	cfg, network := d.through(orderEntity)
	r := first(t, cfg)
	r.awaitConnections(1)
	network.Set(faultnet.Down, faultnet.Fault{Limit: 900_000}) // of 1.3 MB
	copyRows(d, 1_000_000, 1_000_000+rows)
	r.awaitConnections(3)
	network.Heal()
	got := r.caughtUp(d)
	if len(got) != rows {
		t.Errorf("%d changes of %d", len(got), rows)
	}
	if r.sink.repeated != 0 {
		t.Errorf("%d rows were handed over of a transaction that was not received whole", r.sink.repeated)
	}
}

// Zoo Z3: "BEGIN's LSN equals the next message's LSN; off-by-one skip". A
// stream goes on exactly where a commit record starts: that transaction is in
// it.
func TestZ3_I2_TransactionAtTheStartIsDelivered(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	s, start := openFirst(t, d.config(orderEntity))
	whole := newSink()
	whole.hold = true
	r := capturing(t, s, start, whole)
	d.exec("insert into orders values (1)")
	one, two := d.connect(), d.connect()
	for i, sql := range []string{"begin; insert into orders values (2)", "begin; insert into orders values (3)", "commit", "commit"} {
		conn := one
		if i%2 == 1 {
			conn = two
		}
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	all := r.caughtUp(d)
	end := d.flushed()
	r.stop()
	if len(all) != 3 {
		t.Fatalf("%d changes", len(all))
	}
	for i, c := range all {
		at, err := strconv.ParseUint(c.Pos, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		again := newSink()
		again.hold = true
		r := capturing(t, s, capture.Start{Resume: position{lsn(at), 1}.resume(), Identity: start.Identity}, again)
		again.reached(t, end)
		r.stop()
		if len(again.changes) != len(all)-i || again.changes[0].EventID != c.EventID {
			t.Errorf("from %s: %d changes, want %d", lsn(at), len(again.changes), len(all)-i)
		}
	}
}

// Zoo Z11: "newer schema used to decode older events → panic or misaligned
// columns"; I8: "each event decoded with the schema valid at its position".
func TestZ11_I8_OlderRowsUnderTheirOwnColumns(t *testing.T) {
	t.Parallel()
	d := newDB(t, "create table orders (id bigint primary key, status text, amount numeric(12,2), note text, x int, y int); alter table orders replica identity full")
	cfg := d.config(orderEntity)
	r := first(t, cfg)
	d.exec("insert into orders values (1)")
	r.caughtUp(d)
	r.stop()
	resume, _ := r.sink.ack()
	d.exec("insert into orders (id, x, y) values (2, 1, 2)")
	d.exec("alter table orders rename x to z; alter table orders rename y to x; alter table orders rename z to y")
	d.exec("insert into orders (id, x, y) values (3, 1, 2)")
	again := capturing(t, r.source, capture.Start{Resume: resume, Identity: r.start.Identity}, newSink())
	want(t, again.caughtUp(d), "0 insert [2]: - -> id=2 status=NULL amount=NULL note=NULL x=1 y=2",
		"0 insert [3]: - -> id=3 status=NULL amount=NULL note=NULL y=2 x=1")
}
