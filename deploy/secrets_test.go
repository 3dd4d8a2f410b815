package deploy

import (
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// secrets.sh makes every secret that docker-compose.yml names and no other one,
// for the owner and the group alone, keeps what is there, and tells Docker Compose
// the group.
func TestSecretsScript(t *testing.T) {
	dir := t.TempDir()
	here := filepath.Join(dir, "deploy")
	if err := os.MkdirAll(filepath.Join(here, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(here, "secrets.sh")
	if err := os.WriteFile(script, []byte(readFile(t, "secrets.sh")), 0o700); err != nil {
		t.Fatal(err)
	}
	env := filepath.Join(dir, ".env")
	if err := os.WriteFile(env, []byte("MINE=it's mine\nSECRETS_GID=4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := runSecrets(t, script)
	if again := runSecrets(t, script); !maps.Equal(first, again) {
		t.Error("a second run changed secrets that were there")
	}
	p := composed(t)
	if got, want := slices.Sorted(maps.Keys(first)), p.SecretNames(); !slices.Equal(got, want) {
		t.Errorf("made %v, docker-compose.yml names %v", got, want)
	}
	if got, want := readFile(t, env), "MINE=it's mine\nSECRETS_GID="+strconv.Itoa(os.Getgid())+"\n"; got != want {
		t.Errorf(".env is %q, want %q", got, want)
	}

	legacy, err := url.Parse(first["legacy_dsn"])
	if err != nil {
		t.Fatal(err)
	}
	password, _ := legacy.User.Password()
	if legacy.Hostname() != service(t, p, "postgres").Name || legacy.Path != "/shop" || password != first["trueup_postgres_password"] {
		t.Errorf("legacy_dsn %s does not fit the other secrets", legacy.Redacted())
	}
	target, err := mysql.ParseDSN(first["target_dsn"])
	if err != nil {
		t.Fatal(err)
	}
	if target.Addr != service(t, p, "mariadb").Name+":3306" || target.DBName != "shop" || target.Passwd != first["trueup_mariadb_password"] {
		t.Errorf("target_dsn at %s, database %s, does not fit the other secrets", target.Addr, target.DBName)
	}
	seen := map[string]string{}
	for name, value := range first {
		if strings.HasSuffix(name, "_password") {
			if len(value) < 32 || seen[value] != "" {
				t.Errorf("%s is short, or the same as %s", name, seen[value])
			}
			seen[value] = name
		}
	}
}

// runSecrets runs the script and returns what it made.
func runSecrets(t *testing.T, script string) map[string]string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	made := map[string]string{}
	dir := filepath.Join(filepath.Dir(script), "secrets")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if mode := info.Mode().Perm(); mode != 0o440 {
			t.Errorf("%s has mode %v", d.Name(), mode)
		}
		made[d.Name()] = strings.TrimSuffix(readFile(t, path), "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// What must not get into an image or the repository is kept out of both.
func TestSecretsStayOutOfImages(t *testing.T) {
	ignored := strings.Fields(readFile(t, "Dockerfile.dockerignore"))
	for _, path := range []string{"deploy/secrets", ".env", ".git"} {
		if !slices.Contains(ignored, path) {
			t.Errorf("Dockerfile.dockerignore lets %s into the build", path)
		}
	}
	if !strings.Contains(readFile(t, "secrets/.gitignore"), "\n*\n") {
		t.Error("git would take what stands in secrets")
	}
	if !slices.Contains(strings.Fields(readFile(t, "../.gitignore")), "/.env") {
		t.Error("git would take .env")
	}
}
