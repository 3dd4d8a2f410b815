package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Partition is one partition's part of the DB, as a reconcile.State: writes
// stay in memory until Commit, reads see them.
type Partition struct {
	db      *DB
	prefix  [2]byte
	overlay map[string]entry
	buf     []byte
}

type entry struct {
	value   []byte
	deleted bool
}

// Partition returns the part of a partition, with no writes pending.
func (d *DB) Partition(n int32) *Partition {
	p := &Partition{db: d, overlay: map[string]entry{}}
	binary.BigEndian.PutUint16(p.prefix[:], uint16(n))
	return p
}

func (p *Partition) full(key []byte) []byte {
	p.buf = append(append(p.buf[:0], p.prefix[:]...), key...)
	return p.buf
}

// Get implements reconcile.State.
func (p *Partition) Get(key []byte) ([]byte, bool, error) {
	if e, ok := p.overlay[string(key)]; ok {
		return e.value, !e.deleted, nil
	}
	v, closer, err := p.db.db.Get(p.full(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, damaged(err)
	}
	v = bytes.Clone(v)
	if v == nil {
		v = []byte{}
	}
	if err := closer.Close(); err != nil {
		return nil, false, damaged(err)
	}
	return v, true, nil
}

// Set implements reconcile.State.
func (p *Partition) Set(key, value []byte) error {
	p.overlay[string(key)] = entry{value: bytes.Clone(value)}
	return nil
}

// Delete implements reconcile.State.
func (p *Partition) Delete(key []byte) error {
	p.overlay[string(key)] = entry{deleted: true}
	return nil
}

// Scan implements reconcile.State: pending writes and the DB, merged in order.
func (p *Partition) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	var pending []string
	for k := range p.overlay {
		if k >= string(lower) && k < string(upper) {
			pending = append(pending, k)
		}
	}
	slices.Sort(pending)
	it, err := p.db.db.NewIter(&pebble.IterOptions{LowerBound: bytes.Clone(p.full(lower)), UpperBound: bytes.Clone(p.full(upper))})
	if err != nil {
		return damaged(err)
	}
	err = p.merge(it, pending, fn)
	return errors.Join(err, damaged(it.Close()))
}

func (p *Partition) merge(it *pebble.Iterator, pending []string, fn func(key, value []byte) error) error {
	for ok := it.First(); ok || len(pending) > 0; {
		if len(pending) > 0 && (!ok || pending[0] <= string(it.Key()[2:])) {
			k := pending[0]
			pending = pending[1:]
			if ok && k == string(it.Key()[2:]) {
				ok = it.Next()
			}
			if e := p.overlay[k]; !e.deleted {
				if err := fn([]byte(k), e.value); err != nil {
					return err
				}
			}
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return damaged(err)
		}
		if err := fn(it.Key()[2:], v); err != nil {
			return err
		}
		ok = it.Next()
	}
	return damaged(it.Error())
}

// Commit writes everything pending in one batch.
func (p *Partition) Commit() error {
	if zooZ8 {
		if err := p.db.db.Set(p.full([]byte("m")), p.overlay["m"].value, pebble.NoSync); err != nil {
			return err
		}
	}
	b := p.db.db.NewBatch()
	for k, e := range p.overlay {
		var err error
		if e.deleted {
			err = b.Delete(p.full([]byte(k)), nil)
		} else {
			err = b.Set(p.full([]byte(k)), e.value, nil)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("build batch: %w", err), b.Close())
		}
	}
	if err := b.Commit(p.db.syncDue()); err != nil {
		return fmt.Errorf("commit state: %w", damaged(err))
	}
	clear(p.overlay)
	return nil
}

// Discard forgets everything pending.
func (p *Partition) Discard() { clear(p.overlay) }

// Drop deletes everything of the partition, durably.
func (p *Partition) Drop() error {
	p.Discard()
	upper := binary.BigEndian.AppendUint32(nil, uint32(binary.BigEndian.Uint16(p.prefix[:]))+1)[2:]
	if p.prefix == [2]byte{0xff, 0xff} {
		return errors.New("drop state: partition out of range")
	}
	if err := p.db.db.DeleteRange(p.prefix[:], upper, pebble.Sync); err != nil {
		return fmt.Errorf("drop state: %w", damaged(err))
	}
	return nil
}

// damaged marks an error that means that the content cannot be trusted.
func damaged(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
