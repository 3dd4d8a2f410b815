package postgres

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
)

// findings says what a check found, by subject.
func findings(t *testing.T, cfg Config) map[string][]capture.Finding {
	t.Helper()
	by := map[string][]capture.Finding{}
	for _, f := range Check(t.Context(), cfg) {
		if f.Severity != capture.OK && f.Remedy == "" {
			t.Errorf("%+v: no remedy", f)
		}
		by[f.Subject] = append(by[f.Subject], f)
	}
	return by
}

func expect(t *testing.T, by map[string][]capture.Finding, severity, subject, says string) {
	t.Helper()
	if !slices.ContainsFunc(by[subject], func(f capture.Finding) bool {
		return f.Severity == severity && strings.Contains(f.Detail+" | "+f.Remedy, says)
	}) {
		t.Errorf("%s: want %s with %q in it, got %+v", subject, severity, says, by[subject])
	}
}

// as is the DSN for another role.
func as(t *testing.T, dsn, role string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

// Everything that capture needs is looked at, and what is wrong comes with the
// SQL that mends it.
func TestCheck(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders,
		`create table nokey (id int, v text)`,
		`create table nothing (id int primary key, v text); alter table nothing replica identity nothing`,
		`create table bydefault (id int primary key, v text, twice text generated always as (v || v) stored)`,
		`create table byother (id int primary key, code text not null unique, v text); alter table byother replica identity using index byother_code_key`,
		`create unlogged table unlogged (id int primary key)`,
		`create table parts (id int primary key, v text) partition by range (id); alter table parts replica identity full`)
	entity := func(name, fields string) string {
		return fmt.Sprintf(`
  - name: %s
    key: [id]
    legacy: {table: public.%[1]s}
    target: {table: shop.%[1]s}
    fields: {id: {type: integer}%s}
`, name, fields)
	}
	cfg := d.config(orderEntity + entity("nokey", ", v: {type: text}") + entity("nothing", "") + entity("bydefault", ", twice: {type: text}, gone: {type: text}") +
		entity("byother", "") + entity("unlogged", "") + entity("parts", "") + entity("absent", ""))
	d.exec(`create publication trueup for table orders where (id > 0), bydefault (id, v), parts`)

	by := findings(t, cfg)
	expect(t, by, capture.OK, "connection", "PostgreSQL")
	expect(t, by, capture.OK, "wal_level", "logical")
	expect(t, by, capture.OK, "role postgres", "may replicate")
	expect(t, by, capture.OK, "replication connection", "accepted")
	expect(t, by, capture.OK, "clock and log position", "")
	expect(t, by, capture.OK, "slot "+cfg.Slot, "not there yet")
	expect(t, by, capture.OK, "synchronous_commit", "on")
	expect(t, by, capture.Warn, "max_slot_wal_keep_size", "ALTER SYSTEM SET max_slot_wal_keep_size")
	expect(t, by, capture.Warn, "physical replication", "whole cluster")
	expect(t, by, capture.OK, "publication trueup", "is there")
	expect(t, by, capture.Fail, "publication trueup, table public.orders", `ALTER PUBLICATION "trueup" DROP TABLE "public"."orders"; ALTER PUBLICATION "trueup" ADD TABLE "public"."orders"`)
	expect(t, by, capture.Fail, "publication trueup, table public.bydefault", "row filter or column list")
	expect(t, by, capture.Fail, "publication trueup, table public.byother", `ALTER PUBLICATION "trueup" ADD TABLE "public"."byother"`)
	expect(t, by, capture.Fail, "publication trueup, table public.parts", "publish_via_partition_root = true")
	expect(t, by, capture.Fail, "table public.nokey", "no replica identity")
	expect(t, by, capture.Fail, "table public.nothing", "REPLICA IDENTITY FULL")
	expect(t, by, capture.Fail, "table public.unlogged", "SET LOGGED")
	expect(t, by, capture.Fail, "table public.absent", "no such table")
	expect(t, by, capture.Fail, "table public.bydefault", "no column gone")
	expect(t, by, capture.Fail, "table public.bydefault", "column twice is generated")
	expect(t, by, capture.Warn, "table public.bydefault", `ALTER TABLE "public"."bydefault" REPLICA IDENTITY FULL`)
	expect(t, by, capture.Fail, "table public.byother", "key column id is not part of the replica identity")
	expect(t, by, capture.Warn, "table public.parts", "partition")

	// What a baseline could not read is foretold; changes are captured.
	d.exec(`create table unordered (id int, v text); create unique index on unordered (id); alter table unordered replica identity full`)
	unordered := d.config(entity("unordered", ", v: {type: text}"))
	unordered.Publication = "trueup_unordered"
	d.exec("create publication trueup_unordered for table unordered")
	by = findings(t, unordered)
	expect(t, by, capture.Warn, "table public.unordered", `no unique index without NULLs orders its rows: "trueup baseline" cannot read`)
	expect(t, by, capture.Warn, "table public.unordered", `ALTER TABLE "public"."unordered" ADD PRIMARY KEY`)
	d.exec("alter table unordered add primary key (id)")
	expect(t, findings(t, unordered), capture.OK, "table public.unordered", "2 columns")

	// The remedies mend it.
	d.exec(`alter table nokey add primary key (id); alter table nokey replica identity full; alter table byother replica identity full;
		alter table bydefault replica identity full; drop publication trueup`)
	cfg = d.config(orderEntity + entity("nokey", ", v: {type: text}") + entity("byother", "") + entity("parts", ""))
	for _, f := range Check(t.Context(), cfg) {
		if f.Severity == capture.Fail {
			t.Errorf("%+v", f)
		}
	}
	r := first(t, cfg)
	d.exec(`create table parts1 partition of parts for values from (0) to (100); insert into parts values (1, 'x'), (2, 'y'); update parts set v = 'z' where id = 1`)
	want(t, r.caughtUp(d), "0 insert [1]: - -> id=1 v=x", "1 insert [2]: - -> id=2 v=y", "2 update [1]: - -> id=1 v=z")
	expect(t, findings(t, cfg), capture.Warn, "table public.parts", "ALTER TABLE public.parts1 REPLICA IDENTITY FULL")
	d.exec(`alter table parts1 replica identity full; create table parts2 partition of parts for values from (100) to (200)`)
	d.exec(`update parts set id = id + 100 where id = 1; delete from parts where id = 101; truncate parts`)
	want(t, r.caughtUp(d)[3:], "0 delete [1]: id=1 v=z -> -", "1 insert [101]: - -> id=101 v=z", "2 delete [101]: id=101 -> -", "3 truncate []: - -> -")
	by = findings(t, cfg)
	expect(t, by, capture.OK, "slot "+cfg.Slot, "is there")
	expect(t, by, capture.OK, "table public.orders", "4 columns")
}

