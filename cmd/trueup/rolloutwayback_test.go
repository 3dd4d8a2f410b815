package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// writeOneSided has a log until the test's end, in which the target alone has key 2, from now on.
func writeOneSided(t *testing.T, m *schemas.Migration, rules *schemas.Rules) {
	t.Helper()
	dir, err := datadir.Claim(m.DataDir, m.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Release(); err != nil {
		t.Fatal(err)
	}
	log, err := stream.Open(t.Context(), logConfig(m, nil))
	if err != nil {
		t.Fatal(err)
	}
	w, err := log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	var records []stream.Record
	add := func(rec schemas.Record) {
		records = append(records, stream.Record{Topic: log.Topics().Changes, Value: schemas.AppendRecord(nil, &rec)})
	}
	at := schemas.MicrosOf(time.Now().Add(time.Second)) // behind the crossing
	for i, one := range []struct {
		side schemas.Side
		key  string
	}{{schemas.Legacy, "1"}, {schemas.Target, "1"}, {schemas.Target, "2"}} {
		add(schemas.Record{Change: &schemas.Change{EventID: schemas.EventID{Source: one.side.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", i+1)},
			Side: one.side, Entity: "item", Key: []string{one.key}, Op: schemas.OpInsert, Txn: fmt.Sprint(i), TxnRows: 1, CommitTS: at, Mapping: rules.Version, Digest: schemas.Digest{7},
			After: schemas.Row{{Name: "id", Text: one.key}, {Name: "name", Text: "x"}}}})
	}
	for _, s := range schemas.Sides {
		add(schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", 9), TS: at}})
	}
	if err := errors.Join(w.Write(t.Context(), records...), w.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
}

// "Before a rollback: what would be lost …, and the point of no return, computed from the log":
// the plan of each step that nears, passes or goes back from it says so.
func TestThePlanSaysWhatBecomesOfTheWayBack(t *testing.T) {
	dir := t.TempDir()
	migration := filepath.Join(dir, "migration.yaml")
	text := strings.Replace(oneItem, "DATA", filepath.Join(dir, "data"), 1)
	if err := os.WriteFile(migration, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := loadMigration(migration)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	at := "--data-dir=" + filepath.Join(dir, "registry")
	plan := func(stage, more string, args ...string) (id, out string) {
		t.Helper()
		safe := "shadow_read"
		if stage == "target_primary" || stage == "complete" {
			safe = "target_primary"
		}
		file := rolloutFile(t, dir, "items", stage, safe, "migration: items\n"+more)
		out, err := rolloutOutput(t, append([]string{"plan", "-f", file, at}, args...)...)
		if err != nil {
			t.Fatalf("%s, %v", out, err)
		}
		return planID.FindStringSubmatch(out + "plan 0123456789abcdef\n")[1], out
	}
	apply := func(stage, more string) {
		t.Helper()
		id, _ := plan(stage, more)
		if out, err := rolloutOutput(t, "apply", "-f", filepath.Join(dir, "items.yaml"), "--plan", id, "--why", "x", "--without-evidence", "items", at); err != nil {
			t.Fatal(out, err)
		}
	}
	says := func(want, out string) {
		t.Helper()
		if !strings.Contains(out, want) {
			t.Errorf("want %q, have:\n%s", want, out)
		}
	}
	for _, stage := range []string{"off", "shadow", "dual_write", "shadow_read"} {
		if _, out := plan(stage, ""); strings.Contains(out, "way back") || strings.Contains(out, "no return") {
			t.Errorf("a step that changes nothing about the way back speaks of it:\n%s", out)
		}
		apply(stage, "")
	}
	_, out := plan("ramp", "ramp: 100%")
	says("    nears the point of no return: going back from there loses what the target alone has by then\n    now going back loses nothing: legacy has authority for all keys\n", out)
	apply("ramp", "ramp: 100%")
	writeOneSided(t, m, rules)
	const lost = "going back loses what 1 of 2 keys are on the target alone, the oldest since "
	_, out = plan("target_primary", "", "--migration", migration)
	says("    nears the point of no return: ", out)
	says("    now "+lost, out)
	_, out = plan("target_primary", "")
	says("    what that is now is not known: migration items: it is not said where its log is", out)
	apply("target_primary", "")
	_, out = plan("complete", "", "--migration", migration)
	says("    passes the point of no return: legacy is not written behind it, and there is no way back\n    now "+lost, out)
	_, out = plan("shadow_read", "", "--migration", migration)
	says("    goes back: what keys are on the target alone is lost\n    now "+lost, out)
	_, out = plan("complete", "", "--migration", migration, "--json")
	says(`{"kind":"undo_cost","flag":"items","place":"target_primary","since":"`, out)
	says(`"keys":2,"lost":1,`, out)
	says(`"way_back":"ends"`, out)
	apply("complete", "")
	if out, err := rolloutOutput(t, "undo-cost", "items", "-f", migration, at); !errors.Is(err, exitStatus(exitDiverged)) || !strings.Contains(out, "there is no way back: legacy is not written since ") {
		t.Errorf("have %s, %v", out, err)
	}
}
