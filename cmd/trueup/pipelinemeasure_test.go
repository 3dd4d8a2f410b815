package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// itemsMove is a rollout up to the criteria before its shadow.
const itemsMove = `apiVersion: trueup/v1
kind: Rollout
metadata: {name: items, owner: team}
description: Items move.
controls: routing
intent: permanent
migration: repairs
stage: "off"
safeStage: "off"
gates:
  shadow:
`

// measuring is a pipeline over two stores of items that reports what differs.
func measuring(t *testing.T) *repairing {
	t.Helper()
	return newRepairing(t, [3]string{"", "postgres", "mariadb"}, `  - name: item
    key: [id]
    legacy: {table: LEGACY.item}
    target: {table: TARGET.item}
    fields: {id: {type: integer}, name: {type: text}}
    settleWindow: 500ms
    compensate: {mode: report}
`, map[string]string{"item": "id int primary key, name varchar(20)"}, "item")
}

// "The pipeline measures": a gate over real stores passes on what it wrote to the log, and
// fails once the stores differ; what it says can be asked of the past.
func TestI34_GatesJudgeByWhatIsMeasured(t *testing.T) {
	r := measuring(t)
	const definition = itemsMove + `    - {name: equal, condition: divergence < 0.01 && open_divergences < 1 && unknown < 0.5 && target_lag_ms < 60000, window: 3s, minSamples: 1}
    - {name: soon, condition: time_to_consistency_p99_ms < 60000 && repair_backlog < 100, window: 2s, minSamples: 1}
rollback:
  grace: 1ms
  shadow:
    - {name: burning, when: divergence > 0.001, windows: [1m, 3s]}
`
	file, ahead := filepath.Join(t.TempDir(), "rollout.yaml"), filepath.Join(t.TempDir(), "ahead.yaml")
	for path, text := range map[string]string{file: definition, ahead: strings.Replace(definition, `stage: "off"`, "stage: shadow", 1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	gate := func(want string, code int, args ...string) string {
		t.Helper()
		last := ""
		r.until("the gate says "+want, func() bool {
			if n++; len(args) == 0 { // there is always something to compare
				r.both(fmt.Sprintf("insert into item (id, name) values (%d, 'x')", n), fmt.Sprintf("insert into item (id, name) values (%d, 'x')", -n))
			}
			out, err := rolloutOutput(t, append([]string{"gate", file, "--stage", "shadow", "--migration", r.path, "--json"}, args...)...)
			var status exitStatus
			if err != nil && !errors.As(err, &status) {
				t.Fatalf("%s, %v", out, err)
			}
			last = out
			return strings.Contains(out, want) && int(status) == code
		})
		return last
	}
	passed := gate(`}],"verdict":"pass"}`, exitClean)
	r.exec(schemas.Legacy, "insert into item (id, name) values (1000000, 'alone')")
	failed := gate(`}],"verdict":"fail"}`, exitDiverged)
	t.Logf("%s%s", passed, failed)
	at := strings.SplitN(strings.SplitN(passed, `"at":"`, 2)[1], ".", 2)[0] + "Z"
	gate(`}],"verdict":"`, exitInconclusive, "--at", "2020-01-01T00:00:00Z")
	out, _ := rolloutOutput(t, "gate", file, "--stage", "shadow", "--migration", r.path, "--json", "--at", at)
	if !strings.Contains(out, `"at":"`+at) || strings.Contains(out, `"verdict":"fail"`) {
		t.Errorf("the past is judged by what came later: %s", out)
	}
	r.until("rehearsed: it goes back", func() bool { // a share needs writes and divergences in each of its windows
		n++
		r.both(fmt.Sprintf("insert into item (id, name) values (%d, 'x')", n), fmt.Sprintf("insert into item (id, name) values (%d, 'x')", -n))
		r.exec(schemas.Legacy, fmt.Sprintf("insert into item (id, name) values (%d, 'alone')", 1_000_000+n))
		out, err := rolloutOutput(t, "rehearse", ahead, "--migration", r.path, "--from", at)
		return errors.Is(err, exitStatus(exitDiverged)) && strings.Contains(out, " goes back to off: burning (divergence > 0.001): over 1m0s divergence is ")
	})
	if out, err := rolloutOutput(t, "rehearse", ahead, "--migration", r.path, "--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z"); err != nil || out != "" {
		t.Errorf("rehearsed on nothing: %s, %v", out, err)
	}
	if out, err := rolloutOutput(t, "rehearse", file, "--migration", r.path, "--from", at); err == nil {
		t.Errorf("from off there is no way back: %s", out)
	}
}

// "Any number of processes": a gate passes on what two of them measured together, each with a data directory of
// its own, that share the partitions.
func TestI34_GatesJudgeByWhatProcessesMeasureTogether(t *testing.T) {
	r := measuring(t)
	m, err := loadMigration(r.path)
	if err != nil {
		t.Fatal(err)
	}
	log, err := stream.Connect(t.Context(), logConfig(m, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	m.Log.Brokers, m.DataDir = log.Brokers(), t.TempDir()
	file := filepath.Join(t.TempDir(), "rollout.yaml")
	err = os.WriteFile(file, []byte(itemsMove+`    - {name: equal, condition: divergence < 0.01 && unknown < 0.5 && time_to_consistency_p99_ms < 60000, window: 3s, minSamples: 1}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	since := time.Now().Add(-time.Hour)
	passes := func(what string, processes int) {
		t.Helper()
		r.until("the gate passes by what was measured by "+what, func() bool {
			n++ // there is always something to compare
			r.both(fmt.Sprintf("insert into item (id, name) values (%d, 'x')", n), fmt.Sprintf("insert into item (id, name) values (%d, 'x')", -n))
			history, err := measure.Load(t.Context(), log, since)
			if err != nil {
				t.Fatal(err)
			}
			sum := history.Over(time.Now(), 3*time.Second, since)
			if sum == nil || len(sum.Problems) > 0 || sum.LegacyWrites == 0 || strings.Count(sum.Run, "+") != processes-1 {
				return false
			}
			out, err := rolloutOutput(t, "gate", file, "--stage", "shadow", "--migration", r.path, "--json")
			return err == nil && strings.Contains(out, `}],"verdict":"pass"}`)
		})
		since = time.Now()
	}
	passes("one process", 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- runPipeline(ctx, pipelineConfig{migration: m, stages: stages{reconcile: true}, newEpoch: map[schemas.Side]bool{}, measure: time.Second,
			log: slog.New(slog.NewJSONHandler(&r.log, nil))})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the second process: %v", err)
		}
	}()
	passes("two processes", 2)
}
