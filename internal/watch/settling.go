package watch

import (
	"fmt"
	"sync"
	"time"

	"github.com/trueup-io/trueup/internal/lengths"
	"github.com/trueup-io/trueup/schemas"
)

// Settling keeps how long entities took to be the same on both sides, by which side
// had a version first, and suggests settle windows from it. It is safe for
// concurrent use, and takes some 20 kB an entity.
type Settling struct {
	mu sync.Mutex
	of map[settlingOf]*spans // guarded by mu
}

type settlingOf struct {
	entity string
	first  schemas.Side
}

// NewSettling returns one that has seen nothing.
func NewSettling() *Settling { return &Settling{of: map[settlingOf]*spans{}} }

// Add notes that the side that did not have a version first had it after so long.
func (s *Settling) Add(entity string, first schemas.Side, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := settlingOf{entity, first}
	if s.of[k] == nil {
		s.of[k] = new(spans)
	}
	s.of[k].add(took)
}

// spans counts lengths of time. It has two generations, so that what was long ago does
// not count for ever.
type spans struct {
	now, before [lengths.Steps]uint64
	n, earlier  uint64
}

// spanGeneration is after how many lengths those of the generation before are forgotten.
const spanGeneration = 100_000

func (s *spans) add(d time.Duration) {
	if s.n == spanGeneration {
		s.before, s.earlier = s.now, s.n
		s.now, s.n = [lengths.Steps]uint64{}, 0
	}
	s.now[lengths.Step(d)]++
	s.n++
}

func (s *spans) samples() int64 { return int64(s.n + s.earlier) }

// within is a length that so many of them did not exceed.
func (s *spans) within(share float64) time.Duration {
	return lengths.Within(share, s.n+s.earlier, func(step int) uint64 { return s.now[step] + s.before[step] })
}

// Window is what was measured for an entity's settle window.
type Window struct {
	Entity string
	Set    time.Duration
	// Suggested is the longer direction's 99.9 % with windowMargin, as 1, 2 or 5 of a decade; 0: too little was seen.
	Suggested time.Duration
	First     [3]Measured // by schemas.Side, which had the versions first
	Warning   string      // what is wrong with the one that is set; empty: nothing, or too little was seen
}

// Measured is one direction of it.
type Measured struct {
	Samples   int64
	Half, Top time.Duration // half, and 99.9 %, took no longer
}

const (
	// windowSamples is how many lengths a direction has to have to count: of fewer, 99.9 % say nothing.
	windowSamples = 1000
	windowTop     = 0.999
	// windowMargin: the worst minute of a day is several times the 99.9 % of all of it.
	windowMargin = 3
	// windowLeast is the shortest suggested: progress is written every 200 ms.
	windowLeast = 200 * time.Millisecond
	// windowSmall and windowLarge say by what factor a window is not worth a word.
	windowSmall, windowLarge = 1.5, 10
)

// Window judges the window that an entity has.
func (s *Settling) Window(entity string, set time.Duration) Window {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := Window{Entity: entity, Set: set}
	for _, side := range schemas.Sides {
		if x := s.of[settlingOf{entity, side}]; x != nil {
			w.First[side] = Measured{x.samples(), x.within(0.5), x.within(windowTop)}
		}
	}
	return w.judged()
}

// judged is pure: the same measurements give the same advice.
func (w Window) judged() Window {
	var top time.Duration
	slow := schemas.Legacy
	for _, side := range schemas.Sides {
		if m := w.First[side]; m.Samples >= windowSamples && m.Top >= top {
			top, slow = m.Top, side.Other()
		}
	}
	if top == 0 {
		return w
	}
	w.Suggested = roundUp(max(windowLeast, windowMargin*top))
	switch {
	case float64(w.Set) < windowSmall*float64(top):
		w.Warning = fmt.Sprintf("the settle window of %s is %s, and of 1,000 writes one takes %s or more to reach %s: what is only slow is called diverged; set settleWindow to %s",
			w.Entity, w.Set, top.Round(time.Millisecond), slow, w.Suggested)
	case w.Set > windowLarge*w.Suggested:
		w.Warning = fmt.Sprintf("the settle window of %s is %s, and 999 of 1,000 writes are on both sides within %s: divergences are found later than they need be; settleWindow %s would do",
			w.Entity, w.Set, top.Round(time.Millisecond), w.Suggested)
	}
	return w
}

// roundUp returns the least of 1, 2 and 5 of a decade that is not shorter.
func roundUp(d time.Duration) time.Duration {
	for decade := time.Millisecond; ; decade *= 10 {
		for _, step := range [...]time.Duration{decade, 2 * decade, 5 * decade} {
			if step >= d {
				return step
			}
		}
	}
}
