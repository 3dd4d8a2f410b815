package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trueup-io/trueup/internal/bytemap"
)

// Partition is one partition's part of the DB, as a reconcile.State: writes
// stay in memory until Commit, reads see them.
type Partition struct {
	db      *DB
	prefix  [2]byte
	pending *bytemap.Map // what is written since: the value behind one of the bytes below
	leaving *bytemap.Map // what was, and is being committed; empty: nothing is
	ended   chan error   // of that commit; nil: there is none
	written *written     // what has been written, where nothing was before; nil: it is not known
	tracked *tracked     // what has a value, instead; nil: it is not known
	buf     []byte
	value   []byte
}

// What was done to a key, before its value in pending.
const (
	wasDeleted byte = 0
	wasSet     byte = 1
)

// Partition returns the part of a partition, with no writes pending.
func (d *DB) Partition(n int32) *Partition {
	p := &Partition{db: d, pending: bytemap.New(), leaving: bytemap.New()}
	binary.BigEndian.PutUint16(p.prefix[:], uint16(n))
	share := d.filters.of(n)
	if p.empty() {
		p.written = newWritten(share)
	}
	return p
}

func (p *Partition) number() int32 { return int32(binary.BigEndian.Uint16(p.prefix[:])) }

// empty says that nothing of the partition is written, as far as that can be seen.
func (p *Partition) empty() bool {
	it, err := p.db.db.NewIter(&pebble.IterOptions{LowerBound: p.prefix[:], UpperBound: p.upper()})
	if err != nil {
		return false
	}
	none := !it.First() && it.Error() == nil
	return it.Close() == nil && none
}

// upper is where the partition's part ends; nil for the last one that there can be.
func (p *Partition) upper() []byte {
	if p.prefix == [2]byte{0xff, 0xff} {
		return nil
	}
	return binary.BigEndian.AppendUint16(nil, binary.BigEndian.Uint16(p.prefix[:])+1)
}

func (p *Partition) full(key []byte) []byte {
	p.buf = append(append(p.buf[:0], p.prefix[:]...), key...)
	return p.buf
}

// Get implements reconcile.State.
func (p *Partition) Get(key []byte) ([]byte, bool, error) {
	if !p.mayHave(key) {
		return nil, false, nil
	}
	if e, ok := p.pending.Get(key); ok {
		return e[1:], e[0] == wasSet, nil
	}
	if p.ended != nil {
		if e, ok := p.leaving.Get(key); ok {
			return e[1:], e[0] == wasSet, nil
		}
	}
	v, closer, err := p.db.db.Get(p.full(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, damaged(err)
	}
	p.value = append(p.value[:0], v...)
	if err := closer.Close(); err != nil {
		return nil, false, damaged(err)
	}
	return p.value, true, nil
}

// Set implements reconcile.State.
func (p *Partition) Set(key, value []byte) error {
	p.setting(key)
	p.value = append(append(p.value[:0], wasSet), value...)
	p.pending.Set(key, p.value)
	return nil
}

// Delete implements reconcile.State.
func (p *Partition) Delete(key []byte) error {
	if !p.mayHave(key) {
		return nil
	}
	if p.tracked != nil {
		p.tracked.remove(key)
	}
	p.pending.Set(key, []byte{wasDeleted})
	return nil
}

// Scan implements reconcile.State: pending writes and the DB, merged in order.
func (p *Partition) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	if err := p.Wait(); err != nil {
		return err
	}
	pending := p.pending.Keys(lower, upper)
	it, err := p.db.db.NewIter(&pebble.IterOptions{LowerBound: bytes.Clone(p.full(lower)), UpperBound: bytes.Clone(p.full(upper))})
	if err != nil {
		return damaged(err)
	}
	err = p.merge(it, pending, fn)
	return errors.Join(err, damaged(it.Close()))
}

