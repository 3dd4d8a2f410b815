package servers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// "Their directory must be reachable for that account": one of ours below the
// temporary directory is opened for searching and no more; any other is named.
func TestReach(t *testing.T) {
	stranger := &account{name: "stranger", uid: 61234, gid: 61234}
	closed := filepath.Join(t.TempDir(), "closed")
	inside := filepath.Join(closed, "inside")
	if err := os.MkdirAll(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Run("elsewhere", func(t *testing.T) {
		t.Setenv("TMPDIR", filepath.Join(inside)) // so that closed is not below it
		err := stranger.reach(filepath.Join(closed, "data"))
		if err == nil || !strings.Contains(err.Error(), "chmod o+x "+closed) {
			t.Fatalf("got %v, want an error with the remedy for %s", err, closed)
		}
	})
	if err := stranger.reach(filepath.Join(inside, "data")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{closed, inside} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o711 {
			t.Errorf("%s has mode %o, want 711", dir, info.Mode().Perm())
		}
	}
}

// "Runs in one process at a time" and "renamed when it succeeded": of several who
// ask at once one fills, all get the whole, and a failure leaves nothing.
func TestCached(t *testing.T) {
	t.Setenv("TRUEUP_CACHE", t.TempDir())
	torn := errors.New("connection lost")
	_, err := cached(t.Context(), "thing", func(_ context.Context, fresh string) error {
		return errors.Join(os.WriteFile(filepath.Join(fresh, "half"), nil, 0o644), torn)
	})
	if !errors.Is(err, torn) {
		t.Fatalf("got %v, want the filler's error", err)
	}

	var fills atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := cached(t.Context(), "thing", func(_ context.Context, fresh string) error {
				fills.Add(1)
				return os.WriteFile(filepath.Join(fresh, "whole"), nil, 0o644)
			})
			if err != nil {
				t.Error(err)
				return
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 || entries[0].Name() != "whole" {
				t.Errorf("%s holds %v (%v), want only the whole", dir, entries, err)
			}
		})
	}
	wg.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("filled %d times", n)
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TRUEUP_CACHE"), "*.new*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// "Only ours, and only where owners were killed": of directories that look alike,
// the one with a free lock goes; locked ones and strangers' stay.
func TestSweep(t *testing.T) {
	if !orphansDie {
		t.Skip("servers may outlive their owners on this system, so nothing is swept")
	}
	t.Setenv("TMPDIR", t.TempDir())
	dir := func(name string) string {
		path := filepath.Join(os.TempDir(), name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	killed, alive, strange, other := dir("trueup-mule-1"), dir("trueup-mule-2"), dir("trueup-mule-3"), dir("trueup-horse-1")
	for _, path := range []string{killed, other} {
		f, err := claim(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Close() // as the kernel does for a killed owner
	}
	f, err := claim(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sweep("mule")
	for path, stays := range map[string]bool{killed: false, alive: true, strange: true, other: true} {
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%s: there: %t, want %t", path, err == nil, stays)
		}
	}
}

// A fetch that waits for another process's says so when its context ends.
func TestLockNamesTheWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v, want context.Canceled and the lock's path", err)
	}
	unlock()
	again, err := lock(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// A package's newest version wins by number: 9.6 is older than 15.
func TestNewestFirst(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"9.6", "15", "17", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, version, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, path := range newestFirst(filepath.Join(dir, "*", "bin")) {
		got = append(got, filepath.Base(filepath.Dir(path)))
	}
	if want := "17 15 9.6 other"; strings.Join(got, " ") != want {
		t.Fatalf("got %v, want %s", got, want)
	}
}

// "Having to go past the first one is an error that says so": a process that
// ignores the polite signal is ended all the same.
func TestStopForcesAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	c := command{name: "mule", dir: dir, log: filepath.Join(dir, "log"), env: os.Environ(),
		argv: []string{"/bin/sh", "-c", "trap '' TERM; touch ready; while :; do sleep 0.05; done"}}
	p, err := c.start()
	if err != nil {
		t.Fatal(err)
	}
	err = p.awaitReady(t.Context(), portTaken, func(context.Context) error { _, err := os.Stat(ready); return err })
	if err != nil {
		t.Fatal(err)
	}
	err = p.stop(demand{15, 1})
	if err == nil || !strings.Contains(err.Error(), "mule did not stop") {
		t.Fatalf("got %v, want a word that it was killed", err)
	}
	select {
	case <-p.done:
	default:
		t.Fatal("stop returned before the process was gone")
	}
	if err := p.stop(demand{15, 1}); err != nil {
		t.Fatalf("stop of a process that has ended: %v", err)
	}
}
