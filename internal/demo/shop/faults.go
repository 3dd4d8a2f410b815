package shop

import (
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// faultKinds are the kinds that are planted, in the order in which people list
// them.
var faultKinds = []schemas.Kind{schemas.Missing, schemas.Stale, schemas.Mismatch, schemas.Reordered, schemas.Rogue,
	schemas.Resurrected, schemas.Torn}

// Counts says how many faults of each kind a run of so many changes has.
func Counts(changes int) map[schemas.Kind]int {
	counts := map[schemas.Kind]int{}
	for _, kind := range faultKinds {
		n := min(max(changes/3000, 2), 20)
		if kind == schemas.Torn {
			n = min(max(n/4, 2), 5)
		}
		counts[kind] = n
	}
	return counts
}

// scene draws the faults of a run. Every fault has an order of its own.
type scene struct {
	values
	writer int
	n      int
	ids    *ids
}

func (s *scene) request() Tag {
	s.n++
	return s.tag(s.writer, s.n)
}

// faults draws every fault, in a random order.
func (c cast) faults(seed int64, counts map[schemas.Kind]int) []*Fault {
	s := &scene{values: newValues(seed, 2<<32), writer: c.planter(), ids: c.ids(c.planter())}
	var all []*Fault
	for _, kind := range faultKinds {
		ways := faultWays[kind]
		for i := range counts[kind] {
			f := ways[i%len(ways)](s)
			f.Kind = kind
			all = append(all, f)
		}
	}
	s.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i, f := range all {
		f.ID = i
	}
	return all
}

// open is the legitimate writes that open an order with n lines.
func (s *scene) open(n int) (Order, []Line, []Write) {
	o := s.order(s.ids.take())
	lines := s.lines(o.ID, n)
	steps := []Step{putOrder{o}}
	if n > 0 {
		steps = append(steps, putLines{lines})
	}
	return o, lines, []Write{{Tag: s.request(), Steps: steps}}
}

func (s *scene) legacy(tag Tag, steps ...Step) act {
	return act{side: schemas.Legacy, tag: tag, steps: steps}
}

func (s *scene) target(tag Tag, steps ...Step) act {
	return act{side: schemas.Target, tag: tag, steps: steps}
}

// other redraws what can change of an order so that its state differs for sure.
func (s *scene) other(o Order) Order {
	was := o.State
	for o = s.fresh(o); o.State == was; {
		o.State = pick(s.values, states)
	}
	return o
}

// moment is a short pause, as between two requests of the same person.
func (s *scene) moment() time.Duration {
	return time.Duration(20+s.IntN(100)) * time.Millisecond
}
