package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/stream"
)

// reporting is a server with a migration whose pipeline is played: it writes what it measured.
type reporting struct {
	*testing.T
	url, migration, at, dir string
	window                  string // of the gate
	log                     *stream.Log
	writer                  *stream.Writer
	client                  *http.Client
}

// readsMove is a rollout whose gate asks what the application alone knows.
func (r *reporting) readsMove(stage string) string {
	r.Helper()
	return rolloutFile(r.T, r.dir, "items", stage, "off", `migration: items
gates:
  shadow:
    - {name: right, condition: read_mismatch < 0.1 && write_errors < 0.1, window: `+r.window+`, minSamples: 100}
`)
}

func newReporting(t *testing.T, window string) *reporting {
	t.Helper()
	dir := t.TempDir()
	r := &reporting{T: t, dir: dir, migration: filepath.Join(dir, "migration.yaml"), at: "--data-dir=" + filepath.Join(dir, "registry"), window: window,
		client: &http.Client{}}
	for name, text := range map[string]string{
		"migration.yaml": strings.Replace(oneItem, "DATA", filepath.Join(dir, "data"), 1),
		"tokens": fmt.Sprintf("app %x roles=router\nann %x roles=operator,viewer\nroot %x roles=admin\n", sha256.Sum256([]byte("token of app")), sha256.Sum256([]byte("token of ann")),
			sha256.Sum256([]byte("token of root"))),
		"access.yaml": "apiVersion: trueup/v1\nkind: Access\ngrants:\n  - {role: router, to: app, rollouts: items}\n  - {role: operator, to: ann}\n  - {role: viewer, to: ann}\n  - {role: admin, to: root}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := loadMigration(r.migration)
	if err != nil {
		t.Fatal(err)
	}
	claimed, err := datadir.Claim(m.DataDir, m.Name)
	if err == nil {
		err = claimed.Release()
	}
	if err == nil {
		r.log, err = stream.Open(t.Context(), logConfig(m, nil))
	}
	if err == nil {
		r.writer, err = r.log.Writer()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		if err := errors.Join(r.writer.Close(), r.log.Close()); err != nil {
			t.Error(err)
		}
	})
	_, r.url = started(t, true, "serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--tokens", filepath.Join(dir, "tokens"), "--access", filepath.Join(dir, "access.yaml"),
		"--migration", r.migration, r.at)
	return r
}

// measured has the pipeline say that all was well over a time.
func (r *reporting) measured(from, to time.Time) {
	r.Helper()
	one := measure.Record{Version: 1, Run: "a", From: from, To: to, Frontier: to, CoveredAt: to, Looks: 10}
	value, err := one.Encode()
	if err == nil {
		err = r.writer.Write(r.Context(), stream.Record{Topic: r.log.Topics().Measured, Value: value})
	}
	if err != nil {
		r.Fatal(err)
	}
}

func (r *reporting) ask(who, path string, body map[string]any, want string) string {
	r.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		r.Fatal(err)
	}
	q, err := http.NewRequestWithContext(r.Context(), http.MethodPost, r.url+path, strings.NewReader(string(text)))
	if err != nil {
		r.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer token of "+who)
	resp, err := r.client.Do(q)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(said), want) {
		r.Fatalf("%s %s: want %s, have %d %s, %v", who, path, want, resp.StatusCode, said, err)
	}
	return string(said)
}

// report has the application say what it saw of its reads, twice.
func (r *reporting) report(from, to time.Time, mismatched int) {
	r.Helper()
	for range 2 {
		r.ask("app", "/v1/reports", map[string]any{"flag": "items", "reporter": "checkout-1", "from": from, "to": to,
			"reads": map[string]any{"of": 100, "mismatched": mismatched}, "writes": map[string]any{"of": 100}}, `"reporter":"app/checkout-1"`)
	}
}

// gate judges the gate before shadow.
func (r *reporting) gate(want string, code int) {
	r.Helper()
	out, err := rolloutOutput(r.T, "gate", r.readsMove("off"), "--stage", "shadow", "--migration", r.migration, "--json")
	var status exitStatus
	if errors.As(err, &status); int(status) != code || err != nil && status == 0 || !strings.Contains(out, want) {
		r.Errorf("want %s, exit %d, have %s, %v", want, code, out, err)
	}
}

// definitions is what a request says of the rollout at a stage.
func (r *reporting) definitions(stage string) []string {
	r.Helper()
	text, err := os.ReadFile(r.readsMove(stage))
	if err != nil {
		r.Fatal(err)
	}
	return []string{string(text)}
}

// apply makes the rollout stand at a stage.
func (r *reporting) apply(stage, want string) {
	r.Helper()
	files := r.definitions(stage)
	var plan struct{ ID string }
	if err := json.Unmarshal([]byte(r.ask("ann", "/v1/plan", map[string]any{"definitions": files}, `"id"`)), &plan); err != nil {
		r.Fatal(err)
	}
	r.ask("ann", "/v1/apply", map[string]any{"definitions": files, "plan": plan.ID, "why": "it is time"}, want)
}

