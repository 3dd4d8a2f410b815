package servers

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// FetchJava returns a class path: the jars of a pom's dependencies, fetched with
// Maven, and in front of them sources that were compiled against these (by name,
// Main.java) and other files beside. Jars and classes are in the cache afterwards.
// It needs a JDK.
func FetchJava(ctx context.Context, what string, pom []byte, files map[string][]byte) (classPath string, err error) {
	jars, err := fetchMaven(ctx, what, pom, copyJars, moveAll)
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	digest.Write(pom)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(digest, "%s %d\n%s", name, len(files[name]), files[name])
	}
	classes, err := cached(ctx, fmt.Sprintf("%s-classes-%x", what, digest.Sum(nil)[:6]), func(ctx context.Context, fresh string) error {
		return compileJava(ctx, what, jars, files, fresh)
	})
	return classes + string(filepath.ListSeparator) + filepath.Join(jars, "*"), err
}

// compileJava puts the classes of all sources, and the other files, into fresh.
func compileJava(ctx context.Context, what, jars string, files map[string][]byte, fresh string) error {
	javac, err := exec.LookPath("javac")
	if err != nil {
		return fmt.Errorf("%s: javac (Debian: default-jdk-headless): %w", what, ErrMissing)
	}
	work, err := os.MkdirTemp("", "trueup-javac-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	c := command{name: "compile " + what, dir: work, env: os.Environ(), log: filepath.Join(work, "log"), orphan: syscall.SIGKILL,
		argv: []string{javac, "-Werror", "-Xlint:all", "-proc:none", "-cp", filepath.Join(jars, "*"), "-d", fresh}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		dir := fresh
		if filepath.Ext(name) == ".java" {
			dir = work
			c.argv = append(c.argv, name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			return err
		}
	}
	return c.run(ctx)
}
