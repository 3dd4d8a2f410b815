package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/stream"
)

// lookBench is a registry with the file of a rollout beside its documents.
type lookBench struct {
	t         *testing.T
	dir       string
	at, more  []string // flags of all commands, and of those that look
	file, has string
}

func newLookBench(t *testing.T, has string) *lookBench {
	t.Helper()
	dir := t.TempDir()
	b := &lookBench{t: t, dir: dir, at: []string{"--data-dir=" + filepath.Join(dir, "registry")}, has: has}
	b.stage("off")
	return b
}

func (b *lookBench) write(name, text string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *lookBench) stage(stage string) {
	b.file = rolloutFile(b.t, b.dir, "orders", stage, "off", b.has)
}

// run wants a text in what a command prints, or in its error.
func (b *lookBench) run(want string, args ...string) string {
	b.t.Helper()
	out, err := rolloutOutput(b.t, append(args, b.at...)...)
	if err != nil {
		out += err.Error()
	}
	if !strings.Contains(out, want) {
		b.t.Fatalf("%v: want %q, have %s", args, want, out)
	}
	return out
}

func (b *lookBench) plan(want string, exit int) {
	b.t.Helper()
	args := append([]string{"plan", "-f", b.file}, append(b.more, b.at...)...)
	out, err := rolloutOutput(b.t, args...)
	if !strings.Contains(out, want) || exitCode(err) != exit {
		b.t.Fatalf("want %q and %d, have %s, %v", want, exit, out, err)
	}
}

func (b *lookBench) apply(want string) {
	b.t.Helper()
	id := planID.FindStringSubmatch(b.run("plan ", append([]string{"plan", "-f", b.file}, b.more...)...))[1]
	measured := b.write("measured.json", fmt.Sprintf(`{"at": %[1]q, "frontier": %[1]q, "covered_at": %[1]q, "samples": {"divergence": {"count": 0, "of": 100, "from": %[2]q, "to": %[1]q}}}`,
		time.Now().UTC().Format(time.RFC3339Nano), time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)))
	b.run(want, append([]string{"apply", "-f", b.file, "--plan", id, "--why", "it is time", "--as", "ann", "--measured", "orders=" + measured}, b.more...)...)
}

func (b *lookBench) approve(want string) {
	b.t.Helper()
	b.run(want, append([]string{"approve", "-f", b.file, "--why", "clients know", "--as", "bob"}, b.more...)...)
}

const lookGate = `
gates:
  shadow: [{name: few, condition: divergence < 0.1, window: 1m, minSamples: 10}]
  dual_write: [{name: few, condition: divergence < 0.1, window: 1m, minSamples: 10}]
`

