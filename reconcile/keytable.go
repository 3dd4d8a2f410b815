package reconcile

import "hash/maphash"

// keyTable finds the state of a key by its id: open addressing with linear
// probing, half full at most. A map of texts looks in three places that are far
// from each other, the group, the text and the state; this looks into the state at
// once, which is needed anyway.
type keyTable struct {
	slots []keySlot // a power of two
	used  int
	seed  maphash.Seed // another in every run: nothing depends on it but where a state stands here
}

// keySlot is empty where it has no state.
type keySlot struct {
	hash uint64
	k    *keyState
}

const minKeySlots = 64

func newKeyTable() keyTable {
	return keyTable{slots: make([]keySlot, minKeySlots), seed: maphash.MakeSeed()}
}

func (t *keyTable) len() int { return t.used }

func (t *keyTable) hash(id string) uint64 { return maphash.String(t.seed, id) }

// find returns the state with an id that has that hash, nil if there is none.
func (t *keyTable) find(id string, hash uint64) *keyState {
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := &t.slots[i]
		if s.k == nil {
			return nil
		}
		if s.hash == hash && s.k.id == id {
			return s.k
		}
	}
}

// first returns the first state of which the id has that hash, nil if there is none: most likely that of the
// key that is looked for.
func (t *keyTable) first(hash uint64) *keyState {
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.k == nil || s.hash == hash {
			return s.k
		}
	}
}

// add adds a state that is not there.
func (t *keyTable) add(k *keyState) {
	if t.used*2 >= len(t.slots) {
		t.grow()
	}
	t.put(keySlot{k.hash, k})
	t.used++
}

func (t *keyTable) put(s keySlot) {
	mask := uint64(len(t.slots) - 1)
	i := s.hash & mask
	for t.slots[i].k != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

func (t *keyTable) grow() {
	old := t.slots
	t.slots = make([]keySlot, 2*len(old))
	for _, s := range old {
		if s.k != nil {
			t.put(s)
		}
	}
}

// remove takes a state out, if it is there.
func (t *keyTable) remove(k *keyState) {
	mask := uint64(len(t.slots) - 1)
	gap := k.hash & mask
	for ; t.slots[gap].k != k; gap = (gap + 1) & mask {
		if t.slots[gap].k == nil {
			return
		}
	}
	t.close(gap)
}

// close closes the gap that a state leaves: what comes behind it moves up, as far as it has a
// place there (Knuth, The Art of Computer Programming 3, 6.4, algorithm R).
func (t *keyTable) close(gap uint64) {
	mask := uint64(len(t.slots) - 1)
	for i := (gap + 1) & mask; t.slots[i].k != nil; i = (i + 1) & mask {
		if home := t.slots[i].hash & mask; (i-home)&mask >= (i-gap)&mask {
			t.slots[gap] = t.slots[i]
			gap = i
		}
	}
	t.slots[gap] = keySlot{}
	t.used--
}

// all returns the states that are there, in no order.
func (t *keyTable) all() []*keyState {
	all := make([]*keyState, 0, t.used)
	for i := range t.slots {
		if k := t.slots[i].k; k != nil {
			all = append(all, k)
		}
	}
	return all
}
