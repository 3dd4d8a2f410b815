package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Checkpoint copies the state, as it is committed, to a directory that must not be
// there yet. Files that do not change any more are linked, where both lie on one
// file system. What it holds belongs to the same log, and can be opened, or be
// restored from.
func (d *DB) Checkpoint(id Identity, to string) error {
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("checkpoint to %s: it is there already; name a new directory", to), err)
	}
	fresh := to + ".new"
	err := os.RemoveAll(fresh) // of one that was cut off
	if err == nil {
		err = os.MkdirAll(fresh, 0o700)
	}
	if err == nil {
		err = d.db.Checkpoint(filepath.Join(fresh, "pebble"), pebble.WithFlushedWAL())
	}
	if err == nil {
		id.Format = format
		var b []byte
		if b, err = json.Marshal(id); err == nil {
			err = os.WriteFile(filepath.Join(fresh, "identity.json"), b, 0o600)
		}
	}
	if err == nil {
		err = os.Rename(fresh, to)
	}
	if err != nil {
		return fmt.Errorf("checkpoint to %s: %w", to, err)
	}
	return nil
}

// OpenCheckpoint opens a state that nothing uses to read it, and changes nothing.
func OpenCheckpoint(dir string) (*DB, Identity, error) {
	id, err := ReadIdentity(dir)
	if err != nil {
		return nil, id, err
	}
	if id.Format != format {
		return nil, id, fmt.Errorf("checkpoint %s has format %d, this program reads %d", dir, id.Format, format)
	}
	cache := pebble.NewCache(DefaultCacheSize)
	o := Options(cache)
	o.ReadOnly, o.Logger = true, logger{slog.New(slog.DiscardHandler)}
	db, err := pebble.Open(filepath.Join(dir, "pebble"), o)
	if err != nil {
		cache.Unref()
		return nil, id, fmt.Errorf("open checkpoint %s: %w", dir, damaged(err))
	}
	return &DB{db: db, cache: cache, filters: newFilters(0), readOnly: true}, id, nil
}

// ReadIdentity says whose state a directory holds. The error wraps fs.ErrNotExist
// where it holds none.
func ReadIdentity(dir string) (Identity, error) {
	path := filepath.Join(dir, "identity.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return Identity{}, fmt.Errorf("read identity of state: %w", err)
	}
	var id Identity
	if err := json.Unmarshal(b, &id); err != nil || id.Migration == "" {
		return id, fmt.Errorf("read %s: %w", path, errors.Join(ErrDamaged, err))
	}
	return id, nil
}

// ErrHasState says that a partition that was to be restored is there already.
var ErrHasState = errors.New("it has state already")

// Restore takes partitions out of another state of the same log, such as a
// checkpoint: all that it has where none is named. It returns which. A partition of
// which d has something already is refused with ErrHasState unless replace is set,
// and then none is restored. Each is whole or not there after a crash.
func (d *DB) Restore(from *DB, partitions []int32, replace bool) (restored []int32, err error) {
	have, err := from.Partitions()
	if err != nil {
		return nil, err
	}
	if len(partitions) == 0 {
		partitions = have
	}
	own, err := d.Partitions()
	if err != nil {
		return nil, err
	}
	for _, p := range partitions {
		switch {
		case !slices.Contains(have, p):
			return nil, fmt.Errorf("restore partition %d: the checkpoint has none of it; it has %v", p, have)
		case slices.Contains(own, p) && !replace:
			return nil, fmt.Errorf("restore partition %d: %w", p, ErrHasState)
		}
	}
	for _, p := range partitions {
		if err := d.restore(from, p); err != nil {
			return restored, fmt.Errorf("restore partition %d: %w", p, err)
		}
		restored = append(restored, p)
	}
	return restored, nil
}

// restoreBatch bounds what a batch of a restore holds.
const restoreBatch = 4 << 20

// unfinished is the record of a partition that is being restored: of a format that
// nothing reads, so that one that was cut off is dropped, and made anew from the log.
var unfinished = []byte{0}

// restore copies a partition, the record of all that is not a key's last.
func (d *DB) restore(from *DB, number int32) error {
	p := d.Partition(number)
	if err := p.Drop(); err != nil {
		return err
	}
	lower, upper := bounds(number)
	it, err := from.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return damaged(err)
	}
	b := d.db.NewBatch()
	meta := append(slices.Clone(lower), 'm')
	last := unfinished
	if err := d.db.Set(meta, unfinished, pebble.Sync); err != nil {
		return errors.Join(err, it.Close(), b.Close())
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var v []byte
		if v, err = it.ValueAndErr(); err != nil {
			break
		}
		if slices.Equal(it.Key(), meta) {
			last = slices.Clone(v)
			continue
		}
		if err = b.Set(it.Key(), v, nil); err == nil && b.Len() > restoreBatch {
			err = b.Commit(pebble.NoSync)
			b = d.db.NewBatch()
		}
	}
	if err = errors.Join(err, it.Error(), it.Close()); err == nil {
		err = b.Set(meta, last, nil)
	}
	if err != nil {
		return errors.Join(damaged(err), b.Close())
	}
	return b.Commit(pebble.Sync)
}

// bounds are those of a partition's keys.
func bounds(number int32) (lower, upper []byte) {
	lower = binary.BigEndian.AppendUint16(nil, uint16(number))
	return lower, binary.BigEndian.AppendUint32(nil, uint32(uint16(number))+1)[2:]
}

// Partitions are those of which the state has something.
func (d *DB) Partitions() ([]int32, error) {
	it, err := d.db.NewIter(nil)
	if err != nil {
		return nil, damaged(err)
	}
	var all []int32
	for ok := it.First(); ok; {
		n := int32(binary.BigEndian.Uint16(it.Key()))
		all = append(all, n)
		_, next := bounds(n)
		ok = it.SeekGE(next)
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, damaged(err)
	}
	return all, nil
}
