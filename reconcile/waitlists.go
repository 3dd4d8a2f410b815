package reconcile

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// waitLists says in State which keys wait for a frontier, so that a core that
// is opened finds them without looking at all. The keys that are written
// together stand in one list, under one key of State; a key stands in the list
// that its own record names. A list of which nobody waits any more is deleted.
type waitLists struct {
	last    uint64         // the number of the last list written
	waiting map[uint64]int // by list: how many keys wait, of those that have one
	ended   []uint64       // lists to delete
	next    encoder        // the list to be written: ids
	members int
}

func newWaitLists() waitLists { return waitLists{waiting: map[uint64]int{}} }

func waitListKey(list uint64) []byte { return binary.BigEndian.AppendUint64([]byte{waitPrefix}, list) }

// move takes a key that is being written out of its list, and puts it into the
// next one if it waits. It returns the list that it stands in then.
func (w *waitLists) move(from uint64, id string, waits bool) uint64 {
	if from != 0 {
		w.leave(from)
	}
	if !waits {
		return 0
	}
	w.next.text(id)
	w.members++
	return w.last + 1
}

func (w *waitLists) leave(list uint64) {
	if w.waiting[list]--; w.waiting[list] <= 0 {
		delete(w.waiting, list)
		w.ended = append(w.ended, list)
	}
}

// flush writes the list of the keys that were written since the last one.
func (w *waitLists) flush(state State) error {
	for _, list := range w.ended {
		if err := state.Delete(waitListKey(list)); err != nil {
			return err
		}
	}
	w.ended = w.ended[:0]
	if w.members == 0 {
		return nil
	}
	w.last++
	w.waiting[w.last] = w.members
	err := state.Set(waitListKey(w.last), w.next.b)
	w.next.b, w.members = w.next.b[:0], 0
	return err
}

// load reads the lists and asks of each key whether it waits in that list.
func (w *waitLists) load(state State, waits func(id string, list uint64) (bool, error)) error {
	lists := map[uint64][]string{}
	err := state.Scan([]byte{waitPrefix}, []byte{waitPrefix + 1}, func(key, value []byte) error {
		if len(key) != 9 {
			return fmt.Errorf("read which keys wait: %w", ErrDamaged)
		}
		list := binary.BigEndian.Uint64(key[1:])
		d := &decoder{b: value}
		for len(d.b) > 0 && !d.bad {
			lists[list] = append(lists[list], d.text())
		}
		w.last = max(w.last, list)
		if err := d.err(); err != nil {
			return fmt.Errorf("read which keys wait: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, list := range slices.Sorted(maps.Keys(lists)) {
		for _, id := range lists[list] {
			ok, err := waits(id, list)
			if err != nil {
				return err
			}
			if ok {
				w.waiting[list]++
			}
		}
		if w.waiting[list] == 0 {
			w.ended = append(w.ended, list)
		}
	}
	return nil
}
