package postgres

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// catalog is everything that a check could leave behind: settings, roles,
// rights, slots, publications, tables and what they hold, of the whole server.
const catalog = `select string_agg(line, e'\n' order by line) from (
	select 'class ' || c.oid || relname || relkind::text || relreplident::text || relrowsecurity || coalesce(relacl::text, '') as line from pg_class c
	union all select 'column ' || attrelid || attname || atttypid || attisdropped from pg_attribute where attnum > 0
	union all select 'function ' || oid || proname || coalesce(proacl::text, '') from pg_proc
	union all select 'schema ' || oid || nspname || coalesce(nspacl::text, '') from pg_namespace
	union all select 'publication ' || p::text from pg_publication p
	union all select 'published ' || r::text from pg_publication_rel r
	union all select 'trigger ' || tgname from pg_trigger
	union all select 'role ' || a::text from pg_authid a
	union all select 'member ' || m::text from pg_auth_members m
	union all select 'for ' || s::text from pg_db_role_setting s
	union all select 'database ' || oid || datname || coalesce(datacl::text, '') from pg_database
	union all select 'setting ' || name || setting from pg_settings where name not in ('in_hot_standby') and source <> 'session'
	union all select 'slot ' || slot_name || coalesce(confirmed_flush_lsn::text, '') || coalesce(active_pid, 0) from pg_replication_slots
	union all select 'prepared ' || gid from pg_prepared_xacts
	union all select 'row ' || o::text from orders o) x`

// "Check changes nothing", whatever it finds: not the catalog, and no
// transaction took a number.
func TestCheckChangesNothing(t *testing.T) {
	t.Parallel()
	server, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Settings: map[string]string{"autovacuum": "off",
		"max_prepared_transactions": "5", "wal_sender_timeout": "2s", "logical_decoding_work_mem": "1MB", "synchronous_commit": "off"}})
	servertest.Check(t, err)
	stopLater(t, server)
	d := openDB(t, server.DSN, createOrders, "insert into orders values (1, 'x')",
		`create role "we ak" login; create role strong login replication; create role writer; grant usage on schema public to strong; grant select on orders to strong`,
		"alter role writer set synchronous_commit = off; alter database postgres set synchronous_commit = off; alter role writer in database postgres set synchronous_commit = off",
		"create publication mine for table orders with (publish_via_partition_root = true)", "create publication everything for all tables",
		"create table more (id int)",
		"select pg_create_logical_replication_slot('trueup_old_legacy_stdout', 'pgoutput'); select pg_create_logical_replication_slot('trueup_old_legacy', 'pgoutput')",
		"select pg_create_logical_replication_slot('theirs', 'pgoutput')",
		"begin; insert into orders values (2); prepare transaction 'it''s'")
	state := func() (string, string) {
		return get[string](d, catalog), get[string](d, "select pg_snapshot_xmax(pg_current_snapshot())::text")
	}
	was, xid := state()
	for _, role := range []string{"postgres", "we ak", "strong"} {
		for _, publication := range []string{"mine", "everything", "absent"} {
			cfg := d.config(orderEntity)
			cfg.DSN, cfg.Slot, cfg.Publication, cfg.Logger = as(t, server.DSN, role), "trueup_new_legacy", publication, slog.New(slog.DiscardHandler)
			by := findings(t, cfg)
			explained(t, by)
			if role == "strong" && publication == "everything" {
				expect(t, by, capture.Warn, "publication everything", "1 tables that are not mapped (public.more)")
			}
			if role != "postgres" || publication != "mine" {
				continue
			}
			expect(t, by, capture.Warn, "wal_sender_timeout", "2s")
			expect(t, by, capture.Warn, "logical_decoding_work_mem", "1024 kB")
			expect(t, by, capture.Warn, "synchronous_commit", "ALTER SYSTEM SET synchronous_commit = on")
			expect(t, by, capture.Warn, "synchronous_commit of role writer", `ALTER ROLE "writer" RESET synchronous_commit`)
			expect(t, by, capture.Warn, "synchronous_commit of database postgres", `ALTER DATABASE "postgres" RESET synchronous_commit`)
			expect(t, by, capture.Warn, "synchronous_commit of role writer in database postgres", `ALTER ROLE "writer" IN DATABASE "postgres" RESET synchronous_commit`)
			expect(t, by, capture.Warn, "slot trueup_old_legacy", "SELECT pg_drop_replication_slot('trueup_old_legacy')")
			expect(t, by, capture.Warn, "slot trueup_old_legacy_stdout", "capture --stdout")
			if by["slot theirs"] != nil {
				t.Error("somebody else's slot is spoken of")
			}
		}
	}
	if is, now := state(); is != was || now != xid {
		t.Errorf("next transaction %s, it was %s; these lines are new:", now, xid)
		old := strings.Split(was, "\n")
		for _, line := range strings.Split(is, "\n") {
			if !slices.Contains(old, line) {
				t.Error(line)
			}
		}
	}
	d.exec("rollback prepared 'it''s'")
}

