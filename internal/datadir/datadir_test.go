package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestClaimIsExclusiveAndEndsWithRelease(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d, err := Claim(dir, "orders")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Claim(dir, "orders")
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second claim: %v", err)
	}
	if err := d.Release(); err != nil {
		t.Fatal(err)
	}
	d, err = Claim(dir, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestClaimRefusesAnotherMigrationAndLeavesItAlone(t *testing.T) {
	dir := t.TempDir()
	d, err := Claim(dir, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Release(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Claim(dir, "users")
	if err == nil || !strings.Contains(err.Error(), `"orders"`) || !strings.Contains(err.Error(), `"users"`) {
		t.Fatalf("foreign claim: %v", err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "identity.json"))
	if err != nil || string(after) != string(before) {
		t.Fatalf("identity changed to %q, %v", after, err)
	}
}

func TestClaimRefusesWhatItCannotRead(t *testing.T) {
	for _, content := range []string{"", "{}", "not json", `{"migration":"orders","format":99}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "identity.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Claim(dir, "orders"); err == nil || !strings.Contains(err.Error(), dir) {
			t.Fatalf("%q: %v", content, err)
		}
	}
}

// A directory keeps its name, others have others, and one that was damaged is said.
func TestInstance(t *testing.T) {
	var names []string
	for _, path := range []string{t.TempDir(), t.TempDir()} {
		var before string
		for range 2 {
			d, err := Claim(path, "orders")
			if err != nil {
				t.Fatal(err)
			}
			name, err := d.Instance()
			if err != nil || len(name) != instanceLetters || before != "" && name != before {
				t.Errorf("%q after %q, %v", name, before, err)
			}
			if before = name; d.Release() != nil {
				t.Error("not released")
			}
		}
		names = append(names, before)
	}
	if names[0] == names[1] {
		t.Errorf("both are called %s", names[0])
	}
	d, err := Claim(t.TempDir(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Release()
	for _, text := range []string{"", "\n", "UPPER-and-more", "short"} {
		if err := os.WriteFile(d.Path("instance"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if name, err := d.Instance(); err == nil || !strings.Contains(err.Error(), d.Path("instance")) {
			t.Errorf("%q: have %q, %v", text, name, err)
		}
	}
}
