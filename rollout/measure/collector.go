package measure

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// maxUnseen is how long nobody may look before that is a hole.
const maxUnseen = 15 * time.Second

// maxPending bounds the seconds of whose writes the comparison is waited for: more than
// a week.
const maxPending = 700_000

// Collector adds up what a process sees until somebody takes it. It is an Observer of
// the events. It is safe for use by several goroutines.
type Collector struct {
	rules  *schemas.Rules
	settle schemas.Micros // the longest of the entities' settle windows

	mu      sync.Mutex
	now     Record
	pending [3]map[int64]uint64 // by schemas.Side and second of our clock: writes that are not compared yet
	offset  [3]schemas.Micros   // the sides' clocks minus ours
	looked  time.Time           // when somebody looked last
}

// NewCollector begins to measure.
func NewCollector(rules *schemas.Rules, began time.Time) *Collector {
	c := &Collector{rules: rules, looked: began}
	for _, e := range rules.Entities() {
		c.settle = max(c.settle, schemas.Micros(e.SettleWindow.Microseconds()))
	}
	for _, side := range schemas.Sides {
		c.pending[side] = map[int64]uint64{}
	}
	c.begin(rand.Text(), began)
	return c
}

func (c *Collector) begin(run string, at time.Time) {
	c.now = Record{Run: run, From: at.UTC().Round(0)}
}

// Record takes a record of the changes topic: each write is a sample once it is compared.
// Rows that were read, and repairs, are nobody's writes.
func (c *Collector) Record(r *schemas.Record) {
	switch x := r.Change; {
	case r.Progress != nil:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.offset[r.Progress.Side] = r.Progress.ClockOffset
	case x == nil || x.Op != schemas.OpInsert && x.Op != schemas.OpUpdate && x.Op != schemas.OpDelete || x.Tag.CompensationID != "":
	default:
		if _, ok := c.rules.Entity(x.Entity); !ok {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		second := (x.CommitTS - c.offset[x.Side]).Time().Unix()
		if _, there := c.pending[x.Side][second]; !there && len(c.pending[x.Side]) >= maxPending {
			c.now.problem(fmt.Sprintf("more writes of %s wait to be compared than are counted", x.Side))
			return
		}
		c.pending[x.Side][second]++
	}
}

// Consistent notes how long a version took to be on the side that did not have it first.
func (c *Collector) Consistent(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Consistency.add(took)
}

// Divergence implements watch.Observer.
func (c *Collector) Divergence(d *schemas.Divergence, published time.Time, live bool) {
	e, ok := c.rules.Entity(d.Entity)
	if !live || !ok || d.Stage != schemas.Opened {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Diverged++
	c.now.Detection.add(published.Sub(d.Since.Add(e.SettleWindow).Time()))
	if e.SensitiveKey() || !c.now.opened(e.RolloutKey(d.Key)) { // a keyed digest has no bucket
		c.now.OpenedMore++
	}
}

// Compensation implements watch.Observer.
func (c *Collector) Compensation(*schemas.Compensation, time.Time, bool) {}

// Outcome implements watch.Observer.
func (c *Collector) Outcome(o *schemas.Outcome, _ time.Time, live bool) {
	if !live || o.Result != schemas.Failed && o.Result != schemas.Refused {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Failed++
}

// Look is what stands at a moment.
type Look struct {
	Partitions []int32           // those that this process compares, in their order
	Of         int               // how many there are
	Frontier   [3]schemas.Micros // by schemas.Side, up to when it is compared, on our clock; 0: not known
	Covered    bool              // every row of both sides was read
	Keys       schemas.Summary
	Open       int64 // divergences
	Schema     int64 // of those, the ones by schema; and entities that have halted
	Whole      bool  // all that are open are counted
	Backlog    int   // repairs that wait; below 0: not known
	Problems   []string
}

// Look takes what stands.
func (c *Collector) Look(at time.Time, l Look) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.now
	r.Looks++
	if at.Sub(c.looked) > maxUnseen {
		r.problem(fmt.Sprintf("nobody looked from %s to %s", c.looked.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339)))
	}
	c.looked = at
	for _, text := range l.Problems {
		r.problem(text)
	}
	c.partitions(&l)
	if !l.Whole {
		r.problem("more is open than is counted")
	}
	c.frontiers(at, &l)
	unjudged := uint64(0)
	for reason, n := range l.Keys.Unknown {
		if reason != schemas.Lag { // they are only not decided yet
			unjudged += uint64(n)
		}
	}
	keys := uint64(l.Keys.Compared) + unjudged
	uncovered := uint64(l.Keys.Unknown[schemas.NoData])
	r.Unknown, r.Uncovered = r.Unknown.worse(Share{unjudged, keys}), r.Uncovered.worse(Share{uncovered, keys})
	r.CoveredAt = time.Time{}
	if l.Covered && uncovered == 0 {
		r.CoveredAt = r.Frontier
	}
	r.Open, r.Schema = max(r.Open, uint64(l.Open)), max(r.Schema, uint64(l.Schema))
	switch n := uint64(max(l.Backlog, 0)); {
	case l.Backlog < 0:
		r.Backlog = nil
	case r.Backlog == nil || n > *r.Backlog:
		r.Backlog = &n
	}
}

// partitions takes which of them are compared here.
func (c *Collector) partitions(l *Look) {
	r, of, part := &c.now, 0, []int32(nil)
	if len(l.Partitions) < l.Of {
		of, part = l.Of, l.Partitions
	}
	if r.Looks > 1 && (r.Of != of || !slices.Equal(r.Partitions, part)) {
		r.problem("other partitions were compared meanwhile")
	}
	r.Of, r.Partitions = of, part
}

// frontiers takes how far both sides are compared, and counts the writes before that.
func (c *Collector) frontiers(at time.Time, l *Look) {
	r, least := &c.now, min(l.Frontier[schemas.Legacy], l.Frontier[schemas.Target])
	r.Frontier = time.Time{}
	if l.Of > 0 && len(l.Partitions) == 0 {
		return // others have them
	}
	for _, side := range schemas.Sides {
		if l.Frontier[side] == 0 {
			r.problem(fmt.Sprintf("nothing is compared of %s yet", side))
			continue
		}
		lag := uint64(max(at.Sub(l.Frontier[side].Time()).Milliseconds(), 0))
		if side == schemas.Legacy {
			r.LegacyLag = max(r.LegacyLag, lag)
		} else {
			r.TargetLag = max(r.TargetLag, lag)
		}
	}
	if least == 0 {
		return
	}
	r.Frontier = least.Time().UTC()
	decided := (least - c.settle).Time().Unix() // that second is not over yet
	for _, side := range schemas.Sides {
		for second, n := range c.pending[side] {
			if second >= decided {
				continue
			}
			delete(c.pending[side], second)
			if side == schemas.Legacy {
				r.LegacyWrites += n
			} else {
				r.TargetWrites += n
			}
		}
	}
}

// Urgent says whether something was seen that nobody should hear of later than need be.
func (c *Collector) Urgent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Diverged > 0 || c.now.Failed > 0 || c.now.Schema > 0 || len(c.now.Problems) > 0
}

// Take ends what is being measured and returns it; the next begins with it.
func (c *Collector) Take(at time.Time) Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.now
	r.To = at.UTC().Round(0)
	if r.Version = 1; r.part() {
		r.Version = 2
	}
	c.begin(r.Run, at)
	return r
}
