package notekey

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A key file that others can read, or that holds none, is refused.
func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.key")
	if _, err := Load(path, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, "orders"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("open to all: %v", err)
	}
	if err := os.WriteFile(path, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, "orders"); err == nil || !strings.Contains(err.Error(), "holds no key") {
		t.Errorf("no key: %v", err)
	}
}
