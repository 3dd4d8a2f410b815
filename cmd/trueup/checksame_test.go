package main

import (
	"fmt"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// A DSN that was copied is said: what is compared with itself is never different. Two tables of
// one database are two, and so are two columns of one table, which one may move into the other.
func TestCheckSaysThatBothSidesAreOneTable(t *testing.T) {
	const text = `apiVersion: trueup/v1
kind: Migration
metadata: {name: orders}
stores:
  legacy: {driver: %s, dsn: "env:TRUEUP_TEST_LEGACY"}
  target: {driver: %s, dsn: "env:TRUEUP_TEST_TARGET"}
entities:
  - name: order
    key: [id]
    legacy: {table: %s}
    target: {table: %s}
    fields:
      id: {type: integer}
      status: {type: text, target: {column: %s}}
`
	const postgres, elsewhere = "postgres://u@127.0.0.1:5432/shop?sslmode=disable", "postgres://u@db.example.org:5432/shop"
	const maria = "u:p@tcp(127.0.0.1:3306)/shop"
	for _, c := range []struct {
		legacyDriver, targetDriver, legacy, target string
		legacyTable, targetTable, column           string
		want                                       int
	}{
		{"postgres", "postgres", postgres, postgres, "public.orders", "public.orders", "status", 1},
		{"postgres", "postgres", postgres, "host=localhost port=5432 user=other dbname=shop sslmode=disable", "public.orders", "public.orders", "status", 1},
		{"postgres", "postgres", elsewhere, elsewhere, "public.orders", "public.orders", "status", 1},
		{"mariadb", "mariadb", maria, "v@tcp(localhost:3306)/shop", "shop.orders", "shop.orders", "status", 1},
		{"mysql", "mysql", maria, "u:p@tcp(127.0.0.1:3306)/shop2", "shop.orders", "shop.orders", "status", 1},
		{"postgres", "postgres", postgres, postgres, "public.orders", "public.orders", "state", 0},
		{"postgres", "postgres", postgres, postgres, "public.orders", "public.orders2", "status", 0},
		{"postgres", "postgres", postgres, postgres, "public.orders", "new.orders", "status", 0},
		{"postgres", "postgres", postgres, "postgres://u@127.0.0.1:5432/shop2?sslmode=disable", "public.orders", "public.orders", "status", 0},
		{"postgres", "postgres", postgres, "postgres://u@127.0.0.1:5433/shop?sslmode=disable", "public.orders", "public.orders", "status", 0},
		{"postgres", "postgres", postgres, elsewhere, "public.orders", "public.orders", "status", 0},
		{"postgres", "mariadb", postgres, "u:p@tcp(127.0.0.1:5432)/shop", "public.orders", "public.orders", "status", 0},
		{"mariadb", "mariadb", maria, "u:p@tcp(127.0.0.1:3307)/shop", "shop.orders", "shop.orders", "status", 0},
		{"mariadb", "mariadb", maria, maria, "shop.orders", "shop2.orders", "status", 0},
		{"mariadb", "mariadb", maria, "what is this", "shop.orders", "shop.orders", "status", 0},
	} {
		t.Setenv("TRUEUP_TEST_LEGACY", c.legacy)
		t.Setenv("TRUEUP_TEST_TARGET", c.target)
		m, err := schemas.ParseMigration(fmt.Appendf(nil, text, c.legacyDriver, c.targetDriver, c.legacyTable, c.targetTable, c.column), "migration.yaml")
		if err != nil {
			t.Fatal(err)
		}
		rules, err := rulesOf(m)
		if err != nil {
			t.Fatal(err)
		}
		if found := checkSame(m, rules); len(found) != c.want {
			t.Errorf("%+v: %+v", c, found)
		}
	}
}
