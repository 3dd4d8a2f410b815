package reconcile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// The state's key spaces, by first byte; txnPrefix is another.
const (
	// PartitionRecord is one record: everything of the partition that is not a key's. While it holds something that is
	// none, such as nothing of a length, no core goes on from the State.
	PartitionRecord = "m"

	keyPrefix   = 'k' // 'k' entity NUL order-key: a key's record
	waitPrefix  = 'w' // 'w' sequence: the keys that waited for a frontier when they were written together
	queuePrefix = 'q' // 'q' sequence: a queued change
)

// DefaultMaxCached is about 100 MB.
const DefaultMaxCached = 150_000

// keySlab is how many states are made at once.
const keySlab = 16

// keyring loads, keeps and saves the states of keys.
type keyring struct {
	state       State
	max         int // keys kept decoded between flushes
	rules       *schemas.Rules
	cache       keyTable
	slab        []keyState  // never used
	free        []*keyState // gone from cache, to be used again
	recent      []*keyState // read or changed since the last flush: all that it has to look at, and some that have gone since
	rest        []*keyState // of them, those that have come to rest: all that unload has to look at
	lists       waitLists
	ids         texts
	totals      [classCount]int64
	authorityOf func(e *schemas.Entity, id string) schemas.Side
	swap        func(*keyState)
	read        uint64 // see aheadOf
	idBuf       []byte
	keyBuf      []byte // what is being read or written
	valueBuf    []byte
}

func (r *keyring) count(c class, by int64) {
	if c != uncounted {
		r.totals[c] += by
	}
}

func appendID(b []byte, e *schemas.Entity, order []byte) []byte {
	b = append(b, keyPrefix)
	b = append(b, e.Name...)
	b = append(b, 0)
	return append(b, order...)
}

func orderOf(e *schemas.Entity, id string) string { return id[len(e.Name)+2:] }

// keyOf returns the canonical key of an id, nil for one that is damaged.
func keyOf(e *schemas.Entity, id string) []string {
	key, err := e.ParseOrderKey(orderOf(e, id))
	if err != nil {
		return nil // the log has it still
	}
	return key
}

// get returns the state of a key, a new one if there is none.
func (r *keyring) get(e *schemas.Entity, key []string) (*keyState, error) {
	id := r.idOf(e, key)
	return r.at(e, id, r.cache.hash(id))
}

// idOf returns a key's key in State.
func (r *keyring) idOf(e *schemas.Entity, key []string) string {
	r.idBuf = e.AppendOrderKey(appendID(r.idBuf[:0], e, nil), key)
	return r.ids.keepBytes(r.idBuf)
}

// at returns the state of a key by its id and that one's hash, a new one if there is none.
func (r *keyring) at(e *schemas.Entity, id string, hash uint64) (*keyState, error) {
	if k := r.cache.find(id, hash); k != nil {
		return k, nil
	}
	k := r.fresh(e, id, hash)
	if _, err := r.load(k); err != nil {
		return nil, err
	}
	r.keep(k)
	return k, nil
}

// waitsAt returns the key that a timer is of, nil if there is none any more.
func (r *keyring) waitsAt(t *timer) (*keyState, error) {
	if t.k.id == t.id {
		return t.k, nil
	}
	return r.byID(t.id)
}

// fresh returns an empty state for a key.
func (r *keyring) fresh(e *schemas.Entity, id string, hash uint64) *keyState {
	lead := r.authorityOf(e, id)
	if n := len(r.free); n > 0 {
		k := r.free[n-1]
		r.free = r.free[:n-1]
		k.reset(e, id, hash, lead)
		return k
	}
	if len(r.slab) == 0 {
		r.slab = make([]keyState, keySlab)
	}
	k := &r.slab[0]
	r.slab = r.slab[1:]
	k.begin(e, id, hash, lead, k.near[:0])
	return k
}

// evict has a key in memory no longer.
func (r *keyring) evict(k *keyState) {
	r.cache.remove(k)
	k.id = ""
	if len(r.free) < r.max {
		r.free = append(r.free, k)
	}
}

// byID returns the state of a known key, nil if there is none.
func (r *keyring) byID(id string) (*keyState, error) {
	hash := r.cache.hash(id)
	if k := r.cache.find(id, hash); k != nil {
		return k, nil
	}
	name, _, ok := strings.Cut(id[1:], "\x00")
	if !ok {
		return nil, fmt.Errorf("read state of key %q: %w", id, ErrDamaged)
	}
	e, ok := r.rules.Entity(name)
	if !ok {
		return nil, nil
	}
	k := r.fresh(e, id, hash)
	if found, err := r.load(k); !found || err != nil {
		k.id = "" // it stands for no key
		r.free = append(r.free, k)
		return nil, err
	}
	r.keep(k)
	return k, nil
}

// keep has a key in memory from now on.
func (r *keyring) keep(k *keyState) {
	r.cache.add(k)
	r.list(k)
}

// list has the next flush look at a key.
func (r *keyring) list(k *keyState) {
	if !k.listed {
		k.listed = true
		r.recent = append(r.recent, k)
	}
}

// change has a key written at the next flush.
func (r *keyring) change(k *keyState) {
	k.dirty = true
	r.list(k)
}