// A contract that breaks, and a consumer of an old version: named, held, agreed to, and held again
// when more breaks than was agreed to. Back it goes without a word.
func TestI37_RolloutThatDoesNotFit(t *testing.T) {
	b := newLookBench(t, `compatibility:
  contracts: [{name: orders-api, old: v1.yaml, new: v2.yaml, before: shadow}]
  consumers: [{name: orders-api, supported: ["2"], before: shadow}]`+lookGate)
	b.apply("at off, revision 1")
	text, err := os.ReadFile("../../rollout/compat/contract/testdata/orders-v1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	v1 := string(text)
	b.write("v1.yaml", v1)
	b.stage("shadow")
	b.plan("unknown      orders-api, v2.yaml: there is no such document that can be read (not-read)", 1)
	b.write("v2.yaml", v1)
	b.plan("consumers orders-api: not known\n      unknown      orders-api, what was seen: nobody watched who uses it (not-observed)", 1)
	b.apply("it is not known whether consumers orders-api fits")

	now := time.Now().UTC()
	seen := func(version string) string {
		return fmt.Sprintf(`{"kind":"observed","contract":"orders-api","from":%q,"to":%q}`, now.Add(-8*24*time.Hour).Format(time.RFC3339), now.Add(-time.Minute).Format(time.RFC3339)) + "\n" +
			fmt.Sprintf(`{"kind":"consumer","contract":"orders-api","consumer":"checkout","version":%q,"last_seen":%q,"requests":12}`, version, now.Add(-time.Hour).Format(time.RFC3339)) + "\n"
	}
	b.more = []string{"--consumers", b.write("seen.jsonl", seen("1"))}
	b.plan("incompatible orders-api, consumer checkout, version 1: it was seen within 168h0m0s on what is not one of 2 (old-version)\n                   last seen at ", 1)
	b.plan("blocked: orders: 1 findings say that it does not fit, so it needs 1 approvals of others who have seen them, and has 0", 1)
	b.apply("needs 1 approvals of others who have seen them")
	b.approve("incompatible orders-api, consumer checkout, version 1")
	b.plan("plan ", 0)

	// What breaks since was not agreed to: the approval is gone.
	b.write("v2.yaml", strings.Replace(v1, "  /orders:\n    post:", "  /purchases:\n    post:", 1))
	b.plan("incompatible orders-api, POST /orders: ", 1)
	b.apply("2 findings say that it does not fit, 1 of which nobody has agreed to")
	b.write("v2.yaml", v1)
	b.apply("needs 1 approvals of others who have seen them, and has 0")

	b.approve("revision 1, epoch 1, approved by bob")
	b.apply("at shadow, revision 2")
	if out := b.run(`"compatibility":{"at":`, "history"); !strings.Contains(out, `"v":5`) {
		t.Errorf("have %s", out)
	}
	var line planLine
	if err := json.Unmarshal([]byte(b.run(`"kind":"plan"`, append([]string{"plan", "-f", b.file, "--json"}, b.more...)...)), &line); err != nil {
		t.Fatal(err)
	}

	// Forward again it is looked at again; back, and killed, it is not.
	b.stage("dual_write")
	b.more = nil
	b.plan("unknown      orders-api, what was seen", 1)
	b.stage("off")
	b.plan("plan ", 0)
	b.apply("at off, revision 3")
	b.more = []string{"--consumers", b.write("seen.jsonl", "{\"kind\":\"consumer\"}\n")}
	b.stage("shadow")
	b.run("seen.jsonl:1: it names no contract", append([]string{"plan", "-f", b.file}, b.more...)...)
	b.run("killed by", "kill", "orders", "--why", "x", "--as", "ann")
}

// What was announced to last is not gone before without a word.
func TestI37_RolloutBeforeItsSunset(t *testing.T) {
	now := time.Now().UTC()
	b := newLookBench(t, "")
	for name, days := range map[string]int{"early": 30, "due": -1} {
		has := fmt.Sprintf("deprecation: {what: the old API, deprecated: 2025-01-01, sunset: %s, replacement: the new one}", now.AddDate(0, 0, days).Format(time.DateOnly))
		b.file = rolloutFile(t, b.dir, name, "off", "off", has)
		apply := func(want string, more ...string) {
			t.Helper()
			id := planID.FindStringSubmatch(b.run("plan ", "plan", "-f", b.file))[1]
			b.run(want, append([]string{"apply", "-f", b.file, "--plan", id, "--why", "x", "--as", "ann", "--without-evidence", name}, more...)...)
		}
		b.run("plan ", "plan", "-f", b.file)
		id := planID.FindStringSubmatch(b.run("plan ", "plan", "-f", b.file))[1]
		b.run("at off", "apply", "-f", b.file, "--plan", id, "--why", "x", "--as", "ann")
		for _, stage := range []string{"shadow", "dual_write", "shadow_read"} {
			b.file = rolloutFile(t, b.dir, name, stage, "off", has)
			apply("at " + stage)
		}
		b.file = rolloutFile(t, b.dir, name, "ramp", "off", "ramp: 100%\n"+has)
		apply("at ramp 100%")
		b.file = rolloutFile(t, b.dir, name, "target_primary", "target_primary", has)
		apply("at target_primary")
		b.file = rolloutFile(t, b.dir, name, "complete", "target_primary", has)
		want := map[string]string{"early": "the old API was announced to last until", "due": "deprecation: fits"}[name]
		b.run(want, "plan", "-f", b.file)
		if name == "early" {
			apply("needs 1 approvals")
		}
	}
}

// The tables of two real stores: what does not fit is named, is mended, and goes forward.
func TestI34_RolloutLooksAtTheStores(t *testing.T) {
	legacy := servertest.PostgresDatabase(t)
	target, database := servertest.MariaDBDatabase(t)
	statement := func(driver, dsn, text string) {
		t.Helper()
		db, err := sql.Open(driver, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	statement("pgx", legacy, "create table orders (id bigint primary key, total numeric(12,2) not null, note text)")
	statement("mysql", target, "create table orders (id bigint primary key, total decimal(10,2) not null, note varchar(20) not null, extra int not null)")
	migration := writeMigration(t, fmt.Sprintf(`apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
stores:
  legacy: {driver: postgres, dsn: "file:legacy.dsn"}
  target: {driver: mariadb, dsn: "file:target.dsn"}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: %s.orders}
    fields: {id: {type: integer}, total: {type: decimal, scale: 2}, note: {type: text}}
`, database), legacy, target)
	m, err := loadMigration(migration)
	if err != nil {
		t.Fatal(err)
	}
	log, err := stream.Open(t.Context(), logConfig(m, nil)) // as trueup run has it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	b := newLookBench(t, "migration: orders\ncompatibility: {schemas: {}}"+lookGate)
	b.apply("at off, revision 1")
	b.stage("shadow")
	b.plan("unknown      orders, migration.yaml: it is not said where the file of migration orders is", 1)
	b.more = []string{"--migration", migration}
	for _, want := range []string{
		"order, target " + database + ".orders.extra: it is NOT NULL and has no default, and nothing of legacy fills it",
		"order, target " + database + ".orders.note: it is NOT NULL, and note of legacy may be NULL",
		"order, target " + database + ".orders.note: varchar(20) for note of legacy (text): it has 20 characters, and there may be more",
		"order, target " + database + ".orders.total: decimal(10,2) for total of legacy (numeric(12,2)): it has 8 digits before the point, and there are 10",
		"note         order, target " + database + ".orders.total: decimal(10,2) for total of legacy (numeric(12,2)): it has no place for \"NaN\"",
	} {
		b.plan(want, 1)
	}
	b.apply("4 findings say that it does not fit, so it needs 1 approvals")
	statement("mysql", target, "alter table orders modify total decimal(12,2) not null, modify note longtext, alter extra set default 0")
	b.plan("schemas: fits", 0)
	b.apply("at shadow, revision 2")
	if err := os.WriteFile(filepath.Join(filepath.Dir(migration), "target.dsn"), []byte("u:p@tcp(127.0.0.1:1)/x"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.stage("dual_write")
	b.plan("unknown      orders, stores.target: ", 1)
	b.stage("off")
	b.apply("at off, revision 3")
}
