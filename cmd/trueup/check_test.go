package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What repairs could not write is said before anything runs, also where the stores
// cannot be reached, and only where repairs are on.
func TestCheckSaysWhatRepairsCannotWrite(t *testing.T) {
	const migration = `apiVersion: trueup/v1
kind: Migration
metadata: {name: orders}
stores:
  legacy: {driver: postgres, dsn: "env:TRUEUP_TEST_NO_SUCH_DSN"}
  target: {driver: mariadb, dsn: "env:TRUEUP_TEST_NO_SUCH_DSN"}
dataDir: ./data
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      status: {type: enum, target: {map: {N: new, P: paid, Q: paid}}}
      born: {type: date, target: {default: "1970-01-01"}}
    compensate: {mode: MODE}
`
	for mode, want := range map[string]int{"report": 0, "apply": 2} {
		path := filepath.Join(t.TempDir(), "migration.yaml")
		if err := os.WriteFile(path, []byte(strings.Replace(migration, "MODE", mode, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _, err := execute(t.Context(), "check", "-f", path, "--json")
		if err == nil {
			t.Fatal("the stores have no DSN, and nothing is missing")
		}
		if got := strings.Count(out, `"subject":"repairs of order.`); got != want {
			t.Errorf("%s: %d findings of repairs, want %d:\n%s", mode, got, want, out)
		}
		for _, part := range []string{
			`{"kind":"finding","where":"target","severity":"warn","subject":"repairs of order.status","detail":"\"P\" and \"Q\" are all \"paid\" there: repairs to it are refused"`,
			`"subject":"repairs of order.born","detail":"NULL stands for its default there, so nothing stands for a NULL of the legacy`,
		} {
			if strings.Contains(out, part) != (want > 0) {
				t.Errorf("%s: want %s in\n%s", mode, part, out)
			}
		}
	}
}
