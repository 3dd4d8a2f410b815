package deploy

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The image is built with the Go that go.mod names, from and onto pinned images,
// and runs as nobody.
func TestDockerfile(t *testing.T) {
	text := readFile(t, "Dockerfile")
	var from []string
	for line := range strings.Lines(text) {
		if image, ok := strings.CutPrefix(line, "FROM "); ok {
			from = append(from, strings.Fields(image)[0])
		}
	}
	for _, image := range from {
		if !regexp.MustCompile(`:\d+\.\d+\.\d+(-\w+)?$`).MatchString(image) {
			t.Errorf("FROM %s is not pinned to a version", image)
		}
	}
	goVersion := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(readFile(t, "../go.mod"))[1]
	if !slices.Contains(from, "golang:"+goVersion) {
		t.Errorf("built from %v, go.mod wants Go %s", from, goVersion)
	}
	last := text[strings.LastIndex(text, "\nFROM "):]
	if !strings.Contains(last, "\nUSER 65532:65532\n") {
		t.Error("the image does not run as user 65532")
	}
}

// The binary needs nothing beside it, and the health check of docker-compose.yml
// says whether the process runs, whatever it has found.
func TestStaticBinaryAndHealthCheck(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "trueup")
	build := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build) .* -o /out/trueup (\./cmd/trueup)$`).FindStringSubmatch(readFile(t, "Dockerfile"))
	if build == nil {
		t.Fatal("the Dockerfile builds nothing that is known here")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", build[1]+` -trimpath -o "$1" `+build[2], "sh", binary)
	cmd.Dir = root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build[0], err, out)
	}
	program, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary is linked dynamically: %v", p.Type)
		}
	}

	data := filepath.Join(dir, "data")
	migration := filepath.Join(dir, "migration.yaml")
	text := strings.Replace(readFile(t, "migration.yaml"), "dataDir: /var/lib/trueup", "dataDir: "+data, 1)
	if err := os.WriteFile(migration, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	test := service(t, composed(t), "trueup").HealthCheck.Test
	if len(test) != 2 || test[0] != "CMD-SHELL" {
		t.Fatalf("health check %q", test)
	}
	check := strings.ReplaceAll(test[1], "/etc/trueup/migration.yaml", migration)
	healthy := func() bool {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", check)
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("%s: %v\n%s", check, err, out)
		}
		return err == nil
	}
	if healthy() {
		t.Error("healthy before anything ran")
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at       time.Time
		diverged int
		want     bool
	}{{time.Now(), 0, true}, {time.Now(), 3, true}, {time.Now().Add(-time.Minute), 0, false}} {
		status, err := json.Marshal(map[string]any{"migration": "orders", "at": c.at, "started": c.at,
			"keys": map[string]any{"compared": 10, "equal": 10 - c.diverged, "diverged": c.diverged}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(data, "status.json"), status, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := healthy(); got != c.want {
			t.Errorf("last said %s ago, %d diverged: healthy %v, want %v", time.Since(c.at).Round(time.Second), c.diverged, got, c.want)
		}
	}
}
