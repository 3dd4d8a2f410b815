package reconcile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// The state's key spaces, by first byte; txnPrefix is another.
const (
	metaKey     = "m" // one record: everything of the partition that is not a key's
	keyPrefix   = 'k' // 'k' entity NUL order-key: a key's record
	indexPrefix = 'i' // 'i' …: the keys that wait for a frontier, empty
	queuePrefix = 'q' // 'q' sequence: a queued change
)

// maxCached bounds the keys kept decoded between flushes: about 100 MB.
const maxCached = 100_000

// keyring loads, keeps and saves the states of keys.
type keyring struct {
	state       State
	rules       *schemas.Rules
	cache       map[string]*keyState
	recent      []*keyState // read or changed since the last flush: all that it has to look at
	totals      [classCount]int64
	authorityOf func(*schemas.Entity) schemas.Side
	swap        func(*keyState)
	enc         encoder
	idBuf       []byte
	keyBuf      []byte // what is being written
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

// order is the key's order-preserving form.
func (k *keyState) order() string { return k.id[len(k.entity.Name)+2:] }

// get returns the state of a key, a new one if there is none.
func (r *keyring) get(e *schemas.Entity, key []string) (*keyState, error) {
	r.idBuf = e.AppendOrderKey(appendID(r.idBuf[:0], e, nil), key)
	if k, ok := r.cache[string(r.idBuf)]; ok {
		if k.key == nil {
			k.key = key
		}
		return k, nil
	}
	k := newKeyState(e, string(r.idBuf), key)
	if _, err := r.load(k); err != nil {
		return nil, err
	}
	if k.key == nil {
		k.key = key
	}
	r.keep(k)
	return k, nil
}

// byID returns the state of a known key, nil if there is none.
func (r *keyring) byID(id string) (*keyState, error) {
	if k, ok := r.cache[id]; ok {
		return k, nil
	}
	name, _, ok := strings.Cut(id[1:], "\x00")
	if !ok {
		return nil, fmt.Errorf("read state of key %q: %w", id, errDamaged)
	}
	e, ok := r.rules.Entity(name)
	if !ok {
		return nil, nil
	}
	k := newKeyState(e, id, nil)
	if found, err := r.load(k); !found || err != nil {
		return nil, err
	}
	r.keep(k)
	return k, nil
}

// keep has a key in memory from now on.
func (r *keyring) keep(k *keyState) {
	r.cache[k.id] = k
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
	b, ok, err := r.state.Get([]byte(k.id))
	if err != nil || !ok {
		return false, err
	}
	k.key = nil
	was, err := decodeKey(b, k)
	if err != nil {
		return false, fmt.Errorf("read state of key %q: %w", k.id, err)
	}
	k.queued = k.timer
	if was != r.authorityOf(k.entity) {
		r.swap(k)
	}
	return true, nil
}

// flush saves what changed, and forgets settled keys.
func (r *keyring) flush() error {
	for _, k := range r.recent {
		if k.dirty {
			if err := r.save(k); err != nil {
				return fmt.Errorf("write state of key %q: %w", k.id, err)
			}
		}
		k.listed = false
		if !k.indexed && !k.touched {
			delete(r.cache, k.id)
		}
	}
	clear(r.recent)
	r.recent = r.recent[:0]
	if len(r.cache) > maxCached {
		for id, k := range r.cache { // any order: all that can go do
			if !k.touched {
				delete(r.cache, id)
			}
		}
	}
	return nil
}

func (r *keyring) save(k *keyState) error {
	if waits := k.timer != [3]schemas.Micros{}; waits != k.indexed {
		k.indexed = waits
		r.keyBuf = append(r.keyBuf[:0], k.id...)
		index := r.keyBuf
		index[0] = indexPrefix
		var err error
		if waits {
			err = r.state.Set(index, nil)
		} else {
			err = r.state.Delete(index)
		}
		if err != nil {
			return err
		}
	}
	r.enc.b = r.enc.b[:0]
	encodeKey(&r.enc, k, r.authorityOf(k.entity))
	k.dirty = false
	r.keyBuf = append(r.keyBuf[:0], k.id...)
	return r.state.Set(r.keyBuf, r.enc.b)
}

// each calls fn for every key of the partition, in order.
func (r *keyring) each(fn func(*keyState) error) error {
	return r.eachBetween([]byte{keyPrefix}, []byte{keyPrefix + 1}, fn)
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
	if err := r.flush(); err != nil {
		return err
	}
	const page = 4096 // keys collected before they are visited, since visiting writes
	for {
		var ids []string
		err := r.state.Scan(lower, upper, func(key, _ []byte) error {
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