func (p *Partition) merge(it *pebble.Iterator, pending [][]byte, fn func(key, value []byte) error) error {
	for ok := it.First(); ok || len(pending) > 0; {
		if len(pending) > 0 && (!ok || bytes.Compare(pending[0], it.Key()[2:]) <= 0) {
			k := pending[0]
			pending = pending[1:]
			if ok && bytes.Equal(k, it.Key()[2:]) {
				ok = it.Next()
			}
			if e, _ := p.pending.Get(k); e[0] == wasSet {
				if err := fn(k, e[1:]); err != nil {
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

// ownerKey is outside of the core's key spaces: whose part it is.
const ownerKey = "\x00partition"

// Own checks that what stands there is the partition's own, and says so of what
// is to stand there: not another one's that was copied to its place.
func (p *Partition) Own() error {
	have, ok, err := p.Get([]byte(ownerKey))
	switch {
	case err != nil:
		return err
	case !ok:
		return p.Set([]byte(ownerKey), p.prefix[:])
	case !bytes.Equal(have, p.prefix[:]):
		return fmt.Errorf("%w: the part of partition %d holds %d's", ErrDamaged, binary.BigEndian.Uint16(p.prefix[:]), binary.BigEndian.Uint16(have))
	}
	return nil
}

// Changes yields what is pending: each key with the value that it is to have, nil where
// it is to be deleted, in no order that means anything. What was never there is not
// deleted. Neither may be kept, and nothing be written meanwhile.
func (p *Partition) Changes(yield func(key, value []byte) bool) { changes(p.pending)(yield) }

func changes(pending *bytemap.Map) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for k, e := range pending.All {
			value := e[1:]
			if e[0] == wasDeleted {
				value = nil
			}
			if !yield(k, value) {
				return
			}
		}
	}
}

// Pending is how many bytes of memory what is not committed takes.
func (p *Partition) Pending() int { return p.pending.Size() }

// batchHeader is what a batch takes beside what is in it.
const batchHeader = 64

// Commit writes everything pending in one batch.
func (p *Partition) Commit() error {
	if err := p.CommitLater(); err != nil {
		return err
	}
	return p.Wait()
}

// CommitLater is Commit without waiting for it: reads see what is being written. That
// it failed is said by the next call that waits: CommitLater, Commit, Wait, Scan or
// Drop. After that the partition is not to be used.
func (p *Partition) CommitLater() error {
	if err := p.Wait(); err != nil {
		return err
	}
	if b := p.db.ballast; b != nil && b.gone.Load() {
		return ErrFull
	}
	if why := p.db.corrupt.Load(); why != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, *why)
	}
	if meta, ok := p.pending.Get([]byte("m")); zooZ8 && ok {
		if err := p.db.db.Set(p.full([]byte("m")), meta[1:], pebble.NoSync); err != nil {
			return err
		}
	}
	p.pending, p.leaving = p.leaving, p.pending
	leaving, ended := p.leaving, make(chan error, 1)
	p.ended = ended
	p.db.commits.Go(func() {
		if err := p.db.write(p.prefix, leaving); err != nil {
			ended <- fmt.Errorf("commit state: %w", damaged(err))
		}
		close(ended)
	})
	return nil
}

// Wait waits for a commit that is under way.
func (p *Partition) Wait() error {
	if p.ended == nil {
		return nil
	}
	err := <-p.ended
	p.ended = nil
	p.leaving.Clear()
	return err
}

// write writes what was pending of a partition, in one batch.
func (d *DB) write(prefix [2]byte, pending *bytemap.Map) error {
	b := d.db.NewBatchWithSize(pending.Size() + batchHeader)
	full := prefix[:]
	for k, v := range changes(pending) {
		full = append(full[:len(prefix)], k...)
		var err error
		if v == nil {
			err = b.Delete(full, nil)
		} else {
			err = b.Set(full, v, nil)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("build batch: %w", err), b.Close())
		}
	}
	return b.Commit(d.syncDue())
}

// Discard forgets everything pending.
func (p *Partition) Discard() {
	p.pending.Clear()
	if p.tracked != nil { // it went with what is forgotten
		p.tracked.room.giveBack()
		p.tracked = nil
	}
}

// Drop deletes everything of the partition, durably.
func (p *Partition) Drop() error {
	if err := p.Wait(); err != nil {
		return err
	}
	p.Discard()
	upper := p.upper()
	if upper == nil {
		return errors.New("drop state: partition out of range")
	}
	if err := p.db.db.DeleteRange(p.prefix[:], upper, pebble.Sync); err != nil {
		return fmt.Errorf("drop state: %w", damaged(err))
	}
	p.written = newWritten(p.db.filters.of(p.number()))
	return nil
}

// damaged marks an error that means that the content cannot be trusted.
func damaged(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