// oneItem is a migration of one entity, with its log in DATA.
const oneItem = `apiVersion: trueup/v1
kind: Migration
metadata: {name: items, owner: team}
stores:
  legacy: {driver: postgres, dsn: "env:X"}
  target: {driver: mariadb, dsn: "env:Y"}
log: {partitions: 1}
dataDir: DATA
entities:
  - name: item
    key: [id]
    legacy: {table: public.item}
    target: {table: shop.item}
    fields: {id: {type: integer}, name: {type: text}}
    settleWindow: 1s
`

// "The application knows": what it reports over HTTP stands on the log beside what the pipeline
// measures; gates pass, fail and are unknown by it, and what is told twice counts once.
func TestGatesJudgeByWhatTheApplicationReports(t *testing.T) {
	r := newReporting(t, "20s")
	r.apply("off", `"place":"off"`)
	now := time.Now()
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds-40) * time.Second) }
	r.measured(at(0), at(40))
	r.gate(`"reason":"no_data: read_mismatch"`, exitInconclusive)
	r.report(at(10), at(20), 4)
	r.gate(`"reason":"short_window: read_mismatch"`, exitInconclusive)
	r.report(at(20), at(30), 4)
	r.gate(`"read_mismatch@20s":{"count":8,"of":200,`, exitClean)
	r.report(at(30), at(40), 40)
	r.gate(`"read_mismatch@20s":{"count":44,"of":200,`, exitDiverged)
	r.ask("ann", "/v1/reports", map[string]any{"flag": "items", "reporter": "checkout-1", "from": at(30), "to": at(40)}, "ann may not report items")
	r.ask("app", "/v1/reports", map[string]any{"flag": "items", "reporter": "checkout-2", "from": at(30), "to": at(39)}, `"reporter":"app/checkout-2"`)
	r.ask("app", "/v1/reports", map[string]any{"flag": "items", "reporter": "checkout-2", "from": at(39).Add(time.Millisecond), "to": at(40)}, `"reporter":"app/checkout-2"`)
	r.gate(`partial (not measured from `, exitInconclusive)
}

// "Revive with evidence, by the same rules": over HTTP a kill ends where the gate passes what the
// migration has measured since it, and nobody's word stands in for that but an admin's.
func TestI34_AKillEndsByEvidence(t *testing.T) {
	r := newReporting(t, "1s")
	r.apply("off", `"place":"off"`)
	files := r.definitions("shadow")
	var plan struct{ ID string }
	if err := json.Unmarshal([]byte(r.ask("root", "/v1/plan", map[string]any{"definitions": files}, `"id"`)), &plan); err != nil {
		t.Fatal(err)
	}
	r.ask("root", "/v1/apply", map[string]any{"definitions": files, "plan": plan.ID, "why": "x", "without_evidence": []string{"items"}}, `"place":"shadow"`)
	r.ask("ann", "/v1/kill", map[string]any{"flags": []string{"items"}, "why": "slow"}, `"place":"off"`)
	killed := time.Now()
	revive := map[string]any{"flag": "items", "why": "it is fast"}
	r.measured(killed.Add(-40*time.Second), killed)
	r.report(killed.Add(-40*time.Second), killed, 0) // of before the kill
	r.ask("ann", "/v1/revive", revive, "the gate before shadow says unknown")
	second := func(mismatched int) {
		t.Helper()
		from := killed
		killed = killed.Add(1100 * time.Millisecond)
		pause(t.Context(), time.Until(killed))
		r.measured(from, killed)
		r.report(from, killed, mismatched)
	}
	second(40)
	r.ask("ann", "/v1/revive", revive, "the gate before shadow says fail")
	r.ask("ann", "/v1/revive", map[string]any{"flag": "items", "why": "x", "without_evidence": []string{"items"}}, "ann may not override items")
	second(1)
	r.ask("ann", "/v1/revive", revive, `"place":"shadow"`)

	r.ask("ann", "/v1/kill", map[string]any{"flags": []string{"items"}, "why": "slow"}, `"place":"off"`)
	args := []string{"revive", "items", "--why", "it is fast", r.at}
	if out, err := rolloutOutput(t, args...); err == nil || !strings.Contains(err.Error(), "nothing was measured") {
		t.Errorf("have %s, %v", out, err)
	}
	args = append(args, "--migration", r.migration)
	if out, err := rolloutOutput(t, args...); err == nil || !strings.Contains(err.Error(), "the gate before shadow says unknown") || !strings.Contains(out, "unknown") {
		t.Errorf("have %s, %v", out, err)
	}
	from := killed
	killed = time.Now()
	r.measured(from, killed)
	second(0)
	if out, err := rolloutOutput(t, args...); err != nil || !strings.Contains(out, "at shadow") {
		t.Errorf("have %s, %v", out, err)
	}
}
