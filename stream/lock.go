//go:build unix

package stream

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const lockFile = "LOCK"

// lock is a data directory held by this process. The kernel gives it free when the
// process ends, however it ends; the file stays, and only says who held it.
type lock struct{ f *os.File }

// takeLock takes the directory or says who has it.
func takeLock(dir string) (*lock, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	// held asks by taking the lock for a moment; that moment is no holder.
	for tries := 0; ; tries++ {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || tries == 5 {
			break
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // a file lock tells nobody that it is free
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		pid := holder(path)
		f.Close()
		return nil, fmt.Errorf("%w: %s is held by process %s: stop that process, or use another data directory", ErrInUse, dir, pid)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if err := writePid(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	return &lock{f}, nil
}

func writePid(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// holder returns the pid in a lock file, or "unknown" in the moment before it is there.
func holder(path string) string {
	b, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}

// held says whether a process holds the directory.
func held(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		return false
	}
	defer f.Close() // gives the lock free, if it was got
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// release gives the directory free. The file is not removed: another process may have
// opened it already, and would then hold a lock on a file that nobody else sees.
func (l *lock) release() {
	_ = l.f.Truncate(0) // the pid is for people; the lock is what counts
	l.f.Close()
}
