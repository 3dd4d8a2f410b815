package shop

import (
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5"
)

// "Compare reads both stores in full": a change of any column on one side, and of
// nothing else, is seen at its key and nowhere else.
func TestCompareSeesEveryColumn(t *testing.T) {
	s, legacy, target := openShop(t)
	r := &run{Config: Config{Seed: 1, Writers: 4}, stores: s, observer: &witness{}, cast: cast{writers: 4}}
	if err := r.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect := func(what string, want ...string) {
		t.Helper()
		c, err := s.Compare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range c.Differences {
			got = append(got, d.Key.Text())
		}
		if len(got) != len(want) || c.Different != len(want) || len(want) == 1 && got[0] != want[0] {
			t.Errorf("%s: the stores differ at %q, want %q", what, got, want)
		}
		if c.Orders < sharedOrders || c.Lines < sharedOrders*sharedLines {
			t.Errorf("%s: only %d orders and %d lines were read", what, c.Orders, c.Lines)
		}
	}
	expect("equal stores")
	db, err := sql.Open("mysql", target)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := pgx.Connect(t.Context(), legacy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	id := r.cast.shared()[7]
	order, line := orderKey(id).Text(), lineKey(id, 2).Text()
	for _, c := range []struct{ statement, key string }{
		{`update orders set customer_name = concat(customer_name, ' ') where id = ?`, order},
		{`update orders set status = upper(status) where id = ?`, order},
		{`update orders set amount = amount + 0.01 where id = ?`, order},
		{`update orders set placed_at = placed_at + interval 1 microsecond where id = ?`, order},
		{`update orders set is_gift = not is_gift where id = ?`, order},
		{`update orders set details = json_set(details, '$.weight_kg', 99.25) where id = ?`, order},
		{`update orders set note = if(note is null, '', null) where id = ?`, order},
		{`update order_lines set sku = lower(sku) where line = 2 and order_id = ?`, line},
		{`update order_lines set quantity = -quantity where line = 2 and order_id = ?`, line},
		{`update order_lines set unit_price = unit_price + 0.0001 where line = 2 and order_id = ?`, line},
		{`delete from order_lines where line = 2 and order_id = ?`, line},
		{`delete from orders where id = ?`, order},
	} {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		result, err := tx.ExecContext(t.Context(), c.statement, id)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := result.RowsAffected(); n != 1 || err != nil {
			t.Fatalf("%s: %d rows (%v)", c.statement, n, err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		expect(c.statement, c.key)
		putBack(t, s, conn, db, id)
		expect("put back after " + c.statement)
	}
	if _, err := conn.Exec(t.Context(), `delete from public.orders where id = $1`, id); err != nil {
		t.Fatal(err)
	}
	expect("a row that only the target has", order)
}

// putBack writes an order and its lines to the target as the legacy store has
// them.
func putBack(t *testing.T, s *Stores, conn *pgx.Conn, db *sql.DB, id int64) {
	t.Helper()
	copyRow := func(table, query string) {
		rows, err := conn.Query(t.Context(), query, id)
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range all {
			if _, err := db.ExecContext(t.Context(), "replace into "+table+" values ("+places(len(row))+")", row...); err != nil {
				t.Fatal(err)
			}
		}
	}
	copyRow("orders", `select id, customer, state, amount::text, to_char(placed at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'),
		gift, details::text, note from public.orders where id = $1`)
	copyRow("order_lines", `select order_id, line_no, sku, qty, price::text from public.order_lines where order_id = $1`)
}

func TestSameJSON(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a": 1, "b": [1.50, null]}`, `{"b":[1.5,null],"a":1}`, true},
		{`{"a": 9007199254740993}`, `{"a": 9007199254740992}`, false},
		{`{"a": 1e2}`, `{"a": 100}`, true},
		{`[1, 2]`, `[2, 1]`, false},
		{`{"a": null}`, `{}`, false},
		{`"1"`, `1`, false},
		{`{"a": "☕"}`, `{"a": "\u2615"}`, true},
		{`{`, `{`, false},
	} {
		if got := sameJSON(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %t, want %t", c.a, c.b, got, c.want)
		}
	}
}
