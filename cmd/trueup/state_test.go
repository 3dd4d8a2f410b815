package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/reconcile/state"
)

// A checkpoint is made and taken back by the commands, of the migration that it is
// of, while nothing runs there.
func TestStateCommands(t *testing.T) {
	dir := t.TempDir()
	text := readFile(t, "../../examples/orders/migration.yaml")
	here, there := filepath.Join(dir, "here.yaml"), filepath.Join(dir, "there.yaml")
	for path, data := range map[string]string{here: "here", there: "there"} {
		changed := strings.Replace(text, "dataDir: ./trueup-data", "dataDir: "+filepath.Join(dir, data), 1)
		if changed == text {
			t.Fatal("the example has another data directory")
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checkpoint := filepath.Join(dir, "checkpoint")
	run := func(wants string, fails bool, args ...string) {
		t.Helper()
		root := newRoot()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs(append([]string{"state"}, args...))
		err := root.ExecuteContext(t.Context())
		said := out.String()
		if err != nil {
			said = err.Error()
		}
		if (err != nil) != fails || !strings.Contains(said, wants) {
			t.Errorf("%v said %q (%v), want %q", args, said, err, wants)
		}
	}
	run("nothing was compared there", true, "checkpoint", "-f", here, checkpoint)
	stateWith(t, filepath.Join(dir, "here", "state"), 1, 3)
	run("holds partitions 1 3", false, "checkpoint", "-f", here, checkpoint)
	run("it is there already", true, "checkpoint", "-f", here, checkpoint)
	run("restored partitions 3\n", false, "restore", "-f", there, "--partition", "3", checkpoint)
	run("--replace throws that away", true, "restore", "-f", there, checkpoint)
	run("restored partitions 1 3\n", false, "restore", "-f", there, "--replace", checkpoint)
	held, err := datadir.Claim(filepath.Join(dir, "there"), "orders")
	if err != nil {
		t.Fatal(err)
	}
	run("in use by process", true, "restore", "-f", there, "--replace", checkpoint)
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(readFile(t, there), "name: orders", "name: invoices", 1)
	other = strings.Replace(other, "/there", "/other", 1)
	if err := os.WriteFile(there, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	run("is of migration \"orders\", this is \"invoices\"", true, "restore", "-f", there, checkpoint)
}

// stateWith makes a state that has something of partitions.
func stateWith(t *testing.T, path string, partitions ...int32) {
	t.Helper()
	db, err := state.Open(state.Config{Dir: path, Identity: state.Identity{Migration: "orders", Log: "t", Partitions: 4}})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range partitions {
		p := db.Partition(n)
		if err := errors.Join(p.Own(), p.Set([]byte("m"), []byte("x")), p.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
