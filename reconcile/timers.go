package reconcile

import "github.com/trueup-io/trueup/schemas"

// timers is a heap of keys by the frontier that each waits for. Entries that
// a key no longer waits for are dropped when they come up. (container/heap
// would put each into an interface, at an allocation apiece.)
type timers []timer

type timer struct {
	at schemas.Micros
	id string
}

func (t timers) before(i, j int) bool {
	if t[i].at != t[j].at {
		return t[i].at < t[j].at
	}
	return t[i].id < t[j].id
}

func (t *timers) add(at schemas.Micros, id string) {
	*t = append(*t, timer{at, id})
	h := *t
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// due removes and returns the next key whose time lies before the frontier.
func (t *timers) due(frontier schemas.Micros) (timer, bool) {
	h := *t
	if len(h) == 0 || h[0].at >= frontier {
		return timer{}, false
	}
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], timer{}
	*t = h[:last]
	t.sink(0)
	return first, true
}

// sink moves an entry down until none below it comes before it.
func (t timers) sink(i int) {
	for {
		next := 2*i + 1
		if next >= len(t) {
			return
		}
		if next+1 < len(t) && t.before(next+1, next) {
			next++
		}
		if !t.before(next, i) {
			return
		}
		t[i], t[next] = t[next], t[i]
		i = next
	}
}
