package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A step that others have to agree to, from the plan over an objection to its end.
func TestI37_RolloutAgreement(t *testing.T) {
	dir := t.TempDir()
	at := "--data-dir=" + filepath.Join(dir, "registry")
	run := func(want string, args ...string) string {
		t.Helper()
		out, err := rolloutOutput(t, append(args, at)...)
		if err != nil {
			out += err.Error()
		}
		if !strings.Contains(out, want) {
			t.Fatalf("%v: want %q, have %s", args, want, out)
		}
		return out
	}
	const governed = "governance: {approvals: {shadow: 1}}"
	file := rolloutFile(t, dir, "orders", "off", "off", governed)
	apply := func(want string, more ...string) {
		t.Helper()
		id := planID.FindStringSubmatch(run("plan ", "plan", "-f", file))[1]
		run(want, append([]string{"apply", "-f", file, "--plan", id, "--why", "it is time", "--as", "ann"}, more...)...)
	}
	apply("at off, revision 1")
	rolloutFile(t, dir, "orders", "shadow", "off", governed)
	run("    waits: orders: it needs 1 approvals of others", "plan", "-f", file)
	apply("it needs 1 approvals of others for exactly this, and has 0; nothing was changed", "--without-evidence", "orders")
	run("revision 1, epoch 1, approved by bob", "approve", "-f", file, "--without-evidence", "orders", "--why", "fine", "--as", "bob")
	out := run(", approved by bob, eve objects (", "object", "orders", "--why", "the sale", "--as", "eve")
	apply("eve objects", "--without-evidence", "orders")
	objection := regexp.MustCompile(`objects \((.*?)\)`).FindStringSubmatch(out)[1]
	run("revision 1, epoch 1, approved by bob", "resolve", "orders", "--objection", objection, "--why", "it is over", "--as", "eve")
	apply("at shadow, revision 2", "--without-evidence", "orders")
	rolloutFile(t, dir, "orders", "dual_write", "off", "governance: {approvals: {shadow: 1, dual_write: 1}}")
	apply("glass broken by ann: it is time", "--without-evidence", "orders", "--break-glass", "orders")
	run(`"broke_glass":{`, "list", "--json")
	run("it was not killed", "approve", "--revive", "orders", "--why", "x")
}
