package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A temporary directory holds a file of this name that its owner keeps locked for
// as long as it lives: the lock of a killed owner is free.
const ownerFile = "owner"

// claim marks dir as ours until the returned file is closed. The file gets its
// name when it is locked already, so that nobody sees it unlocked before.
func claim(dir string) (*os.File, error) {
	path := filepath.Join(dir, ownerFile)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), os.Rename(path+".new", path)); err != nil {
		return nil, errors.Join(fmt.Errorf("claim %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// sweep removes temporary directories of the server whose owners were killed
// before they could: a hundred megabytes each. Only ours, by the owner of the
// file, and only where servers die with their owner. What cannot be removed now
// is left for the next time.
func sweep(server string) {
	if !orphansDie {
		return
	}
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), "trueup-"+server+"-*")) // the only error is a bad pattern
	for _, dir := range dirs {
		if abandoned(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

func abandoned(dir string) bool {
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return false
	}
	f, err := os.OpenFile(filepath.Join(dir, ownerFile), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid() && syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
