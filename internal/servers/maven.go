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

// fetchMaven returns a cached directory with the artifacts that the pom depends
// on, themselves depended ones included. The name is that of the pom's contents,
// so another version is another directory.
func fetchMaven(ctx context.Context, what string, pom []byte) (string, error) {
	name := fmt.Sprintf("%s-%x", what, sha256.Sum256(pom))[:len(what)+13]
	return cached(ctx, name, func(ctx context.Context, fresh string) error {
		mvn, err := exec.LookPath("mvn")
		if err != nil {
			return fmt.Errorf("%s: mvn (Maven), which fetches it: %w; %s", what, ErrMissing, howToInstall)
		}
		work, err := os.MkdirTemp("", "trueup-maven-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o644); err != nil {
			return err
		}
		c := command{name: "fetch " + what + " with Maven", dir: work, env: os.Environ(),
			log: filepath.Join(work, "log"), orphan: syscall.SIGKILL,
			argv: []string{mvn, "-B", "-ntp", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=" + fresh}}
		if err := c.run(ctx); err != nil {
			return fmt.Errorf("%s: %w here, and: %w", what, ErrMissing, err)
		}
		return nil
	})
}