// A role with what the grants guide gives works, and one with less is told
// what it lacks.
func TestCheckRights(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	name := get[string](d, "select current_database()")
	weak, strong := "weak_"+name, "strong_"+name
	d.exec(fmt.Sprintf("create role %s login; create role %s login replication", weak, strong))
	t.Cleanup(func() { dropRoles(t, d.dsn, weak, strong) })

	cfg := d.config(orderEntity)
	cfg.DSN = as(t, d.dsn, weak)
	by := findings(t, cfg)
	expect(t, by, capture.Fail, "role "+weak, "REPLICATION")
	expect(t, by, capture.Fail, "replication connection", "pg_hba.conf")
	expect(t, by, capture.Fail, "publication trueup", `CREATE PUBLICATION "trueup" FOR TABLE "public"."orders" WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)`)
	expect(t, by, capture.Warn, "table public.orders", "GRANT SELECT")
	if _, err := New(cfg).Open(t.Context(), "", ""); err == nil {
		t.Error("opened without the right to replicate")
	}
	if _, err := New(cfg).Empty(t.Context()); err == nil || !strings.Contains(err.Error(), "SELECT") {
		t.Error(err)
	}

	cfg.DSN = as(t, d.dsn, strong)
	if _, err := New(cfg).Open(t.Context(), "", ""); err == nil || !strings.Contains(err.Error(), "CREATE PUBLICATION") {
		t.Errorf("%v; want the statement for the owner", err)
	}
	d.exec(by["publication trueup"][0].Remedy)
	for _, f := range Check(t.Context(), cfg) {
		if f.Severity == capture.Fail {
			t.Errorf("%+v", f)
		}
	}
	// REPLICATION is enough to read every change; not even SELECT is needed.
	r := first(t, cfg)
	d.exec("insert into orders values (1)")
	want(t, r.caughtUp(d), "0 insert [1]: - -> id=1 status=NULL amount=NULL note=NULL")
	if r.caughtUp(d)[0].CommitTSMin == 0 {
		t.Error("no bound on the commit time")
	}

	cfg.DSN = as(t, d.dsn, "nobody_here")
	expect(t, findings(t, cfg), capture.Fail, "connection", "DSN")
	expect(t, findings(t, Config{Slot: "Bad-Slot"}), capture.Fail, "configuration", `slot "Bad-Slot"`)
}

func dropRoles(t *testing.T, dsn string, roles ...string) {
	// The database, and what the roles may do in it, is dropped before them or after: they own nothing.
	cfg := Config{DSN: dsn}
	ctx := context.Background() // the test's is done
	conn, err := cfg.connect(ctx)
	if err == nil {
		defer hangUp(conn)
		_, err = conn.Exec(ctx, "drop role "+strings.Join(roles, ", ")).ReadAll()
	}
	if err != nil {
		t.Logf("roles stay: %v", err)
	}
}

// Empty looks at every mapped table, hidden rows included.
func TestEmpty(t *testing.T) {
	d := newDB(t, createOrders, `create table "more rows" (id int primary key)`)
	s := New(d.config(orderEntity + `
  - name: more
    key: [id]
    legacy: {table: 'public."more rows"'}
    target: {table: shop.more}
    fields: {id: {type: integer}}
`))
	for _, step := range []struct {
		sql   string
		empty bool
	}{{"select", true}, {`insert into "more rows" values (1)`, false}, {`delete from "more rows"`, true}, {"insert into orders values (1)", false}} {
		d.exec(step.sql)
		if empty, err := s.Empty(t.Context()); err != nil || empty != step.empty {
			t.Errorf("after %s: empty %t, %v", step.sql, empty, err)
		}
	}
}

func TestValidateSaysEverything(t *testing.T) {
	err := (&Config{DSN: "postgres://u:secret@:bad/", Slot: "S", ProgressEvery: -1}).Validate()
	for _, says := range []string{"no side", "no name", "slot", "publication", "no rules", "negative"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; want %q in it", err, says)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("the password is in the error")
	}
}
