package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// A topic on which a divergence was never published: the audit says so, its
// report can be handed on, and other rules make the divergence go away.
func TestAuditOfATopicAndItsReport(t *testing.T) {
	dir := t.TempDir()
	const migration = `apiVersion: trueup/v1
kind: Migration
metadata: {name: lab, owner: team-lab}
stores:
  legacy: {driver: postgres, dsn: "env:NOT_NEEDED"}
  target: {driver: mariadb, dsn: "env:NOT_NEEDED"}
log: {partitions: 2}
entities:
  - name: measure
    key: [id]
    legacy: {table: public.measures}
    target: {table: lab.measures}
    fields:
      id: {type: integer}
      v: {type: float%s}
    settleWindow: 2s
`
	path, other := filepath.Join(dir, "migration.yaml"), filepath.Join(dir, "other.yaml")
	for p, more := range map[string]string{path: "", other: ", relative: 1e-6"} {
		if err := os.WriteFile(p, fmt.Appendf(nil, migration, more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := loadMigration(path)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	writeMeasures(t, m, rules)

	code := func(want int, args ...string) (out, complain string) {
		t.Helper()
		out, complain, err := execute(t.Context(), args...)
		got := exitClean
		if status := exitStatus(0); errors.As(err, &status) {
			got = int(status)
		} else if err != nil {
			got = exitError
			complain += err.Error()
		}
		if got != want {
			t.Errorf("%v: exit code %d, want %d: %s", args, got, want, complain)
		}
		return out, complain
	}
	reportDir := filepath.Join(dir, "report")
	out, complain := code(exitDiverged, "audit", "-f", path, "--json", "--report", reportDir)
	for _, says := range []string{`"kind":"divergence"`, `"class":"missing"`, `"missing":1`, `"diverged":1`} {
		if !strings.Contains(out, says) {
			t.Errorf("the audit does not say %s:\n%s", says, out)
		}
	}
	key := regexp.MustCompile(`--key '([^']+)'`).FindStringSubmatch(complain)
	if key == nil {
		t.Fatalf("no key is named: %s", complain)
	}
	out, _ = code(exitDiverged, "audit", "verify", reportDir, "--key", key[1])
	if !strings.Contains(out, "not_faithful") || !strings.Contains(out, "One event follows from the log and was not published.") {
		t.Errorf("verify: %s", out)
	}
	page := filepath.Join(reportDir, "report.html")
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte(strings.Replace(string(b), "not published", "published", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, complain = code(exitError, "audit", "verify", reportDir, "--key", key[1]); !strings.Contains(complain, "report.html: it is not the file that was signed") {
		t.Errorf("a page that was changed: %s", complain)
	}
	_, complain = code(exitError, "audit", "-f", path, "--report", reportDir)
	if !strings.Contains(complain, "not written over") {
		t.Errorf("a report over a report: %s", complain)
	}

	out, _ = code(exitClean, "audit", "-f", path, "--rules", other, "--json")
	for _, says := range []string{`"class":"gone"`, `"gone":1,"new":0,"changed":0`, `"diverged":0`} {
		if !strings.Contains(out, says) {
			t.Errorf("what if: it does not say %s:\n%s", says, out)
		}
	}
	for what, args := range map[string][]string{
		"exclude one another":                 {"audit", "-f", path, "--file", "x"},
		"name a log":                          {"audit"},
		"--from ":                             {"audit", "-f", path, "--from", "yesterday"},
		"leave --rules and --what-if out":     {"audit", "-f", path, "--rules", other, "--report", filepath.Join(dir, "no")},
		"with -f, --rules and --what-if are":  {"audit", "-f", path, "--rules", other, "--what-if", other},
		"name the key":                        {"audit", "verify", reportDir},
		"none that reports are verified with": {"audit", "verify", reportDir, "--key", "nonsense"},
	} {
		if _, complain := code(exitError, args...); !strings.Contains(complain, what) {
			t.Errorf("%v does not say %q: %s", args, what, complain)
		}
	}
}

// writeMeasures writes a log in which one of two keys differs a little.
func writeMeasures(t *testing.T, m *schemas.Migration, rules *schemas.Rules) {
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
	e, _ := rules.Entity("measure")
	var records []stream.Record
	every := func(rec schemas.Record) {
		for p := range int32(2) {
			records = append(records, stream.Record{Topic: log.Topics().Changes, Partition: p, Value: schemas.AppendRecord(nil, &rec)})
		}
	}
	const at = schemas.Micros(1_790_000_000_000_000)
	every(schemas.Record{Control: &schemas.Control{Rules: rules.Version, Baseline: schemas.BaselineEmpty}})
	for i, one := range []struct {
		side   schemas.Side
		key, v string
	}{{schemas.Legacy, "1", "1.5"}, {schemas.Legacy, "2", "2.5"}, {schemas.Target, "1", "1.5"}, {schemas.Target, "2", "2.500000001"}} {
		records = append(records, stream.Record{Topic: log.Topics().Changes, Partition: stream.Partition(e.PartitionKey([]string{one.key}), 2),
			Value: schemas.AppendRecord(nil, &schemas.Record{Change: &schemas.Change{EventID: schemas.EventID{Source: one.side.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", i+1)},
				Side: one.side, Entity: "measure", Key: []string{one.key}, Op: schemas.OpInsert, Txn: fmt.Sprint(i), TxnRows: 1, CommitTS: at,
				After: schemas.Row{{Name: "id", Text: one.key}, {Name: "v", Text: one.v}}}})})
	}
	for _, s := range schemas.Sides {
		every(schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", 9), TS: at + 60_000_000}})
	}
	if err := errors.Join(w.Write(t.Context(), records...), w.Close(), log.Close()); err != nil {
		t.Fatal(err)
	}
}
