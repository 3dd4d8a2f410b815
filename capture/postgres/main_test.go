package postgres

import (
	"testing"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// rulesOf reads the rules of a migration with these entities.
func rulesOf(t testing.TB, entities string) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(migrationOf(entities)), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// migrationOf is a migration.yaml with these entities.
func migrationOf(entities string) string {
	return `apiVersion: trueup/v1
kind: Migration
metadata: {name: test, owner: tests}
entities:
` + entities
}

const orderEntity = `
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id:     {type: integer}
      status: {type: text}
      amount: {type: decimal, scale: 2}
      note:   {type: text}
`
