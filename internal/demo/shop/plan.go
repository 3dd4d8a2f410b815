package shop

import "fmt"

// firstID is where the orders of a run begin.
const firstID = 100_001

// ids hands out order ids of one writer. Those of all writers interleave, as they
// do in a shop that has one sequence.
type ids struct{ next, step int64 }

func (i *ids) take() int64 {
	id := i.next
	i.next += i.step
	return id
}

// cast is who takes part: the writers, and one more who plants the faults.
type cast struct{ writers int }

func (c cast) ids(member int) *ids {
	return &ids{next: firstID + int64(member), step: int64(c.writers) + 2}
}

func (c cast) planter() int { return c.writers }

// sharedOrders belong to all writers. The first few of them are hot.
const (
	sharedOrders = 120
	hotOrders    = 6
	sharedLines  = 3 // of each
)

func (c cast) shared() []int64 {
	all := make([]int64, sharedOrders)
	from := c.ids(c.writers + 1)
	for i := range all {
		all[i] = from.take()
	}
	return all
}

// openShared is the writes that open the shared orders.
func (c cast) openShared(seed int64) []Write {
	v := newValues(seed, 1<<32)
	var writes []Write
	for n, id := range c.shared() {
		writes = append(writes, Write{Tag: v.tag(c.writers+1, n+1),
			Steps: []Step{putOrder{v.order(id)}, putLines{v.lines(id, sharedLines)}}})
	}
	return writes
}

// planner says what one writer does next. What it says follows from the seed.
type planner struct {
	values
	writer int
	n      int // writes so far
	ids    *ids
	shared []int64
	owned  []ownedOrder // nobody else writes these
}

type ownedOrder struct {
	order Order
	lines []Line
}

func (c cast) planner(seed int64, writer int) *planner {
	return &planner{values: newValues(seed, uint64(writer)), writer: writer, ids: c.ids(writer), shared: c.shared()}
}

// A writer keeps some orders, so that it has something to change, and not every
// order for ever.
const (
	fewestOwned = 24
	mostOwned   = 1000
)

func (p *planner) next() Write {
	p.n++
	w := Write{Tag: p.tag(p.writer, p.n), TargetFirst: p.IntN(10) == 0}
	kind := p.IntN(100)
	if len(p.owned) < fewestOwned {
		kind = 0
	}
	switch {
	case kind < 28:
		w.Steps = p.place()
	case kind < 50:
		o := &p.one().order
		*o = p.fresh(*o)
		w.Steps = []Step{setOrder{*o}}
	case kind < 58:
		o := &p.one().order
		o.State = pick(p.values, states)
		w.Steps = []Step{setStates{[]int64{o.ID}, o.State}}
	case kind < 66:
		w.Steps = p.reprice()
	case kind < 72:
		w.Steps = p.batch()
	case kind < 78:
		w.Steps = p.cancel()
	case kind < 88:
		id := p.shared[p.IntN(hotOrders)]
		w.Steps = []Step{setOrder{p.fresh(Order{ID: id})}}
	case kind < 94:
		w.Steps = []Step{setLine{p.line(pick(p.values, p.shared), 1+p.IntN(sharedLines))}}
	case kind < 96: // the same values again
		w.Steps = []Step{setOrder{p.one().order}}
	case kind < 98: // there and back again, in one transaction
		o := p.one().order
		w.Steps = []Step{setOrder{p.fresh(o)}, setOrder{o}}
	default: // refused at the end: an order that never was, and a change that never was
		id := p.ids.take()
		w.Steps = []Step{putOrder{p.order(id)}, putLines{p.lines(id, 2)}, setOrder{p.fresh(p.one().order)}}
		w.Aborted = true
	}
	return w
}

// one is a recent order of the writer: that is where a shop is busy.
func (p *planner) one() *ownedOrder { return &p.owned[p.recent()] }

func (p *planner) recent() int {
	const busy = 200
	from := max(0, len(p.owned)-busy)
	return from + p.IntN(len(p.owned)-from)
}

func (p *planner) place() []Step {
	id := p.ids.take()
	o := ownedOrder{order: p.order(id), lines: p.lines(id, 1+p.IntN(4))}
	if len(p.owned) == mostOwned { // the oldest orders rest from here on
		p.owned = append(p.owned[:0], p.owned[mostOwned/2:]...)
	}
	p.owned = append(p.owned, o)
	return []Step{putOrder{o.order}, putLines{o.lines}}
}

// reprice changes a line and the order's amount in one transaction.
func (p *planner) reprice() []Step {
	o := p.one()
	l := &o.lines[p.IntN(len(o.lines))]
	*l = p.line(l.Order, l.No)
	o.order = p.fresh(o.order)
	return []Step{setOrder{o.order}, setLine{*l}}
}

// batch moves a number of orders to a state in one statement.
func (p *planner) batch() []Step {
	n := 8 + p.IntN(13)
	from := p.IntN(len(p.owned) - n + 1)
	state := pick(p.values, states)
	s := setStates{state: state}
	for i := range p.owned[from : from+n] {
		o := &p.owned[from+i].order
		o.State = state
		s.ids = append(s.ids, o.ID)
	}
	return []Step{s}
}

// cancel deletes an order and its lines.
func (p *planner) cancel() []Step {
	i := p.recent()
	o := p.owned[i]
	p.owned = append(p.owned[:i], p.owned[i+1:]...)
	return []Step{dropLines{o.order.ID, len(o.lines)}, dropOrder{o.order.ID}}
}

// String is for messages about a write.
func (w *Write) String() string { return fmt.Sprintf("%s (%d rows)", w.Tag.WriteID, w.Rows()) }
