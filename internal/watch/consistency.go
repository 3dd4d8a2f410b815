package watch

import (
	"strings"
	"sync"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Consistency measures the time to consistency: how long after one side's commit
// of a version the other side's commit of the same version followed. It looks at
// one key in SampleOf, so that it costs the comparison next to nothing, and
// remembers at most maxPending versions: what has no partner in time is forgotten,
// and is no measurement. It is safe for concurrent use.
type Consistency struct {
	seen func(entity string, first schemas.Side, took time.Duration, traceID string)

	mu      sync.Mutex
	pending map[versionOf]firstSeen // guarded by mu
	older   map[versionOf]firstSeen // guarded by mu: the generation before
	offset  [3]schemas.Micros       // guarded by mu: the sides' clocks minus ours
}

// SampleOf is the share of keys that is looked at, as one in so many.
const SampleOf = 8

const maxPending = 20_000

// versionOf is a version of a key by what it says.
type versionOf struct {
	entity string
	key    string
	digest schemas.Digest
}

type firstSeen struct {
	side schemas.Side
	at   schemas.Micros // on our clock
}

// NewConsistency has seen called for each version that both sides have: which
// side had it first, and how long the other one took.
func NewConsistency(seen func(entity string, first schemas.Side, took time.Duration, traceID string)) *Consistency {
	return &Consistency{seen: seen, pending: map[versionOf]firstSeen{}, older: map[versionOf]firstSeen{}}
}

// Record takes a record of the changes topic. messageKey is its message's key. It keeps
// neither, nor what they point into.
func (c *Consistency) Record(messageKey []byte, r *schemas.Record) {
	switch {
	case r.Progress != nil:
		c.mu.Lock()
		c.offset[r.Progress.Side] = r.Progress.ClockOffset
		c.mu.Unlock()
	case r.Change != nil && sampled(messageKey):
		c.change(messageKey, r.Change)
	}
}

// sampled says whether a key is looked at; the same keys always are (FNV-1a).
func sampled(key []byte) bool {
	h := uint32(2166136261)
	for _, b := range key {
		h = (h ^ uint32(b)) * 16777619
	}
	return len(key) > 0 && (h^h>>15)%SampleOf == 0
}

func (c *Consistency) change(key []byte, x *schemas.Change) {
	if x.Op == schemas.OpRead || x.Op == schemas.OpTruncate || x.Mapping == "" && x.Op != schemas.OpDelete || x.Tag.CompensationID != "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := versionOf{strings.Clone(x.Entity), string(key), x.Digest} // the record's memory is used again
	at := x.CommitTS - c.offset[x.Side]
	first, ok := c.pending[v]
	if !ok {
		first, ok = c.older[v]
	}
	if !ok || first.side == x.Side { // a value that returns counts from its latest write
		if len(c.pending) >= maxPending {
			c.pending, c.older = map[versionOf]firstSeen{}, c.pending
		}
		c.pending[v] = firstSeen{x.Side, at}
		return
	}
	delete(c.pending, v)
	delete(c.older, v)
	// Which of the two committed first is not the order in which they were read.
	side, took := first.side, (at - first.at).Duration()
	if took < 0 {
		side, took = x.Side, -took
	}
	c.seen(v.entity, side, took, strings.Clone(TraceID(x.Tag.Traceparent)))
}
