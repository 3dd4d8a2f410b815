package mysql

import (
	"slices"
	"sync"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// sample is one question to the server: what time is it, and up to where does
// the log go?
type sample struct {
	asked    time.Time      // capture's clock, before the question was sent
	answered time.Time      // capture's clock, when the answer was there
	clock    schemas.Micros // the server's clock when it began to answer, before it looked at the log
	set      gtids          // everything that had been written to the log then
}

// latest is a time of the server's clock at which it had looked at the log.
func (s *sample) latest() schemas.Micros { return s.clock.Add(s.answered.Sub(s.asked)) + 1 }

const (
	// clockWindow is how many samples the clock is estimated from: the quickest answer of them counts.
	clockWindow = 16
	// pendingSamples bounds the samples that the stream has not reached: while it lags for minutes, every second of
	// them is as good.
	pendingSamples = 1024
)

// timeline relates the log to the server's clock, and that to capture's clock.
// The sampler adds to it, the stream asks.
type timeline struct {
	mu      sync.Mutex
	window  []sample // the latest, at most clockWindow; guarded by mu, like the rest
	best    sample   // of the window: the quickest answer
	pending []sample // not yet reached by the stream, in order
}

// add takes the latest sample.
func (t *timeline) add(s sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.window) > 0 && !t.agrees(&s) {
		t.window = t.window[:0] // one of the clocks was set
	}
	if len(t.window) == clockWindow {
		t.window = slices.Delete(t.window, 0, 1)
	}
	t.window = append(t.window, s)
	t.best = t.window[0]
	for _, w := range t.window[1:] {
		if w.answered.Sub(w.asked) <= t.best.answered.Sub(t.best.asked) {
			t.best = w
		}
	}
	if len(t.pending) == pendingSamples {
		kept := t.pending[:0]
		for i := 0; i < pendingSamples; i += 2 {
			kept = append(kept, t.pending[i])
		}
		t.pending = kept
	}
	t.pending = append(t.pending, s)
}

// drift is how far the clocks may have gone apart in d: 200 millionths.
func drift(d time.Duration) time.Duration { return max(d, -d) / 5000 }

// agrees says whether s can be of the clocks that the best sample is of.
func (t *timeline) agrees(s *sample) bool {
	passed := s.asked.Sub(t.best.asked)
	expected := t.best.clock.Add(passed)
	slack := schemas.Micros(0).Add(s.answered.Sub(s.asked) + t.best.answered.Sub(t.best.asked) + drift(passed) + time.Millisecond)
	// The wall clock is reported with progress, so a step of it counts too.
	wall := schemas.MicrosOf(s.asked) - schemas.MicrosOf(t.best.asked)
	return max(s.clock-expected, expected-s.clock) <= slack && max(s.clock-t.best.clock-wall, t.best.clock+wall-s.clock) <= slack
}

// at returns the latest that the server's clock can have shown at a time of
// capture's clock. There is a sample before anything is asked.
func (t *timeline) at(when time.Time) schemas.Micros {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.atLocked(when)
}

func (t *timeline) atLocked(when time.Time) schemas.Micros {
	passed := when.Sub(t.best.asked)
	return t.best.clock.Add(passed+drift(passed)) + 1
}

// latestCommit returns the latest time of the server's clock at which a
// transaction can have committed that was received at that time, and that the
// stream had not passed before.
func (t *timeline) latestCommit(one gtid, received time.Time) schemas.Micros {
	t.mu.Lock()
	defer t.mu.Unlock()
	bound := t.atLocked(received)
	for i := range t.pending {
		if t.pending[i].set.has(one) {
			return min(bound, t.pending[i].latest())
		}
	}
	return bound
}

// reach returns the latest time of the server's clock such that everything the
// stream has not read, being complete up to done, committed later; 0 if no
// further sample was reached.
func (t *timeline) reach(done gtids) (clock schemas.Micros) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(t.pending) && done.contains(t.pending[n].set) {
		clock = max(clock, t.pending[n].clock)
		n++
	}
	t.pending = slices.Delete(t.pending, 0, n)
	return clock
}

// offset returns the server's clock minus capture's, and how far that can be
// off either way.
func (t *timeline) offset() (offset, err schemas.Micros) {
	t.mu.Lock()
	defer t.mu.Unlock()
	width := schemas.MicrosOf(t.best.answered) - schemas.MicrosOf(t.best.asked)
	middle := schemas.MicrosOf(t.best.asked) + width/2
	return t.best.clock - middle, width/2 + 1
}
