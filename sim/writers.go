package sim

import (
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// writers are an application that writes to both stores, with the mistakes that
// such applications make.
type writers struct {
	*world
	pending int // writes of one side that the other has not got yet
	writes  int
	held    bool // a hand-over waits for what is under way
}

// fill puts rows in that were there before.
func (a *writers) fill() {
	for id := range a.dials.keys {
		if a.r.IntN(3) == 0 {
			continue
		}
		k, v := orderKey(id), a.value()
		a.store[schemas.Legacy].seed(k, v)
		switch a.r.IntN(6) {
		case 0:
			v = a.value()
		case 1:
			continue
		}
		a.store[schemas.Target].seed(k, v)
	}
}

func (a *writers) value() value { return valueOf('a'+byte(a.r.IntN(a.dials.values)), 150) }

// transaction is what the application wants both stores to have: an order, or an
// order with its lines.
func (a *writers) transaction() []write {
	id := a.r.IntN(a.dials.keys)
	if a.r.IntN(3) == 0 {
		id = 0 // a hot one
	}
	var tag schemas.Tag
	if a.dials.writeIDs && a.r.IntN(2) == 0 {
		tag.WriteID = fmt.Sprintf("write-%d", a.writes)
	}
	var ws []write
	add := func(k rowKey) {
		v := a.value()
		if a.r.IntN(6) == 0 {
			v = gone
		}
		ws = append(ws, write{key: k, after: v, tag: tag})
	}
	add(orderKey(id))
	if a.r.IntN(3) == 0 {
		add(lineKey(id, 1+a.r.IntN(2)))
	}
	switch a.r.IntN(12) {
	case 0:
		add(orderKey(a.r.IntN(a.dials.keys)))
	case 1: // the same row twice
		add(ws[0].key)
	}
	return ws
}

// write writes to both stores, mostly.
func (a *writers) write() {
	if a.healed || a.held {
		return
	}
	a.writes++
	for _, group := range a.rollout.groups(a.transaction()) {
		a.put(group.authority, group.writes)
	}
}

// put writes to both stores, mostly to the one with authority first.
func (a *writers) put(authority schemas.Side, ws []write) {
	first, second := authority, authority.Other()
	window := schemas.Micros(a.dials.window.Microseconds())
	wait := 1 + schemas.Micros(a.r.Int64N(int64(window)/3))
	if a.r.IntN(5) == 0 {
		first, second = second, first
	}
	if a.chance(a.dials.mistake) {
		a.wrong(authority, ws, window)
		return
	}
	a.store[first].commit(ws...)
	a.later(wait, second, ws)
}

// later writes to a store a while from now, on whatever is there by then.
func (a *writers) later(wait schemas.Micros, side schemas.Side, ws []write) {
	a.pending++
	a.in(wait, func() {
		a.pending--
		a.store[side].commit(ws...)
	})
}

// wrong makes one of the mistakes.
func (a *writers) wrong(authority schemas.Side, ws []write, window schemas.Micros) {
	follower := authority.Other()
	other := slices.Clone(ws)
	switch a.r.IntN(7) {
	case 0: // lost
		a.store[authority].commit(ws...)
	case 1: // another value
		a.store[authority].commit(ws...)
		other[0].after = a.value()
		a.later(1+window/4, follower, other)
	case 2: // in part
		a.store[authority].commit(ws...)
		a.later(1+window/4, follower, other[:len(other)-1])
	case 3: // too late
		a.store[authority].commit(ws...)
		a.later(window+schemas.Micros(a.r.Int64N(int64(4*window))), follower, ws)
	case 4: // by somebody who knows nothing of the other store
		a.store[follower].commit(ws...)
	case 5: // what was deleted comes back
		other = []write{{key: ws[0].key, after: gone}}
		a.store[authority].commit(other...)
		a.later(1+window/4, follower, other)
		a.later(2+window/2+schemas.Micros(a.r.Int64N(int64(2*window))), follower, []write{{key: ws[0].key, after: a.value()}})
	case 6: // two that race, and arrive in the other order
		a.store[authority].commit(ws...)
		a.later(window/2, follower, ws)
		other[0].after = a.value()
		a.later(1, authority, other)
		a.later(2, follower, other)
	}
}
