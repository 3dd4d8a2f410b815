package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// cacheDir returns where fetched servers are kept: $TRUEUP_CACHE, or the user's
// cache directory. Root's is closed to the account that runs the server, so root
// uses /var/cache/trueup.
func cacheDir() (string, error) {
	dir := os.Getenv("TRUEUP_CACHE")
	switch {
	case dir != "":
	case os.Geteuid() == 0:
		dir = "/var/cache/trueup"
	default:
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("cache directory: %w; set TRUEUP_CACHE", err)
		}
		dir = filepath.Join(user, "trueup")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("cache directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cache directory: %w; set TRUEUP_CACHE to a directory that can be written", err)
	}
	return dir, nil
}

// cached returns the directory of that name in the cache, filled by fill if it is
// not there yet. fill gets another name, which is renamed when it succeeded, and
// runs in one process at a time.
func cached(ctx context.Context, name string, fill func(ctx context.Context, fresh string) error) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // somebody else has filled it meanwhile
	}
	// Under the lock nobody else is at work here: what stands there is left of
	// somebody who was killed.
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh) // nothing is there after the rename
	// Whatever the umask: the account of a server has to get in.
	if err := errors.Join(os.Mkdir(fresh, 0o755), os.Chmod(fresh, 0o755)); err != nil {
		return "", err
	}
	if err := fill(ctx, fresh); err != nil {
		return "", err
	}
	return dir, os.Rename(fresh, dir)
}

// lock takes a lock between processes, which the kernel releases when we die.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		again := time.NewTimer(200 * time.Millisecond)
		select {
		case <-ctx.Done():
			again.Stop()
			return nil, errors.Join(fmt.Errorf("lock %s, held by another process that fetches: %w", path, context.Cause(ctx)), f.Close())
		case <-again.C:
		}
	}
}
