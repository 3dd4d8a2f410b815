package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// world is one run.
type world struct {
	seed      uint64
	r         *rand.Rand
	dials     dials
	authority schemas.Side

	clock  schemas.Micros // true time, which is also ours
	agenda agenda
	order  int
	healed bool

	store       [3]*store // by side
	capture     [3]*capture
	log         *log
	comparators []*comparator
	repairer    *repairer
	oracle      *oracle
	writers     *writers
	rollout     *rollout

	events   int // records written
	verdicts int
	failure  *Failure
	trace    []entry
}

// Failure is a promise that a run broke.
type Failure struct {
	Seed    uint64
	Promise string
	Detail  string
	Trace   []string // what happened to the key that it is about, or to all
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d breaks %s: %s\n%s", f.Seed, f.Promise, f.Detail, strings.Join(f.Trace, "\n"))
}

type entry struct {
	key  rowKey // zero: of no key
	text string
}

// agenda is what is to come, in order of time.
type agenda []appointment

type appointment struct {
	at    schemas.Micros
	order int
	do    func()
}

// Len and Less implement sort.Interface; Swap too.
func (a agenda) Len() int { return len(a) }

// Less implements sort.Interface.
func (a agenda) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].order < a[j].order
}

// Swap implements sort.Interface.
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *agenda) Push(x any) { *a = append(*a, x.(appointment)) }

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

func newWorld(seed uint64, set func(*dials)) (*world, error) {
	w := &world{seed: seed, r: rand.New(rand.NewPCG(seed, 41)), clock: start}
	w.dials = randomDials(w.r)
	if set != nil {
		set(&w.dials)
	}
	w.authority = w.dials.authority
	mode := "report"
	if w.dials.apply {
		mode = "apply"
	}
	rules, err := rulesFor(w.dials.window, mode, w.authority)
	if err != nil {
		return nil, err
	}
	w.log = newLog(rules, w.dials.partitions)
	w.oracle = newOracle(w)
	for _, side := range schemas.Sides {
		s := newStore(side, randomClock(w.r))
		s.now, s.note, s.broken = w.now, w.note, w.broken
		w.store[side] = s
		w.capture[side] = newCapture(w, s)
	}
	w.writers = &writers{world: w}
	w.rollout = newRollout(w)
	control := &schemas.Control{Rules: rules.Version, Authority: w.authority}
	if w.dials.empty {
		control.Baseline = schemas.BaselineEmpty
	} else {
		w.oracle.lost = true
		w.writers.fill()
		for _, side := range schemas.Sides {
			w.capture[side].reread()
		}
	}
	for p := range w.dials.partitions {
		w.log.append(p, &schemas.Record{Control: control})
	}
	w.rollout.begin()
	for p := range w.dials.partitions {
		w.comparators = append(w.comparators, newComparator(w, p))
	}
	w.repairer = newRepairer(w)
	w.begin()
	return w, nil
}

func (w *world) now() schemas.Micros { return w.clock }

func (w *world) chance(oneIn int) bool { return oneIn > 0 && w.r.IntN(oneIn) == 0 }

// note keeps what happened, for the trace of a failure. A zero key is everybody's.
func (w *world) note(k rowKey, format string, args ...any) {
	w.trace = append(w.trace, entry{k, fmt.Sprintf("%10.3fs ", float64(w.clock-start)/1e6) + k.String() + " " + fmt.Sprintf(format, args...)})
}

// broken ends the run: the first promise that is broken says the most.
func (w *world) broken(promise, format string, args ...any) {
	if w.failure != nil {
		return
	}
	w.failure = &Failure{Seed: w.seed, Promise: promise, Detail: fmt.Sprintf(format, args...)}
	about := func(k rowKey) bool { return k == rowKey{} || strings.Contains(w.failure.Detail, k.String()) }
	keyed := slices.ContainsFunc(w.trace, func(e entry) bool { return e.key != (rowKey{}) && about(e.key) })
	for _, e := range w.trace {
		if !keyed || about(e.key) {
			w.failure.Trace = append(w.failure.Trace, e.text)
		}
	}
	const most = 80
	if n := len(w.failure.Trace); n > most {
		w.failure.Trace = w.failure.Trace[n-most:]
	}
}

// in does something a while from now.
func (w *world) in(wait schemas.Micros, do func()) {
	w.order++
	heap.Push(&w.agenda, appointment{w.clock + wait, w.order, do})
}

