package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
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

// "trueup check: every store, broker and right, before anything runs": also the
// rights that only repairs need. What check finds keeps run from starting.
func TestCheckSaysWhichRightsRepairsLack(t *testing.T) {
	legacy, target := servertest.PostgresDatabase(t), servertest.PostgresDatabase(t)
	exec := func(dsn, sql string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, dsn := range []string{legacy, target} {
		exec(dsn, "create table orders (id bigint primary key, status text); alter table orders replica identity full")
	}
	text := strings.Replace(ordersMigration, `dsn: "file:target.dsn"`, `dsn: "file:target.dsn", applyDsn: "file:apply.dsn"`, 1) + "    compensate: {mode: apply, policy: authority_wins}\n"
	path := writeMigration(t, text, legacy, target)
	apply := servertest.PostgresApplier(t, target, "orders")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "apply.dsn"), []byte(apply), 0o600); err != nil {
		t.Fatal(err)
	}
	role, err := url.Parse(apply)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		for _, command := range []string{"check", "run"} {
			out, _, err := execute(soon(t), command, "-f", path)
			if said := out + fmt.Sprint(err); exitCode(err) != exitError || !strings.Contains(said, want) {
				t.Errorf("%s: exit %d, want 3 and %q:\n%s", command, exitCode(err), want, said)
			}
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "trueup-data")); !os.IsNotExist(err) {
			t.Errorf("a data directory was made: %v", err)
		}
	}
	exec(target, "revoke update on orders from "+role.User.Username())
	refused(`run: GRANT UPDATE ON "public"."orders" TO `)
	exec(target, "grant update on orders to "+role.User.Username()+"; revoke create on database "+strings.TrimPrefix(role.Path, "/")+" from "+role.User.Username())
	refused("create the ledger: it is not there")
	exec(target, "grant create on database "+strings.TrimPrefix(role.Path, "/")+" to "+role.User.Username())
	if out, _, err := execute(soon(t), "check", "-f", path); err != nil || !strings.Contains(out, "has the rights that they need") {
		t.Errorf("%v\n%s", err, out)
	}
	exec(target, "select 1 / (pg_catalog.to_regclass('trueup.ledger') is null)::int") // check makes none
}

// A table of a migration that runs already halts alone, also for its repairs: its
// finding names the entity, by which run knows.
func TestReadiness(t *testing.T) {
	gone := &compensate.TableError{Entity: "order", Schema: "public", Name: "orders", Side: schemas.Target, Err: errors.New("is not there")}
	found := readiness(errors.Join(gone, errors.New("no right")))
	if len(found) != 2 || found[0].Entity != "order" || found[1].Entity != "" || found[1].Detail != "no right" {
		t.Errorf("%+v", found)
	}
	if found := readiness(errors.Join(nil, gone)); len(found) != 1 || found[0].Severity != capture.Fail || found[0].Detail != "table public.orders of the target store: is not there" {
		t.Errorf("%+v", found)
	}
	if found := readiness(nil); len(found) != 1 || found[0].Severity != capture.OK {
		t.Errorf("%+v", found)
	}
}
