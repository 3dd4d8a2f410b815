package stream

import (
	"os"

	"golang.org/x/sys/unix"
)

func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// syncFilesystem returns an error if any write to the file system failed since the
// file was opened or last asked (Linux 5.8 and later).
func syncFilesystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
