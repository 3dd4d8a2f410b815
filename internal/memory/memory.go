// Package memory keeps resident what a long-running process needs, and no more: it
// says how lazy the garbage collector may be, and gives back what only the start of
// the program has read.
//
// What captures or compares keeps little alive and makes much that is soon
// forgotten. Go's own setting collects when the heap has doubled: a heap of two
// megabytes is collected twenty times a second, which was a quarter of a capture's
// CPU time, and one of fifteen takes thirty, half of which nobody needs. So the
// garbage that may lie about is at first a constant, and what Go allows only where
// that is much more. Who sets GOGC has what it says; GOMEMLIMIT means what it
// always does.
package memory

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// headroom is how much garbage may lie about beside a small heap, in bytes.
	headroom = 8 << 20
	// most is how much garbage may lie about beside a large heap, in bytes, and a quarter of what is alive there while
	// both come to no more than full; or that quarter alone, where it is more.
	most = 80 << 20
	full = 400 << 20
	// smallest is the heap that Go never collects at GOGC=100; it goes with GOGC.
	smallest = 4 << 20
)

// Tune gives the heap headroom until restore is called, of one process once at a
// time. After each collection it sets what the next one waits for.
func Tune() (restore func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	t := &tuner{before: debug.SetGCPercent(100), set: 100}
	t.tune()
	watch(t)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.stopped = true
		debug.SetGCPercent(t.before)
	}
}

// watch tunes after the next collection, and watches for the one after it.
func watch(t *tuner) {
	// What nobody points to is gone with the next collection.
	runtime.AddCleanup(new([16]byte), func(t *tuner) {
		if t.tune() {
			watch(t)
		}
	}, t)
}

type tuner struct {
	before int // what GOGC was

	mu      sync.Mutex
	set     int // under mu, as is what follows: what GOGC is
	stopped bool
}

// tune sets GOGC by what is alive, false if it was stopped.
func (t *tuner) tune() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if p := percent(s[0].Value.Uint64()); p != t.set {
		t.set = p
		debug.SetGCPercent(p)
	}
	return true
}

// percent is the GOGC for a heap with so many bytes alive: garbage of headroom
// beside a small one, of headroom less than is alive beside a larger one, and of what
// most and full leave beside one that is larger than that. It goes in steps, so that
// it is not set for nothing.
func percent(live uint64) int {
	const step = 5
	l := max(float64(live), 1<<16)
	garbage := min(max(headroom, l-headroom), max(most, l/4, min(most+l/4, full-l)))
	p := min(garbage/l, (l+garbage)/smallest) * 100
	return max(step, int(math.Round(p/step))*step)
}
