package postgres

import (
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// "Dropping it is sound only where both sides log full before images … check
// refuses it elsewhere", and so does a start: both ask the same question.
func TestDroppingSettledKeysNeedsWholeRowsBefore(t *testing.T) {
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: t, owner: t}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields: {id: {type: integer}, v: {type: text}}
    retainSettled: false
`), "t.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	base := table{Schema: "public", Name: "orders", Kind: "r", Columns: []column{{Name: "id", InIdentity: true}, {Name: "v"}}, Unique: [][]string{{"id"}}}
	full, byKey, parted, odd := base, base, base, base
	full.Identity, byKey.Identity = "f", "d"
	parted.Kind, parted.Identity, parted.Leaves = "p", "d", []leaf{{Name: `"public"."orders_1"`, Identity: "f"}}
	odd.Kind, odd.Identity, odd.Leaves = "p", "f", []leaf{{Name: `"public"."orders_1"`, Identity: "f"}, {Name: `"public"."orders_2"`, Identity: "d"}}
	for name, c := range map[string]struct {
		table  table
		remedy string
	}{
		"full":   {full, ""},
		"key":    {byKey, "ALTER TABLE " + byKey.quoted() + " REPLICA IDENTITY FULL"},
		"parted": {parted, ""},
		"odd":    {odd, `ALTER TABLE "public"."orders_2" REPLICA IDENTITY FULL`},
	} {
		got := entityProblems(&c.table, publication{}, rules.Entities()[0], schemas.Legacy)
		if c.remedy == "" {
			if len(got) > 0 {
				t.Errorf("%s: %v", name, got[0])
			}
			continue
		}
		if len(got) != 1 || !strings.HasPrefix(got[0].remedy, c.remedy+", or leave") || !strings.Contains(got[0].detail, "retainSettled: false") {
			t.Errorf("%s: %v", name, got)
		}
	}
}
