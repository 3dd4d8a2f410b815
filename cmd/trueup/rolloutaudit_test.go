package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// "Truncation detected via external checkpoint": a registry that begins anew in the place
// of another is not it.
func TestI36_RolloutAudit(t *testing.T) {
	dir := t.TempDir()
	file := rolloutFile(t, dir, "orders", "off", "off", "")
	key := "--audit-dir=" + filepath.Join(dir, "audit")
	define := func(at string) {
		t.Helper()
		out, err := rolloutOutput(t, "plan", "-f", file, at)
		id := planID.FindStringSubmatch(out)
		if err != nil || id == nil {
			t.Fatalf("have %s, %v", out, err)
		}
		if out, err := rolloutOutput(t, "apply", "-f", file, "--plan", id[1], "--why", "it is time", at); err != nil {
			t.Fatalf("have %s, %v", out, err)
		}
	}
	at := "--data-dir=" + filepath.Join(dir, "registry")
	if _, err := rolloutOutput(t, "audit", "verify", at, key); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Fatalf("have %v", err)
	}
	define(at)
	if out, err := rolloutOutput(t, "kill", "orders", "--why", "x", at); err != nil {
		t.Fatalf("have %s, %v", out, err)
	}
	signed, err := rolloutOutput(t, "audit", "sign", at, key)
	if err != nil || !strings.Contains(signed, "trueup-rollouts-rollouts\n2\n") {
		t.Fatalf("have %s, %v", signed, err)
	}
	if out, err := rolloutOutput(t, "audit", "verify", at, key); err != nil || out != "intact: 2 records, of which checkpoints cover 2\n" {
		t.Fatalf("have %s, %v", out, err)
	}

	secret, err := os.ReadFile(filepath.Join(dir, "audit", "audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	_, verifier, _ := strings.Cut(strings.TrimSpace(string(secret)), "\n")
	elsewhere := filepath.Join(dir, "kept")
	at = "--data-dir=" + filepath.Join(dir, "other")
	define(at)
	if err := os.WriteFile(elsewhere, []byte(signed), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"audit", "verify", at, "--checkpoint", elsewhere, "--key", verifier, "--audit-dir=" + filepath.Join(dir, "none")}
	out, err := rolloutOutput(t, args...)
	if !errors.Is(err, exitStatus(exitDiverged)) || !strings.Contains(out, "truncated: 1 records, of which checkpoints cover 0\n") {
		t.Fatalf("have %s, %v", out, err)
	}
	rolloutFile(t, dir, "orders", "off", "shadow", "")
	define(at)
	out, err = rolloutOutput(t, append(args, "--json")...)
	if !errors.Is(err, exitStatus(exitDiverged)) || !strings.Contains(out, `"verdict":"altered","size":2`) {
		t.Fatalf("have %s, %v", out, err)
	}
}