// explained wants every subject, up to a name in it, in the operator's page.
func explained(t *testing.T, by map[string][]capture.Finding) {
	t.Helper()
	page, err := os.ReadFile("../../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	for subject := range by {
		words := strings.Fields(strings.ReplaceAll(subject, ",", ""))
		if !strings.Contains(string(page), "`"+words[0]+"`") && !strings.Contains(string(page), "`"+words[0]+" ") {
			t.Errorf("docs/postgres.md does not explain %q", subject)
		}
	}
}

// Transactions that have been open for long, by the statement that ends them.
func TestCheckOpenTransactions(t *testing.T) {
	k := &check{}
	pid := 42
	k.open(settings{Prepared: []prep{{"it's", "shop", 3600}, {"young", "shop", 3}}, OldestWriter: &pid, OldestWriterS: 700})
	k.open(settings{OldestWriter: &pid, OldestWriterS: 5})
	if len(k.findings) != 2 || !strings.Contains(k.findings[0].Remedy, "ROLLBACK PREPARED 'it''s'") || k.findings[0].Subject != "prepared transaction it's" ||
		!strings.Contains(k.findings[1].Remedy, "pg_terminate_backend(42)") {
		t.Errorf("%+v", k.findings)
	}
}

// "Rights (exactly what is needed, and what is too much)": each excess is
// named, with the statement that takes it away, which does.
func TestCheckExcessRights(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	name := "much_" + get[string](d, "select current_database()")
	d.exec(fmt.Sprintf(`create role %[1]s login replication createrole createdb bypassrls; grant pg_write_all_data, pg_execute_server_program to %[1]s;
		grant select, insert, truncate on orders to %[1]s; create publication trueup for table orders with (publish_via_partition_root = true)`, name))
	t.Cleanup(func() { dropRoles(t, d.dsn, name) })
	cfg := d.config(orderEntity)
	cfg.DSN = as(t, d.dsn, name)
	subject := "rights of " + name
	excess := func() (found []capture.Finding) {
		for _, f := range Check(t.Context(), cfg) {
			if f.Severity != capture.OK && (f.Subject == subject || f.Subject == "table public.orders") {
				found = append(found, f)
			}
		}
		return found
	}
	by := findings(t, cfg)
	for _, says := range []string{"CREATEROLE", "CREATEDB", "BYPASSRLS", "pg_write_all_data", "pg_execute_server_program"} {
		expect(t, by, capture.Warn, subject, says)
	}
	expect(t, by, capture.Warn, "table public.orders", "by this migration.yaml nothing is written")
	for _, f := range excess() {
		d.exec(f.Remedy)
	}
	if left := excess(); len(left) != 0 {
		t.Errorf("the remedies left %+v", left)
	}
	expect(t, findings(t, cfg), capture.OK, subject, "no more than needed")

	// A login that repairs has to write; where policies hide rows, nothing less than BYPASSRLS shows them.
	d.exec(fmt.Sprintf("grant insert on orders to %s; alter table orders enable row level security", name))
	cfg.Repairs = true
	by = findings(t, cfg)
	if len(excess()) != 1 {
		t.Errorf("%+v", excess())
	}
	expect(t, by, capture.Warn, "table public.orders", "would miss rows")
	d.exec(by["table public.orders"][0].Remedy)
	if left := excess(); len(left) != 0 {
		t.Errorf("with the right that policies need: %+v", left)
	}
	if _, err := New(cfg).Empty(t.Context()); err != nil {
		t.Error(err)
	}
	expect(t, findings(t, d.config(orderEntity)), capture.Warn, "rights of postgres", "superuser")
	d.exec("drop owned by " + name) // else its rights keep it from being dropped
}

// "Clock offset of the server against ours with its error."
func TestCheckClock(t *testing.T) {
	t.Parallel()
	d := newDB(t, createOrders)
	cfg := d.config(orderEntity)
	expect(t, findings(t, cfg), capture.OK, "clock", "±")
	for skew, says := range map[time.Duration]string{-5 * time.Second: "ahead", 5 * time.Second: "behind"} {
		cfg.Clock = func() time.Time { return time.Now().Add(skew) }
		expect(t, findings(t, cfg), capture.Warn, "clock", says)
	}
}
