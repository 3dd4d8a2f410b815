package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was decided is written from the events alone: again the same bytes, whatever came later.
func TestRolloutDecision(t *testing.T) {
	dir := t.TempDir()
	at := "--data-dir=" + filepath.Join(dir, "registry")
	run := func(args ...string) string {
		t.Helper()
		out, err := rolloutOutput(t, append(args, at)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	const governed = "governance: {approvals: {shadow: 1}}"
	file := rolloutFile(t, dir, "orders", "off", "off", governed)
	apply := func(more ...string) {
		t.Helper()
		id := planID.FindStringSubmatch(run("plan", "-f", file))[1]
		run(append([]string{"apply", "-f", file, "--plan", id, "--why", "it is <b>time</b>\n# now", "--as", "ann"}, more...)...)
	}
	apply()
	rolloutFile(t, dir, "orders", "shadow", "off", governed)
	run("approve", "-f", file, "--without-evidence", "orders", "--why", "fine", "--as", "bob")
	apply("--without-evidence", "orders")
	before := run("decision", "orders")
	for _, want := range []string{
		"# orders: define, from nothing to off", "# orders: define, from off to shadow", "decision-makers: [\"ann\"]", "consulted: [\"bob\"]",
		"it is &lt;b&gt;time&lt;/b&gt; \\# now", "Approved by bob (record 1): fine", "is record 2 of the registry's topic",
		"Promote: without evidence", "Going back loses nothing that legacy has",
	} {
		if !strings.Contains(before, want) {
			t.Errorf("want %q, have:\n%s", want, before)
		}
	}
	run("kill", "orders", "--why", "slow", "--as", "eve")
	after := run("decision", "orders")
	if !strings.HasPrefix(after, before) {
		t.Errorf("a later event changed earlier records:\n%s", after)
	}
	if !strings.Contains(after, "# orders: kill, from shadow to off") {
		t.Errorf("no record of the kill:\n%s", after)
	}
	out := filepath.Join(dir, "records")
	path := strings.TrimSpace(run("decision", "orders", "--epoch", "2", "--out", out))
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(before, string(text)) {
		t.Errorf("the file is not what is printed: %v\n%s", err, text)
	}
	if _, err := rolloutOutput(t, "decision", "nobody", at); err == nil {
		t.Error("a flag that there is not has decisions")
	}
}
