package shop

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/schemas"
)

func testRules(t *testing.T, database string) *schemas.Rules {
	t.Helper()
	text := Migration{Name: "orders", LegacyDSN: "file:legacy.dsn", TargetDSN: "file:target.dsn", TargetDatabase: database,
		Brokers: []string{"127.0.0.1:9092"}, DataDir: "/tmp/data", SettleWindow: 2 * time.Second, Mode: "apply"}.YAML()
	m, err := schemas.ParseMigration([]byte(text), "migration.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// The lines of an order lie in the order's partition, so that a transaction over
// both can be seen to be torn.
func TestLinesLieBesideTheirOrder(t *testing.T) {
	rules := testRules(t, "shop")
	order, ok := rules.Entity(OrderEntity)
	line, okLine := rules.Entity(LineEntity)
	if !ok || !okLine {
		t.Fatalf("entities are missing from %v", rules.Entities())
	}
	if a, b := order.PartitionKey([]string{"100042"}), line.PartitionKey([]string{"100042", "3"}); !slices.Equal(a, b) {
		t.Errorf("partition keys %q and %q", a, b)
	}
}

// The mapping makes rows equal that say the same: every row that a run without
// faults leaves has the same canonical image on both sides.
func TestMappingMakesLegitimateRowsEqual(t *testing.T) {
	s, legacyDSN, targetDSN := openShop(t)
	r := &run{Config: Config{Seed: 11, Writers: 4, SettleWindow: time.Second}, stores: s, observer: &witness{}, cast: cast{writers: 4}}
	if err := r.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for writer := range r.Writers {
		p := r.cast.planner(r.Seed, writer)
		for range 60 {
			w := p.next()
			if err := r.write(t.Context(), &w); err != nil {
				t.Fatal(err)
			}
		}
	}
	rules := testRules(t, s.database)
	legacyConn, err := pgx.Connect(t.Context(), legacyDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer legacyConn.Close(context.Background())
	target, err := sql.Open("mysql", targetDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	for _, e := range rules.Entities() {
		legacy, err := legacyConn.Query(t.Context(), "select * from "+e.Table(schemas.Legacy).Schema+"."+e.Table(schemas.Legacy).Name,
			pgx.QueryResultFormats{pgx.TextFormatCode})
		if err != nil {
			t.Fatal(err)
		}
		var columns []string
		for _, f := range legacy.FieldDescriptions() {
			columns = append(columns, f.Name)
		}
		legacyRows := map[string]schemas.Row{}
		for legacy.Next() {
			var row schemas.Row
			for i, v := range legacy.RawValues() {
				row = append(row, column(columns[i], v))
			}
			legacyRows[mustKey(t, e, schemas.Legacy, row)] = row
		}
		if err := legacy.Err(); err != nil {
			t.Fatal(err)
		}
		rows, err := target.QueryContext(t.Context(), "select * from "+e.Table(schemas.Target).Name)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		columns, err = rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for rows.Next() {
			values, to := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
			for i := range to {
				to[i] = &values[i]
			}
			if err := rows.Scan(to...); err != nil {
				t.Fatal(err)
			}
			var row schemas.Row
			for i, v := range values {
				row = append(row, column(columns[i], v))
			}
			key := mustKey(t, e, schemas.Target, row)
			a, b := e.Image(schemas.Legacy, legacyRows[key]), e.Image(schemas.Target, row)
			if !a.Present || !e.Equal(a, b) {
				t.Errorf("%s %s: %+v and %+v (%v and %v)", e.Name, key, legacyRows[key], row, a, b)
			}
			n++
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if n != len(legacyRows) || n < sharedOrders {
			t.Errorf("%s: %d rows on the target, %d on the legacy side", e.Name, n, len(legacyRows))
		}
	}
}

func column(name string, value []byte) schemas.Column {
	if value == nil {
		return schemas.Column{Name: name, Presence: schemas.Null}
	}
	return schemas.Column{Name: name, Text: string(value)}
}

func mustKey(t *testing.T, e *schemas.Entity, side schemas.Side, row schemas.Row) string {
	t.Helper()
	key, err := e.Key(side, row)
	if err != nil {
		t.Fatal(err)
	}
	return Key{e.Name, key}.Text()
}
