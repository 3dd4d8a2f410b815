package state

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// DefaultBallast is room for what is under way when the disk becomes full, and
// for closing.
const DefaultBallast = 4 << 20

// ErrFull says that the disk became full. What was committed is safe; nothing
// more is taken until there is room and the state is opened again.
var ErrFull = errors.New("the disk of the state is full")

// ballast is a file that is given up when the disk is full, so that a batch that
// is being written can be finished and the state be closed in order.
type ballast struct {
	inner vfs.FS
	path  string
	gone  atomic.Bool // set by whoever meets a full disk; read by Commit
}

// lay makes sure of the ballast. It fails where there is no room for it: a start
// that could not end in order is refused, with the reason.
func lay(on vfs.FS, dir string, size int64) (*ballast, error) {
	b := &ballast{inner: on, path: filepath.Join(dir, "ballast")}
	if info, err := on.Stat(b.path); err == nil && info.Size() >= size {
		return b, nil
	}
	f, err := on.Create(b.path, vfs.WriteCategoryUnspecified)
	if err == nil {
		chunk := make([]byte, 1<<20)
		for left := size; left > 0 && err == nil; left -= int64(len(chunk)) {
			chunk = chunk[:min(left, int64(len(chunk)))]
			_, err = f.Write(chunk)
		}
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		if vfs.IsNoSpaceError(err) {
			err = fmt.Errorf("%w: %d MB are needed before it can start: %w", ErrFull, size>>20, err)
		}
		return nil, errors.Join(fmt.Errorf("reserve room for the state in %s: %w", dir, err), b.drop())
	}
	return b, nil
}

func (b *ballast) drop() error {
	if err := b.inner.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// guard returns the file system with the ballast given up at a full disk.
func (b *ballast) guard(log *slog.Logger) vfs.FS {
	return vfs.OnDiskFull(b.inner, func() {
		b.gone.Store(true)
		log.Error("the disk is full: the state finishes what is under way and stops; make room and start again",
			"stage", "reconcile", "path", b.path, "err", b.drop())
	})
}
