// Package crashtest says where a campaign of crash sites kills.
//
// It promises a short sample unless TRUEUP_CRASH_ALL=1 asks for every hit, which can
// take hours; TRUEUP_CRASH_SITES, a regular expression, then names some of the sites.
package crashtest

import (
	"os"
	"regexp"
)

// All says whether every hit of every site is asked for.
func All() bool { return os.Getenv("TRUEUP_CRASH_ALL") == "1" }

// Chosen says whether a site is among those that are asked for.
func Chosen(site string) bool {
	return regexp.MustCompile(os.Getenv("TRUEUP_CRASH_SITES")).MatchString(site)
}

// Hits returns the hits to die at, from 1, of n in an undisturbed run. A sample has
// one, a third into the workload; a second life dies earlier in it.
func Hits(n int) (hits []int) {
	if !All() {
		return []int{(n + 2) / 3}
	}
	for i := range n {
		hits = append(hits, 1+i)
	}
	return hits
}