// every does something again and again, with random waits of so much on average.
func (w *world) every(mean schemas.Micros, do func()) {
	w.in(1+schemas.Micros(w.r.Int64N(int64(2*mean))), func() {
		do()
		w.every(mean, do)
	})
}

func (w *world) begin() {
	for _, side := range schemas.Sides {
		c := w.capture[side]
		w.every(150*millisecond, c.sample)
		w.every(schemas.Micros(50+w.r.IntN(400))*millisecond, c.deliver)
	}
	for _, c := range w.comparators {
		w.every(schemas.Micros(50+w.r.IntN(600))*millisecond, func() { c.take(1 + w.r.IntN(40)) })
	}
	w.every(300*millisecond, w.repairer.work)
	w.every(w.dials.writeGap, w.writers.write)
	w.every(second, w.trouble)
}

// trouble breaks something now and then.
func (w *world) trouble() {
	if w.healed {
		return
	}
	c := w.capture[schemas.Sides[w.r.IntN(2)]]
	switch {
	case w.chance(w.dials.lag):
		c.paused = w.clock + schemas.Micros(w.r.Int64N(int64(w.dials.lagMost)))
		w.note(rowKey{}, "capture of %s lags until %.3fs", c.s.side, float64(c.paused-start)/1e6)
	case w.chance(w.dials.gap):
		w.oracle.lost = true
		c.loseSide()
	case w.chance(w.dials.entityGap):
		w.oracle.lost = true
		c.loseEntity([]string{orderEntity, lineEntity}[w.r.IntN(2)])
	case w.chance(w.dials.unreadable):
		w.oracle.lost = true
		c.spoil()
	case w.chance(w.dials.clockStep):
		by := schemas.Micros(w.r.Int64N(int64(20*second))) - 10*second
		c.s.clock.steps = append(c.s.clock.steps, step{w.clock, by})
		w.note(rowKey{}, "clock of %s is set by %.3fs", c.s.side, float64(by)/1e6)
	}
}

// until goes on to a time, or to a broken promise.
func (w *world) until(at schemas.Micros) {
	for w.failure == nil && w.agenda[0].at <= at {
		a := heap.Pop(&w.agenda).(appointment)
		w.clock = a.at
		a.do()
	}
	w.clock = max(w.clock, at)
}

// settleMost is how long everything may take to settle once faults healed and
// writes stopped (I38): windows, lags that go on and clocks that were set, with
// repairs one after the other.
const settleMost = 180 * second

// run makes the unsafe part, heals, and demands that everything settles.
func (w *world) run() {
	w.until(start + w.dials.length)
	w.healed = true
	for _, side := range schemas.Sides {
		w.capture[side].paused = 0
	}
	w.note(rowKey{}, "faults heal and writes stop")
	end := w.clock + settleMost
	ok, why := false, ""
	for quiet := 0; w.failure == nil && w.clock < end && quiet < 2; {
		w.until(w.clock + 2*second)
		if ok, why = w.quiet(); ok {
			quiet++ // what is settled stays so
		} else {
			quiet = 0
		}
	}
	w.oracle.splitBrains()
	if !ok {
		w.broken("I38", "does not settle: %s", why)
	}
	for _, c := range w.comparators {
		if w.failure == nil {
			c.replay()
		}
		if err := c.disk.close(); err != nil {
			w.broken("I15", "close: %v", err)
		}
	}
	for _, v := range w.log.checker.Violations() {
		if len(w.store[1].clock.steps)+len(w.store[2].clock.steps) > 0 && v.Promise == "I17" && strings.Contains(v.Detail, "committed at") {
			continue // it compares times of a clock that was set in between
		}
		w.broken(v.Promise, "the log: %s", v)
	}
}

// quiet says whether nothing is under way, and all is as it has to be.
func (w *world) quiet() (ok bool, why string) {
	if w.writers.pending > 0 {
		return false, "writes are under way"
	}
	for _, side := range schemas.Sides {
		if c := w.capture[side]; c.next < len(c.s.wal) || len(c.saved.todo) > 0 {
			return false, "capture is behind: " + c.String()
		}
	}
	if !w.repairer.idle() {
		return false, "repairs are under way"
	}
	if w.rollout.underWay() {
		return false, "a hand-over is under way"
	}
	return w.oracle.settled()
}

// runSeed makes the run of a seed. Set, which may be nil, changes its dials.
func runSeed(seed uint64, set func(*dials)) (*world, error) {
	w, err := newWorld(seed, set)
	if err != nil {
		return nil, err
	}
	w.run()
	if w.failure != nil {
		return w, w.failure
	}
	return w, nil
}
