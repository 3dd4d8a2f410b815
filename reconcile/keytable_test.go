package reconcile

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The table holds what a map would hold, whatever is added and removed.
func TestKeyTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, model := newKeyTable(), map[string]*keyState{}
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			id := strconv.Itoa(rapid.IntRange(0, 150).Draw(t, "id"))
			switch k := model[id]; {
			case k == nil:
				k = &keyState{id: id, hash: table.hash(id)}
				table.add(k)
				model[id] = k
			default:
				table.remove(k)
				delete(model, id)
			}
			if table.find(id, table.hash(id)) != model[id] || table.len() != len(model) {
				t.Fatalf("id %s: the table has %v of %d, want %v of %d", id, table.find(id, table.hash(id)), table.len(), model[id], len(model))
			}
		}
		for id, k := range model {
			if table.find(id, table.hash(id)) != k {
				t.Fatalf("%s is not found", id)
			}
		}
		got := slices.SortedFunc(slices.Values(table.all()), func(a, b *keyState) int { return strings.Compare(a.id, b.id) })
		want := slices.SortedFunc(maps.Values(model), func(a, b *keyState) int { return strings.Compare(a.id, b.id) })
		if !slices.Equal(got, want) {
			t.Fatalf("all are %d states, want %d", len(got), len(want))
		}
	})
}

// Also where everything stands in one run that goes over the end of the slots.
func TestKeyTableRemovesOverTheEnd(t *testing.T) {
	for first := range 3 {
		table := newKeyTable()
		last := uint64(len(table.slots) - 1)
		var states []*keyState
		for i := range 6 {
			k := &keyState{id: strconv.Itoa(i)}
			states = append(states, k)
			table.put(keySlot{last - uint64(i%2), k}) // homes at the last two slots
			table.used++
		}
		at := func(k *keyState) int {
			return slices.IndexFunc(table.slots, func(s keySlot) bool { return s.k == k })
		}
		gone := states[first]
		gap := uint64(at(gone))
		table.close(gap)
		for _, k := range states {
			if k == gone {
				continue
			}
			// It is reached from its home without passing an empty slot.
			i := table.slots[at(k)].hash & last
			for ; table.slots[i].k != k; i = (i + 1) & last {
				if table.slots[i].k == nil {
					t.Fatalf("%s cannot be reached after %s was removed", k.id, gone.id)
				}
			}
		}
	}
}
