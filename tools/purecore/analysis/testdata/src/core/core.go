// Package core breaks the rules of a core, each where that is said.
package core

import (
	"maps"
	"math/rand/v2" // want `import of math/rand/v2: chance`
	"os"           // want `import of os: the core does no I/O`
	"slices"
	"sync" // want `import of sync`
	"time"
)

var mu sync.Mutex

func clocks() time.Time {
	start := time.Now()   // want `time.Now: time is data`
	now := time.Now       // want `time.Now: time is data`
	_ = time.Since(start) // want `time.Since`
	_ = now
	return time.Unix(0, 0).Add(time.Second) // times as data are fine
}

func chance() int { return rand.IntN(len(os.Args)) }

func concurrency() {
	c := make(chan int) // want `channel`
	go clocks()         // want `go statement`
	select {            // want `select`
	case <-c:
	default:
	}
}

func mapOrder(m map[string]int, out func(string)) []string {
	for k := range m { // want `range over a map`
		out(k)
	}
	for range m { // only counts
		out("")
	}
	for _, v := range []int{1} {
		_ = v
	}
	// any order: out keeps a set
	for k := range m {
		out(k)
	}
	for k := range m { // any order: out keeps a set
		out(k)
	}
	// any order:
	for k := range m { // want `range over a map`
		out(k)
	}
	for k, v := range m {
		if v > 1 && len(k) > 0 {
			delete(m, k)
			continue
		}
	}
	for k := range m { // want `range over a map`
		delete(m, k+"x")
	}
	var unsorted []string
	for k := range m { // want `range over a map`
		unsorted = append(unsorted, k)
	}
	var keys []string
	for k := range m {
		if k != "" {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	total := 0.0
	for _, v := range m { // want `range over a map`
		total += float64(v) / 3 // rounds differently in another order
	}
	for k := range maps.Keys(m) { // want `maps.Keys yields in an order`
		out(k)
	}
	for k := range maps.Values(m) { // any order: counted only
		_ = k
	}
	return append(keys, slices.Sorted(maps.Keys(m))...)
}
