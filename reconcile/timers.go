package reconcile

import (
	"container/heap"

	"github.com/trueup-io/trueup/schemas"
)

// timers is a queue of keys by the frontier that each waits for. Entries that
// a key no longer waits for are dropped when they come up.
type timers []timer

type timer struct {
	at schemas.Micros
	id string
}

func (t timers) Len() int { return len(t) }
func (t timers) Less(i, j int) bool {
	if t[i].at != t[j].at {
		return t[i].at < t[j].at
	}
	return t[i].id < t[j].id
}
func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

// Push and Pop implement heap.Interface.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}

func (t *timers) add(at schemas.Micros, id string) { heap.Push(t, timer{at, id}) }

// due removes and returns the next key whose time lies before the frontier.
func (t *timers) due(frontier schemas.Micros) (timer, bool) {
	if len(*t) == 0 || (*t)[0].at >= frontier {
		return timer{}, false
	}
	return heap.Pop(t).(timer), true
}
