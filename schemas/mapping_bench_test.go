package schemas

import "testing"

// benchmarkMigration maps an ordinary table of 12 columns.
const benchmarkMigration = `apiVersion: trueup/v1
kind: Migration
metadata: {name: bench}
stores:
  legacy: {driver: postgres, dsn: "env:A"}
  target: {driver: mariadb, dsn: "env:B"}
entities:
  - name: order
    key: [id]
    legacy: {table: orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      customer: {type: uuid}
      status: {type: text}
      amount: {type: decimal, scale: 2}
      paid: {type: boolean}
      placed: {type: timestamp, precision: 3}
      shipped: {type: date}
      weight: {type: float}
      address: {type: text}
      attributes: {type: json}
      token: {type: bytes}
      note: {type: text}
`

func benchmarkRow() Row {
	return append(row("id", "1234567", "customer", "0190b1c2-7d3e-7a4b-8c5d-9e0f1a2b3c4d", "status", "shipped", "amount", "1234.50",
		"paid", "t", "placed", "2026-11-23 10:00:00.123456+00", "shipped", "2026-11-24", "weight", "12.375",
		"address", "12 Some Street, Some Town", "attributes", `{"colour": "red", "size": 42, "tags": ["a", "b"]}`,
		"token", `\x00112233445566778899aabbccddeeff`), Column{Name: "note", Presence: Null})
}

func BenchmarkImage(b *testing.B) {
	e, _ := mustRules(b, benchmarkMigration).Entity("order")
	r := benchmarkRow()
	if img := e.Image(Legacy, r); !img.Exact() {
		b.Fatalf("image %+v", img)
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Image(Legacy, r)
	}
}

func BenchmarkKey(b *testing.B) {
	e, _ := mustRules(b, benchmarkMigration).Entity("order")
	r := benchmarkRow()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Key(Legacy, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOrderKey(b *testing.B) {
	e, _ := mustRules(b, benchmarkMigration).Entity("order")
	key := []string{"1234567"}
	b.ReportAllocs()
	for b.Loop() {
		e.OrderKey(key)
	}
}
