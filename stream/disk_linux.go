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

// writeFailed returns an error if something written to the file, by whomever, could not
// be put on the disk since the file was opened here or last asked about. It waits for
// what is being written, and writes nothing out itself. What fsync said to another
// descriptor is said here again.
func writeFailed(f *os.File) error {
	return unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE)
}
