package stream

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// freePeriod is how often the free space is looked at: at the disk's full speed less
	// than DefaultMinFree can be written in one.
	freePeriod = 500 * time.Millisecond
	// writtenPeriod is how often the kernel is asked whether it could write what it took.
	writtenPeriod = time.Second
	// retentionPeriod is how often old records are removed. kfake has a timer of its own,
	// but forgets to start it when it is restarted.
	retentionPeriod = time.Hour
)

// disk is the file system below the embedded broker. It is for one goroutine.
type disk struct {
	dir     string
	minFree int64
	// failed asks the kernel whether a write to a file failed since it was opened. It does
	// not write anything out itself.
	failed func(*os.File) error
	files  map[string]*os.File // those that the broker writes to, opened here to be asked about
}

func openDisk(dir string, minFree int64) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	free, err := freeBytes(dir)
	if err != nil {
		return nil, fmt.Errorf("free space of data directory %s: %w", dir, err)
	}
	if free < minFree {
		return nil, fmt.Errorf("data directory %s has %d MiB free, and the embedded broker keeps %d MiB free: make room, or use another disk", dir, free>>20, minFree>>20)
	}
	d := &disk{dir: dir, minFree: minFree, failed: writeFailed, files: make(map[string]*os.File)}
	if err := d.written(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// written says whether everything could be written that the broker wrote, to the files
// that it writes to now and to those that it wrote to when this was last asked.
func (d *disk) written() error {
	paths, err := d.inUse()
	if err != nil {
		return fmt.Errorf("look at the broker's files: %w", err)
	}
	for _, path := range paths {
		if d.files[path] != nil {
			continue
		}
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // not yet, or not any more
		}
		if err != nil {
			return fmt.Errorf("look at the broker's files: %w", err)
		}
		d.files[path] = f
	}
	for path, f := range d.files {
		if err := d.failed(f); err != nil {
			return fmt.Errorf("a write to %s failed: %w", path, err)
		}
		if !slices.Contains(paths, path) {
			f.Close()
			delete(d.files, path)
		}
	}
	return nil
}

// inUse returns the files that the broker writes to: its own logs, and the newest
// segment of each partition.
func (d *disk) inUse() ([]string, error) {
	paths := []string{filepath.Join(d.dir, "groups.log"), filepath.Join(d.dir, "pids.log")}
	parts, err := os.ReadDir(filepath.Join(d.dir, "partitions"))
	if errors.Is(err, os.ErrNotExist) {
		return paths, nil
	}
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		dir := filepath.Join(d.dir, "partitions", part.Name())
		bases, err := segments(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // of a topic that is being deleted
		}
		if err != nil {
			return nil, err
		}
		if len(bases) > 0 {
			newest := filepath.Join(dir, strconv.FormatInt(bases[len(bases)-1], 10))
			paths = append(paths, newest+".dat", newest+".idx")
		}
	}
	return paths, nil
}

func (d *disk) close() {
	for _, f := range d.files {
		f.Close()
	}
}

// watch looks after the disk until the broker is closed: room on it, failures of it,
// and records that are older than they need to be.
func (e *Embedded) watch() {
	defer close(e.watched)
	free, written, trim := time.NewTicker(freePeriod), time.NewTicker(writtenPeriod), time.NewTicker(retentionPeriod)
	defer free.Stop()
	defer written.Stop()
	defer trim.Stop()
	e.cluster.ApplyRetention()
	for {
		var err error
		select {
		case <-e.stopWatch:
			return
		case <-free.C:
			var left int64
			if left, err = freeBytes(e.disk.dir); err == nil {
				e.pauseProducing(left < e.disk.minFree, left)
			}
		case <-written.C:
			err = e.disk.written()
		case <-trim.C:
			e.cluster.ApplyRetention()
		}
		if err != nil {
			e.fail(err)
			return
		}
	}
}

// pauseProducing has the broker refuse records, in a way that clients retry, or take
// them again.
func (e *Embedded) pauseProducing(full bool, free int64) {
	switch {
	case full && e.diskFull == nil:
		e.diskFull = e.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.KafkaStorageError, Count: -1})
		e.cfg.Log.Error("disk almost full: embedded broker takes no records until there is room", "dir", e.cfg.Dir, "free_mib", free>>20, "keep_free_mib", e.disk.minFree>>20)
	case !full && e.diskFull != nil:
		e.diskFull.Remove()
		e.diskFull = nil
		e.cfg.Log.Info("embedded broker takes records again", "dir", e.cfg.Dir, "free_mib", free>>20)
	}
}