func (r *keyring) load(k *keyState) (found bool, err error) {
	r.keyBuf = append(r.keyBuf[:0], k.id...)
	b, ok, err := r.state.Get(r.keyBuf)
	if err != nil || !ok {
		return false, err
	}
	k.stored = true
	was, err := decodeKey(b, k)
	if err != nil {
		return false, fmt.Errorf("read state of key %q: %w", k.id, err)
	}
	k.queued = k.timer
	if was != k.lead {
		r.swap(k)
	}
	return true, nil
}

// settle has the next unload look at a key that waits for nothing.
func (r *keyring) settle(k *keyState) {
	if !k.resting && k.timer == [3]schemas.Micros{} {
		k.resting = true
		r.rest = append(r.rest, k)
	}
}

// unload saves and forgets the keys that wait for nothing.
func (r *keyring) unload() error {
	for _, k := range r.rest {
		k.resting = false
		if k.id == "" || k.touched || k.timer != [3]schemas.Micros{} {
			continue // it has gone already, or waits again
		}
		if err := r.saveChanged(k); err != nil {
			return err
		}
		r.evict(k)
	}
	clear(r.rest)
	r.rest = r.rest[:0]
	return nil
}

// flush saves what changed, and forgets the keys that wait for nothing.
func (r *keyring) flush() error {
	if err := r.unload(); err != nil {
		return err
	}
	for _, k := range r.recent {
		k.listed = false
		if k.id == "" {
			continue
		}
		if err := r.saveChanged(k); err != nil {
			return err
		}
		if k.list == 0 && !k.touched {
			r.evict(k)
		}
	}
	clear(r.recent)
	r.recent = r.recent[:0]
	if err := r.lists.flush(r.state); err != nil {
		return fmt.Errorf("write which keys wait: %w", err)
	}
	if over := r.cache.len() - r.max; over > 0 {
		over += r.max / 4 // so that it does not come to this with every flush
		r.forget(func(k *keyState) bool {
			over--
			return !k.touched && over >= 0
		})
	}
	return nil
}

// forget has keys in memory no longer. Everything is written.
func (r *keyring) forget(which func(*keyState) bool) {
	for _, k := range r.cache.all() { // any order: what is in memory is no part of the log
		if which(k) {
			r.evict(k)
		}
	}
}

func (r *keyring) saveChanged(k *keyState) error {
	if !k.dirty {
		return nil
	}
	if err := r.save(k); err != nil {
		return fmt.Errorf("write state of key %q: %w", k.id, err)
	}
	return nil
}

func (r *keyring) save(k *keyState) error {
	k.list = r.lists.move(k.list, k.id, k.timer != [3]schemas.Micros{})
	if k.blank() && k.entity.DropSettled {
		k.dirty = false
		if !k.stored {
			return nil
		}
		k.stored = false
		r.keyBuf = append(r.keyBuf[:0], k.id...)
		return r.state.Delete(r.keyBuf)
	}
	k.stored = true
	r.valueBuf = encodeKey(r.valueBuf[:0], k)
	k.dirty = false
	r.keyBuf = append(r.keyBuf[:0], k.id...)
	return r.state.Set(r.keyBuf, r.valueBuf)
}

// each calls fn for every key of the partition, in order.
func (r *keyring) each(fn func(*keyState) error) error {
	return r.eachBetween([]byte{keyPrefix}, []byte{keyPrefix + 1}, fn)
}

// eachOpen calls fn for every key of the partition of which more is kept than
// the small form holds, in order. Those that have settled need not be read.
func (r *keyring) eachOpen(fn func(*keyState) error) error {
	return r.pages([]byte{keyPrefix}, []byte{keyPrefix + 1}, func(value []byte) bool {
		return len(value) > 0 && value[0]&3 == formOpen
	}, fn)
}

// eachIn calls fn for every key of an entity in a range of order keys,
// inclusive; nil is open.
func (r *keyring) eachIn(e *schemas.Entity, from, to []byte, fn func(*keyState) error) error {
	lower := appendID(nil, e, from)
	upper := appendID(nil, e, to)
	if to == nil {
		upper[len(upper)-1] = 1
	} else {
		upper = append(upper, 0)
	}
	return r.eachBetween(lower, upper, fn)
}

func (r *keyring) eachBetween(lower, upper []byte, fn func(*keyState) error) error {
	return r.pages(lower, upper, func([]byte) bool { return true }, fn)
}

// pages calls fn for the keys of a range of State whose records are wanted.
func (r *keyring) pages(lower, upper []byte, wanted func(value []byte) bool, fn func(*keyState) error) error {
	if err := r.flush(); err != nil {
		return err
	}
	const page = 4096 // keys collected before they are visited, since visiting writes
	for {
		var ids []string
		err := r.state.Scan(lower, upper, func(key, value []byte) error {
			if !wanted(value) {
				return nil
			}
			ids = append(ids, string(key))
			if len(ids) == page {
				return errPage
			}
			return nil
		})
		if err != nil && !errors.Is(err, errPage) {
			return err
		}
		for _, id := range ids {
			k, err := r.byID(id)
			if err != nil {
				return err
			}
			if k == nil {
				continue
			}
			if err := fn(k); err != nil {
				return err
			}
		}
		if len(ids) < page {
			return nil
		}
		lower = append([]byte(ids[page-1]), 0)
		if err := r.flush(); err != nil {
			return err
		}
	}
}
