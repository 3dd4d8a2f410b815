package reconcile

import (
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// sideState is what a partition knows of one side.
type sideState struct {
	started  bool
	source   string
	epoch    uint32
	gen      uint32         // rises with every gap: what was known under an older one is void
	pos      position       // the latest progress's position
	frontier schemas.Micros // on our clock; only rises within a generation
	offset   schemas.Micros // source's clock minus ours, as measured last
	errorMax schemas.Micros // bound on the error of offset
	// Bounds on the offset at any time that a stamp of the source can be of: those measured last, and while stepped lies
	// ahead also those from before the clock was set.
	offsetLow, offsetHigh schemas.Micros
	stepped               schemas.Micros // by the source's clock; 0: it was not set lately
	latest                schemas.Micros // the largest time seen on this side, on our clock
	// behind is the other side's frontier when this one was last further behind it than the lag limit; beforeAll: never.
	behind schemas.Micros
}

// beforeAll is the frontier of a side without progress.
const beforeAll = 2 * always

// stepMemory is for how long, by the source's clock, stamps may be of the time
// before the clock was set: a side that is further behind than that when its
// clock is set is not guarded.
const stepMemory = schemas.Micros(600_000_000)

// measured takes a progress's word of the source's clock. Bounds that contradict
// the last ones say that a clock was set in between. What is read next may have
// been stamped before, and what was stamped last may still be what is said: a
// frontier that never goes back stands still while a clock that was set back
// catches up.
func (s *sideState) measured(p *schemas.Progress) {
	low, high := p.ClockOffset-p.ClockError, p.ClockOffset+p.ClockError
	first := s.frontier == beforeAll
	set := !first && (high < s.offset-s.errorMax || low > s.offset+s.errorMax)
	s.offset, s.errorMax = p.ClockOffset, p.ClockError
	if set {
		s.stepped = max(s.stepped, p.TS) + stepMemory
	}
	if first || p.TS >= s.stepped {
		s.offsetLow, s.offsetHigh, s.stepped = low, high, 0
		return
	}
	s.offsetLow, s.offsetHigh = min(s.offsetLow, low), max(s.offsetHigh, high)
}

// ours converts a side's clock to the earliest and latest time it can mean on ours.
func (s *sideState) ours(t schemas.Micros) (earliest, latest schemas.Micros) {
	return t - s.offsetHigh, t - s.offsetLow
}

// lagLimitLeast bounds from below how far a side may be behind before verdicts
// wait for it that ask the other side's frontier alone.
const lagLimitLeast = schemas.Micros(30_000_000)

// lagLimit is ten of the largest settle window, and at least lagLimitLeast:
// well above what sides are apart when all is well.
func (c *Core) lagLimit() schemas.Micros {
	return max(lagLimitLeast, schemas.Micros(10*c.longestWindow().Microseconds()))
}

// longestWindow is the largest settle window of an entity.
func (c *Core) longestWindow() (longest time.Duration) {
	for _, e := range c.cfg.Rules.Entities() {
		longest = max(longest, c.force.windowOf(e))
	}
	return longest
}

// noteLag notes whether a side has fallen behind the other.
func (c *Core) noteLag() {
	for _, s := range schemas.Sides {
		here, there := &c.sides[s], &c.sides[s.Other()]
		if here.frontier != beforeAll && there.frontier-here.frontier > lagLimitLeast && there.frontier-here.frontier > c.lagLimit() {
			here.behind = there.frontier
		}
	}
}

// Counters account for every record of a partition:
// Consumed = Applied + Duplicate + OutOfScope + Quarantined + Waiting.
type Counters struct {
	Consumed    int64
	Applied     int64
	Duplicate   int64 // an event at or before one already seen of its key and side, or of an epoch gone by
	OutOfScope  int64 // of an entity that the rules do not name
	Quarantined int64 // could not be read, or whose transaction was cut off
	Waiting     int64 // changes whose transaction no progress has completed yet
}

// Unaccounted is how many records the accounts lose; it is always 0.
func (n Counters) Unaccounted() int64 {
	return n.Consumed - n.Applied - n.Duplicate - n.OutOfScope - n.Quarantined - n.Waiting
}

// Plus adds up the accounts of partitions.
func (n Counters) Plus(o Counters) Counters {
	return Counters{n.Consumed + o.Consumed, n.Applied + o.Applied, n.Duplicate + o.Duplicate, n.OutOfScope + o.OutOfScope,
		n.Quarantined + o.Quarantined, n.Waiting + o.Waiting}
}

// inForce is the part of the rules that control records change.
type inForce struct {
	version   string
	authority schemas.Side
	window    schemas.Micros
	entities  map[string]schemas.EntityControl
	places    placements
}

// ruled is the authority by the rules, which counts until the log has said where a rollout stands.
func (f *inForce) ruled(e *schemas.Entity) schemas.Side {
	if c, ok := f.entities[e.Name]; ok && c.Authority != 0 {
		return c.Authority
	}
	if f.authority != 0 {
		return f.authority
	}
	return e.Authority
}

func (f *inForce) windowOf(e *schemas.Entity) time.Duration {
	w := f.window
	if c, ok := f.entities[e.Name]; ok && c.SettleWindow != 0 {
		w = c.SettleWindow
	}
	if w == 0 {
		return e.SettleWindow
	}
	return time.Duration(w) * time.Microsecond
}
