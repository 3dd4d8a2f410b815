package schemas

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// storesOf reads the contract's migration from a directory.
func storesOf(t *testing.T, dir string) *Migration {
	t.Helper()
	path := filepath.Join(dir, "migration.yaml")
	if err := os.WriteFile(path, []byte(contractMigration), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := LoadMigration(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDSNFromTheEnvironment(t *testing.T) {
	s := storesOf(t, t.TempDir()).Store(Legacy)
	const secret = "postgres://u:hunter2@h/db"
	t.Setenv("LEGACY_DSN", secret+"\n")
	if dsn, err := s.ResolveDSN(); dsn != secret || err != nil {
		t.Errorf("dsn is %q, %v", dsn, err)
	}
	t.Setenv("LEGACY_DSN", " ")
	if _, err := s.ResolveDSN(); err == nil || !strings.HasSuffix(err.Error(), ":7:35: stores.legacy.dsn: the environment variable LEGACY_DSN is empty: set it to the connection string") {
		t.Errorf("an empty variable: %v", err)
	}
	if err := os.Unsetenv("LEGACY_DSN"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ResolveDSN(); err == nil || !strings.HasSuffix(err.Error(), "LEGACY_DSN is not set: set it to the connection string") {
		t.Errorf("no variable: %v", err)
	}
}

// "missing secret file, world-readable key: exit ≠ 0, no secret printed."
func TestBadInput24_SecretFiles(t *testing.T) {
	dir := t.TempDir()
	s := storesOf(t, dir).Store(Target)
	path := filepath.Join(dir, "target.dsn")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(name, want string) {
		t.Helper()
		dsn, err := s.ResolveDSN()
		if err == nil || dsn != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q, %v; want %s", name, dsn, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "migration.yaml:8:34: stores.target.dsn: ") {
			t.Errorf("%s: %v does not say where the file is named", name, err)
		}
	}
	refused("missing", "the file "+path+" does not exist: put the connection string in it and run chmod 600 on it")
	for _, mode := range []os.FileMode{0o604, 0o644, 0o602, 0o666, 0o601} {
		write("u:hunter2@tcp(h)/db", mode)
		refused(mode.String(), "everyone on this machine can use the file "+path+", which holds a secret: run chmod 600 "+path)
	}
	for _, mode := range []os.FileMode{0o600, 0o640, 0o400} {
		write("u:hunter2@tcp(h)/db\n", mode)
		if dsn, err := s.ResolveDSN(); dsn != "u:hunter2@tcp(h)/db" || err != nil {
			t.Errorf("%s: %q, %v", mode, dsn, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	write("\n", 0o600)
	refused("empty", "is empty")
	write("hunter2\nhunter2", 0o600)
	refused("two lines", "has more than one line")
	write(strings.Repeat("hunter2", maxSecretBytes), 0o600)
	refused("large", "is larger than")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	refused("directory", path+" is no file")
}
