package servers

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// mavenGoal is what Maven does with a pom's dependencies: copy their jars, or
// unpack them.
type mavenGoal string

const (
	copyJars   mavenGoal = "copy-dependencies"
	unpackJars mavenGoal = "unpack-dependencies"
)

// fetchMaven returns the directory in the cache that holds what Maven made of the
// pom's dependencies (their own included), after arrange has put it in its place:
// arrange gets a directory with the jars or their contents, and an empty one to
// fill. The name in the cache carries a digest of the pom, so another version is
// another directory.
func fetchMaven(ctx context.Context, what string, pom []byte, goal mavenGoal, arrange func(ctx context.Context, got, fresh string) error) (string, error) {
	digest := sha256.Sum256(pom)
	return cached(ctx, fmt.Sprintf("%s-%x", what, digest[:6]), func(ctx context.Context, fresh string) error {
		mvn, err := exec.LookPath("mvn")
		if err != nil {
			return fmt.Errorf("%s: mvn (Maven), which fetches it: %w; %s", what, ErrMissing, howToInstall)
		}
		// Beside fresh, so that what is in one can be renamed into the other.
		work := fresh + ".maven"
		if err := os.RemoveAll(work); err != nil {
			return err
		}
		if err := os.Mkdir(work, 0o755); err != nil {
			return err
		}
		defer os.RemoveAll(work)
		if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o644); err != nil {
			return err
		}
		got := filepath.Join(work, "got")
		c := command{name: "fetch " + what + " with Maven", dir: work, env: os.Environ(),
			log: filepath.Join(work, "log"), orphan: syscall.SIGKILL,
			argv: []string{mvn, "-B", "-ntp", "-q", "dependency:" + string(goal), "-DincludeScope=runtime", "-DoutputDirectory=" + got}}
		if err := c.run(ctx); err != nil {
			return fmt.Errorf("%s: %w here, and: %w", what, ErrMissing, err)
		}
		return arrange(ctx, got, fresh)
	})
}

// moveAll moves everything in the directory got into fresh, on the same file
// system.
func moveAll(_ context.Context, got, fresh string) error {
	entries, err := os.ReadDir(got)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(got, e.Name()), filepath.Join(fresh, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// unpack extracts a tar archive, compressed or not, into dir.
func unpack(ctx context.Context, archive, dir string) error {
	log, err := os.MkdirTemp("", "trueup-tar-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(log)
	c := command{name: "unpack " + filepath.Base(archive) + " (needs tar, xz and gzip)", dir: dir, env: os.Environ(),
		log: filepath.Join(log, "log"), orphan: syscall.SIGKILL,
		argv: []string{"tar", "--no-same-owner", "-xf", archive, "-C", dir}}
	return c.run(ctx)
}
