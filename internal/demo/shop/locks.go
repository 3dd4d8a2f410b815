package shop

import (
	"slices"
	"sync"
)

// locks are the application's locks on orders. An order's lines go with it.
type locks struct {
	stripes [1024]sync.Mutex // an order's is its id modulo their number
}

// hold locks the orders and returns what unlocks them. Stripes are taken in
// order, so holders never wait for each other in a circle.
func (l *locks) hold(orders []int64) (release func()) {
	stripes := make([]int, len(orders))
	for i, id := range orders {
		stripes[i] = int(id) % len(l.stripes)
	}
	slices.Sort(stripes)
	stripes = slices.Compact(stripes)
	for _, s := range stripes {
		l.stripes[s].Lock()
	}
	return func() {
		for _, s := range stripes {
			l.stripes[s].Unlock()
		}
	}
}
