package stream

import (
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// freePeriod is how often the free space is looked at: at the disk's full speed less
	// than DefaultMinFree can be written in one.
	freePeriod = 500 * time.Millisecond
	// syncPeriod is how often the file system is asked whether a write failed. Asking
	// writes out everything that is dirty on it, which the kernel does every 30 s anyway.
	syncPeriod = 30 * time.Second
	// retentionPeriod is how often old records are removed. kfake has a timer of its own,
	// but forgets to start it when it is restarted.
	retentionPeriod = time.Hour
)

// disk is the file system below the embedded broker.
type disk struct {
	dir     *os.File // opened before the broker writes, so that it hears of every failure since
	minFree int64
}

func openDisk(dir string, minFree int64) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	free, err := freeBytes(dir)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("free space of data directory %s: %w", dir, err)
	}
	if free < minFree {
		f.Close()
		return nil, fmt.Errorf("data directory %s has %d MiB free, and the embedded broker keeps %d MiB free: make room, or use another disk", dir, free>>20, minFree>>20)
	}
	return &disk{f, minFree}, nil
}

// sync writes everything out, and says whether a write failed since the last sync.
func (d *disk) sync() error {
	if err := syncFilesystem(d.dir); err != nil {
		return fmt.Errorf("a write to the disk of %s failed: %w", d.dir.Name(), err)
	}
	return nil
}

func (d *disk) close() { d.dir.Close() }

// watch looks after the disk until the broker is closed: room on it, failures of it,
// and records that are older than they need to be.
func (e *Embedded) watch() {
	defer close(e.watched)
	look, ask, trim := time.NewTicker(freePeriod), time.NewTicker(syncPeriod), time.NewTicker(retentionPeriod)
	defer look.Stop()
	defer ask.Stop()
	defer trim.Stop()
	e.cluster.ApplyRetention()
	for {
		select {
		case <-e.stopWatch:
			return
		case <-look.C:
			free, err := freeBytes(e.disk.dir.Name())
			if err != nil {
				e.fail(fmt.Errorf("free space: %w", err))
				return
			}
			e.pauseProducing(free < e.disk.minFree, free)
		case <-ask.C:
			if err := e.disk.sync(); err != nil {
				e.fail(err)
				return
			}
		case <-trim.C:
			e.cluster.ApplyRetention()
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
