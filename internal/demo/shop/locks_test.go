package shop

import (
	"sync"
	"testing"
)

// "An application lock per order is held over both stores", also by writes of
// several orders that take them in any order.
func TestLocksExclude(t *testing.T) {
	var l locks
	var all sync.WaitGroup
	counts := make([]int, 8) // each under its own lock; the race detector watches
	for w := range 4 {
		all.Go(func() {
			for i := range 2000 {
				a, b := int64((i+w)%8), int64((i*3+w)%8)
				// Two that share a stripe are taken once.
				release := l.hold([]int64{b, a, a + int64(len(l.stripes))})
				counts[a]++
				if b != a {
					counts[b]++
				}
				release()
			}
		})
	}
	all.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	if sum < 4*2000 {
		t.Errorf("%d", sum)
	}
}
