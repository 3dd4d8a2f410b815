package state

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trueup-io/trueup/internal/bytemap"
)

// tracked holds the keys that have a value, where that are few at a time of many: of those
// that come and go, nearly none is there when it is looked for, and a filter of what
// was ever written would say of each that it may be.
type tracked struct {
	keys *bytemap.Map
	room *share
	left int // keys that there is room for yet
}

const (
	trackedStep  = 4096    // keys for which room is taken at a time
	trackedBytes = 72      // of a key, about
	mostTracked  = 1 << 18 // keys of a partition
)

// add is false where there is no room for one more.
func (t *tracked) add(key []byte) bool {
	if _, ok := t.keys.Get(key); ok {
		return true
	}
	if t.left == 0 {
		if t.keys.Len() >= mostTracked || !t.room.take(trackedStep*trackedBytes) {
			return false
		}
		t.left = trackedStep
	}
	t.left--
	t.keys.Set(key, nil)
	return true
}

func (t *tracked) has(key []byte) bool {
	_, ok := t.keys.Get(key)
	return ok
}

func (t *tracked) remove(key []byte) {
	if n := t.keys.Len(); n > 0 {
		t.keys.Delete(key)
		t.left += n - t.keys.Len()
	}
}

// Track has the partition know which of its keys have a value, as long as there are not too
// many, so that those that have none are not looked for: of state of which most is deleted soon.
// Nothing may be pending. It is to be called again after Discard.
func (p *Partition) Track() error {
	if err := p.Wait(); err != nil {
		return err
	}
	p.written, p.tracked = nil, nil
	t := &tracked{keys: bytemap.New(), room: p.db.filters.of(p.number())}
	it, err := p.db.db.NewIter(&pebble.IterOptions{LowerBound: p.prefix[:], UpperBound: p.upper()})
	if err != nil {
		return damaged(err)
	}
	all := true
	for ok := it.First(); ok && all; ok = it.Next() {
		all = t.add(it.Key()[len(p.prefix):])
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return damaged(err)
	}
	if all {
		p.tracked = t
	} else {
		t.room.giveBack()
	}
	return nil
}

// filter has a filter stand for what was tracked.
func (p *Partition) filter(t *tracked) {
	t.room.giveBack()
	p.tracked, p.written = nil, newWritten(p.db.filters.of(p.number()))
	for key := range t.keys.All {
		p.setting(key)
	}
}

// mayHave is false for a key that has no value, neither pending nor committed.
func (p *Partition) mayHave(key []byte) bool {
	switch {
	case p.tracked != nil:
		return p.tracked.has(key)
	case p.written != nil:
		return p.written.has(key)
	}
	return true
}

// setting notes that a key will have a value.
func (p *Partition) setting(key []byte) {
	switch {
	case p.tracked != nil && !p.tracked.add(key):
		p.filter(p.tracked)
		p.setting(key)
	case p.written != nil && !p.written.add(key):
		p.written.room.giveBack()
		p.written = nil
	}
}
