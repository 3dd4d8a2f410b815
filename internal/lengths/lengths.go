// Package lengths puts lengths of time into steps of a tenth, from 100 µs to a day
// and more, so that many of them can be counted, added up and asked for a share.
package lengths

import (
	"math"
	"time"
)

const (
	// Steps is how many there are.
	Steps = 220

	least = 100 * time.Microsecond
	ratio = 1.1
)

// Step is the one that a length falls into.
func Step(d time.Duration) int {
	if d <= least {
		return 0
	}
	return min(int(math.Ceil(math.Log(float64(d)/float64(least))/math.Log(ratio))), Steps-1)
}

// Of is a step's longest length: at most a tenth more than any in it, of the last step apart.
func Of(step int) time.Duration {
	return time.Duration(float64(least) * math.Pow(ratio, float64(step)))
}

// Within is a length that so large a share of n lengths did not exceed, and at most a
// tenth more than the least that is one; 0: there are none. count says how many a step has.
func Within(share float64, n uint64, count func(step int) uint64) time.Duration {
	need, seen := uint64(math.Ceil(share*float64(n))), uint64(0)
	for step := range Steps {
		if seen += count(step); n > 0 && seen >= need {
			return Of(step)
		}
	}
	return 0
}
