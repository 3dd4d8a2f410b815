package reconcile

import (
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// timers holds keys by the frontier that each waits for, and gives them back
// in the order of these, then of the keys. Entries that a key no longer waits
// for are dropped when they come up.
//
// Frontiers rise, so most entries come in order. Those that do go to the end of
// a run, the others into a heap: what is due stands at the head of one of them.
type timers struct {
	runs  [timerRuns]timerRun
	heap  []timer
	spare *[timerBlock]timer // empty; nil: there is none
	read  uint64             // see aheadOf
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

// timerBlock is how many timers are in memory together: a run takes and gives back
// so many at a time, and never copies what stands in it.
const timerBlock = 256

// timerRun is a queue of timers in order.
//
// Invariant: it is empty where it has no block. Otherwise the first one is read at
// head, and the last one was written up to end.
type timerRun struct {
	blocks    []*[timerBlock]timer
	head, end int
}

func (r *timerRun) empty() bool { return len(r.blocks) == 0 }

// first is the next timer of a run that is not empty.
func (r *timerRun) first() *timer { return &r.blocks[0][r.head] }

// last is the last timer of a run that is not empty.
func (r *timerRun) last() *timer { return &r.blocks[len(r.blocks)-1][r.end-1] }

func (t *timers) append(r *timerRun, at schemas.Micros, k *keyState) {
	if r.empty() || r.end == timerBlock {
		if r.empty() {
			r.head = 0
		}
		r.blocks, r.end = append(r.blocks, t.block()), 0
	}
	r.blocks[len(r.blocks)-1][r.end] = timer{at, k, k.id}
	r.end++
}

func (t *timers) pop(r *timerRun) timer {
	first := r.first()
	x := *first
	*first = timer{}
	if r.head++; r.head == timerBlock || len(r.blocks) == 1 && r.head == r.end {
		t.spare = r.blocks[0]
		r.blocks, r.head = slices.Delete(r.blocks, 0, 1), 0
	}
	return x
}

// block returns an empty block.
func (t *timers) block() *[timerBlock]timer {
	if b := t.spare; b != nil {
		t.spare = nil
		return b
	}
	return new([timerBlock]timer)
}

func (t *timers) add(at schemas.Micros, k *keyState) {
	x := timer{at, k, k.id}
	var best *timerRun // the run that ends closest before it
	for i := range t.runs {
		r := &t.runs[i]
		if r.empty() {
			if best == nil {
				best = r
			}
			continue
		}
		if end := r.last(); !x.before(end) && (best == nil || best.empty() || best.last().before(end)) {
			best = r
		}
	}
	if best != nil {
		t.append(best, at, k)
		return
	}
	t.push(x)
}

// due removes and returns the next key whose time lies before the frontier.
func (t *timers) due(frontier schemas.Micros) (timer, bool) {
	var first *timer
	var from *timerRun
	for i := range t.runs {
		if r := &t.runs[i]; !r.empty() && (first == nil || r.first().before(first)) {
			first, from = r.first(), r
		}
	}
	if len(t.heap) > 0 && (first == nil || t.heap[0].before(first)) {
		first, from = &t.heap[0], nil
	}
	switch {
	case first == nil || first.at >= frontier:
		return timer{}, false
	case from != nil:
		return t.pop(from), true
	}
	return t.popHeap(), true
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

// popHeap removes the heap's first entry.
func (t *timers) popHeap() timer {
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
