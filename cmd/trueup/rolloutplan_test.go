package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rolloutFile writes a definition at a stage.
func rolloutFile(t *testing.T, dir, name, stage, safe, more string) string {
	t.Helper()
	path := filepath.Join(dir, name+".yaml")
	text := `apiVersion: trueup/v1
kind: Rollout
metadata: {name: ` + name + `, owner: team-orders}
description: Orders move.
controls: routing
intent: temporary
expires: 2020-06-30
stage: "` + stage + `"
safeStage: "` + safe + `"
` + more + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var planID = regexp.MustCompile(`plan ([0-9a-f]{16})\n`)

// A flag's way from the first file over a kill to its life again; what was planned on
// something else is refused.
func TestI33_RolloutPlanAndApply(t *testing.T) {
	dir := t.TempDir()
	at := "--data-dir=" + filepath.Join(dir, "registry")
	run := func(args ...string) (string, error) {
		t.Helper()
		return rolloutOutput(t, append(args, at)...)
	}
	plan := func(file string) (id, out string) {
		t.Helper()
		out, _ = run("plan", "-f", file)
		m := planID.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("no plan: %s", out)
		}
		return m[1], out
	}
	apply := func(file, id string, more ...string) (string, error) {
		t.Helper()
		return run(append([]string{"apply", "-f", file, "--plan", id, "--why", "it is time", "--as", "ann"}, more...)...)
	}
	want := func(out string, err error, text string) {
		t.Helper()
		if err != nil || !strings.Contains(out, text) {
			t.Fatalf("want %q, have %s, %v", text, out, err)
		}
	}
	refused := func(out string, err error, text string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Fatalf("want %q refused, have %s, %v", text, out, err)
		}
	}

	file := rolloutFile(t, dir, "orders", "off", "off", "")
	first, out := plan(file)
	want(out, nil, "+ orders: create\nstale, past their last day: orders\n")
	if _, err := os.Stat(filepath.Join(dir, "registry")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a plan began a registry: %v", err)
	}
	out, err := apply(file, first)
	want(out, err, "orders (team-orders): active, at off, revision 1, epoch 1")
	out, err = apply(file, first)
	refused(out, err, "have changed since plan "+first)

	rolloutFile(t, dir, "orders", "shadow", "off", "")
	id, out := plan(file)
	want(out, nil, "> orders: move, from off to shadow, forward: its gate has to pass\n    stage: off -> shadow\n")
	out, err = apply(file, id)
	refused(out, err, "nothing was measured")
	out, err = apply(file, id, "--without-evidence", "other")
	refused(out, err, "nothing becomes of it")
	out, err = apply(file, id, "--without-evidence", "orders")
	want(out, err, "at shadow, revision 2, epoch 2")

	rolloutFile(t, dir, "orders", "ramp", "off", "ramp: 5%")
	if out, err = run("plan", "-f", file); !errors.Is(err, exitStatus(exitDiverged)) || !strings.Contains(out, "! orders: forbidden, from shadow to ramp 5%") {
		t.Fatalf("have %s, %v", out, err)
	}

	out, err = run("kill", "orders", "--why", "the target is slow", "--as", "bob")
	want(out, err, "at off, revision 3, epoch 3, killed by bob: the target is slow")
	want(out, err, "killed within ")
	out, err = run("list", "--json")
	want(out, err, `"flag":"orders","owner":"team-orders","lifecycle":"active","stage":"off","declared":"shadow","revision":3,"epoch":3,"killed":{`)
	out, err = run("kill", "other", "--why", "x")
	refused(out, err, "there is no such flag")
	out, err = run("revive", "orders", "--why", "it is fast", "--without-evidence")
	want(out, err, "at shadow, revision 4, epoch 4")
	out, err = run("kill", "--all", "--why", "x", "--json")
	want(out, err, `"revision":5,"epoch":5,"killed":{`)

	out, err = run("history")
	if lines := strings.Count(out, "\n"); err != nil || lines != 6 || strings.Count(out, `"effect":"refused"`) != 1 || strings.Count(out, `"who":"ann"`) != 2 {
		t.Fatalf("have %s, %v", out, err)
	}
}
