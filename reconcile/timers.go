package reconcile

import "github.com/trueup-io/trueup/schemas"

// timers holds keys by the frontier that each waits for, and gives them back
// in the order of these, then of the keys. Entries that a key no longer waits
// for are dropped when they come up.
//
// Frontiers rise, so most entries come in order. Those that do go to the end of
// a run, the others into a heap: what is due stands at the head of one of them.
type timers struct {
	runs [timerRuns]timerRun
	heap []timer
	read uint64 // see aheadOf
}

// timerRuns is how many orders at once most keys come in: commit times of
// either side, with and without a window.
const timerRuns = 4

type timer struct {
	at schemas.Micros
	k  *keyState // it may have gone from memory, and stand for another key by now
	id string    // of the key
}

func (t *timer) before(o *timer) bool {
	if t.at != o.at {
		return t.at < o.at
	}
	return t.id < o.id
}

// timerRun is a queue of timers in order.
type timerRun struct {
	q    []timer
	head int
}

func (r *timerRun) empty() bool { return r.head == len(r.q) }

func (r *timerRun) add(x timer) {
	if r.head > len(r.q)/2 && len(r.q) == cap(r.q) { // make room instead of growing
		n := copy(r.q, r.q[r.head:])
		clear(r.q[n:])
		r.q, r.head = r.q[:n], 0
	}
	r.q = append(r.q, x)
}

func (r *timerRun) pop() timer {
	x := r.q[r.head]
	r.q[r.head] = timer{}
	if r.head++; r.head == len(r.q) {
		r.q, r.head = r.q[:0], 0
	}
	return x
}

func (t *timers) add(at schemas.Micros, k *keyState) {
	x := timer{at, k, k.id}
	best := -1 // the run that ends closest before it
	for i := range t.runs {
		r := &t.runs[i]
		if r.empty() {
			if best < 0 {
				best = i
			}
			continue
		}
		if end := &r.q[len(r.q)-1]; !x.before(end) &&
			(best < 0 || t.runs[best].empty() || t.runs[best].q[len(t.runs[best].q)-1].before(end)) {
			best = i
		}
	}
	if best >= 0 {
		t.runs[best].add(x)
		return
	}
	t.push(x)
}

// due removes and returns the next key whose time lies before the frontier.
func (t *timers) due(frontier schemas.Micros) (timer, bool) {
	var first *timer
	from := -1
	for i := range t.runs {
		if r := &t.runs[i]; !r.empty() && (first == nil || r.q[r.head].before(first)) {
			first, from = &r.q[r.head], i
		}
	}
	if len(t.heap) > 0 && (first == nil || t.heap[0].before(first)) {
		first, from = &t.heap[0], len(t.runs)
	}
	switch {
	case first == nil || first.at >= frontier:
		return timer{}, false
	case from < len(t.runs):
		return t.runs[from].pop(), true
	}
	return t.pop(), true
}

// push adds to the heap. (container/heap would put each entry into an
// interface, at an allocation apiece.)
func (t *timers) push(x timer) {
	t.heap = append(t.heap, x)
	h := t.heap
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// pop removes the heap's first entry.
func (t *timers) pop() timer {
	h := t.heap
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], timer{}
	h = h[:last]
	t.heap = h
	for i := 0; ; {
		next := 2*i + 1
		if next >= len(h) {
			return first
		}
		if next+1 < len(h) && h[next+1].before(&h[next]) {
			next++
		}
		if !h[next].before(&h[i]) {
			return first
		}
		h[i], h[next] = h[next], h[i]
		i = next
	}
}
