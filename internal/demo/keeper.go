package demo

import (
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/trueup-io/trueup/internal/demo/shop"
	"github.com/trueup-io/trueup/schemas"
)

// keeper keeps the score. It hears from the shop what is planted and written,
// and from the pipeline what is found and healed; neither tells the other.
//
//	fault:     announced → planted → found at each of its keys → healed at each
//	divergence: opened (planted, late or false) → closed
//
// Invariant: a key is expected by at most one fault.
type keeper struct {
	window time.Duration
	heard  func(finding) // called, outside the lock, when one is opened or closed

	mu        sync.Mutex
	faults    []*planted
	expected  map[string]*expectation // by key
	byID      map[string]*expectation // by the divergence that met it
	findings  map[string]*finding     // by divergence, the first keptFindings
	order     []string                // their ids in the order of opening
	sequence  map[string]uint32       // the last event heard of each divergence
	falseOnes int
	excused   int // divergences at late writes
	late      map[int64][]spell
	writes    int
	changes   int
	between   delays
	delay     delays
	lag       lagSpell
	lastEvent time.Time
}

// keptFindings are more than a demo that works has, and bound the memory of one
// that does not.
const keptFindings = 2000

// planted is a fault and what is known of it.
type planted struct {
	*shop.Fault
	done   bool      // it stands
	from   time.Time // its settle window counts from a commit after it
	places []*expectation
}

// expectation is one key at which a fault must be found.
type expectation struct {
	fault    *planted
	openedAt time.Time
	closedAt time.Time
}

type spell struct{ from, to time.Time }

// lagSpell is what happened while the target was held back, until all had caught
// up.
type lagSpell struct {
	held      time.Duration // for how long it was held back
	from      time.Time
	over      bool // it was released, and all has caught up
	falseOnes int
}

func newKeeper(window time.Duration, heard func(finding)) *keeper {
	return &keeper{window: window, heard: heard, expected: map[string]*expectation{}, byID: map[string]*expectation{},
		findings: map[string]*finding{}, sequence: map[string]uint32{}, late: map[int64][]spell{}}
}

func keyText(entity string, key []string) string {
	b, err := json.Marshal(append([]string{entity}, key...))
	if err != nil {
		panic(err) // texts always marshal
	}
	return string(b)
}

// Planting takes a fault that is about to be planted.
func (k *keeper) Planting(f *shop.Fault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := &planted{Fault: f}
	for _, key := range f.Expect {
		e := &expectation{fault: p}
		p.places = append(p.places, e)
		k.expected[keyText(key.Entity, key.Key)] = e
	}
	k.faults = append(k.faults, p)
}

// Planted takes that a fault stands.
func (k *keeper) Planted(f *shop.Fault, from time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes += f.Rows()
	for _, p := range k.faults {
		if p.ID == f.ID {
			p.done, p.from = true, from
			for _, e := range p.places {
				if !e.openedAt.IsZero() {
					k.delay.add(e.openedAt.Sub(from) - k.window)
				}
			}
		}
	}
}

// Wrote takes a legitimate write.
func (k *keeper) Wrote(rows int, between time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes++
	k.changes += 2 * rows
	k.between.add(between)
}

// Late takes a legitimate write that kept one side waiting for longer than the
// settle window.
func (k *keeper) Late(orders []int64, from, to time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range orders {
		k.late[id] = append(k.late[id], spell{from, to})
	}
}

// take takes an event of the pipeline, heard at a time.
func (k *keeper) take(e schemas.Event, at time.Time) {
	var news *finding
	k.mu.Lock()
	k.lastEvent = at
	switch {
	case e.Divergence != nil:
		news = k.takeDivergence(e.Divergence, at)
	case e.Compensation != nil:
		if f := k.findings[e.Compensation.DivergenceID]; f != nil {
			f.compensation = *e.Compensation
		}
	case e.Outcome != nil:
		if f := k.findings[e.Outcome.DivergenceID]; f != nil {
			f.outcome = *e.Outcome
		}
	}
	k.mu.Unlock()
	if news != nil {
		k.heard(*news)
	}
}

// takeDivergence returns a copy of what is worth telling.
func (k *keeper) takeDivergence(d *schemas.Divergence, at time.Time) *finding {
	last, again := k.sequence[d.ID]
	if again && d.Sequence <= last {
		return nil // at least once
	}
	k.sequence[d.ID] = d.Sequence
	if !again {
		k.open(d, at)
	}
	f := k.findings[d.ID]
	if d.Stage == schemas.Closed {
		if e := k.byID[d.ID]; e != nil {
			e.closedAt = at
		}
		if f != nil {
			f.healedAt = at
		}
	}
	if f == nil || d.Stage == schemas.Updated {
		return nil
	}
	news := *f
	return &news
}

// open judges a divergence that was not heard of before.
func (k *keeper) open(d *schemas.Divergence, at time.Time) {
	f := &finding{Divergence: *d, openedAt: at}
	e := k.expected[keyText(d.Entity, d.Key)]
	switch {
	case e != nil && e.openedAt.IsZero() && e.fault.Kind == d.Verdict:
		f.judgement, f.story = foundPlanted, e.fault.Story
		e.openedAt = at
		k.byID[d.ID] = e
		if e.fault.done {
			k.delay.add(at.Sub(e.fault.from) - k.window)
		}
	case k.wasLate(d):
		f.judgement = foundLate
		k.excused++
	default:
		f.judgement = foundFalse
		k.falseOnes++
		if !k.lag.from.IsZero() && !k.lag.over {
			k.lag.falseOnes++
		}
	}
	if len(k.order) < keptFindings {
		k.order = append(k.order, d.ID)
		k.findings[d.ID] = f
	}
}

// wasLate says whether a late write explains a divergence.
func (k *keeper) wasLate(d *schemas.Divergence) bool {
	if len(d.Key) == 0 {
		return false
	}
	id, err := strconv.ParseInt(d.Key[0], 10, 64) // the order's, of an order and of its lines
	if err != nil {
		return false
	}
	since := d.Since.Time()
	return slices.ContainsFunc(k.late[id], func(s spell) bool {
		return !since.Before(s.from.Add(-k.window)) && !since.After(s.to.Add(k.window))
	})
}

// beginSpell notes that the target is held back from now on.
func (k *keeper) beginSpell(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lag.from = at
}

// endSpell notes for how long it was, and that all has caught up.
func (k *keeper) endSpell(held time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lag.held, k.lag.over = held, true
}
