package reconcile

import (
	"bytes"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// span is a range of an entity's keys whose rows on one side all stand in the
// log: a key in it without a change of its own is absent since then.
type span struct {
	from, to []byte // order keys, inclusive; nil: open
	gen      uint32 // the side's generation; void once that has risen
	since    schemas.Micros
}

func (s *span) has(order string) bool {
	return (s.from == nil || order >= string(s.from)) && (s.to == nil || order <= string(s.to))
}

type coverKey struct {
	entity *schemas.Entity
	side   schemas.Side
}

// at is where what is kept of an entity and a side stands among that of all.
func (k coverKey) at() int { return k.entity.Place()*bySide + int(k.side) }

// bySide is how long an array is that is indexed by side.
const bySide = int(schemas.Target) + 1

// places is how many there are for what is kept of an entity and a side.
func places(rules *schemas.Rules) int { return len(rules.Entities()) * bySide }

// MaxRanges is how many ranges of keys that do not join may be covered of an
// entity on a side. Baselines leave one or two; each is looked through for every
// key of which nothing is known, and stands in every partition's record.
const MaxRanges = 1024

// coverage is what of each entity is covered, by side. It holds few spans: a
// span that lies within a newer one is dropped, and one that begins with the
// last key of another is joined to it.
//
// Invariant: no more than MaxRanges of an entity and a side. Ranges that overlap
// are joined before there are more, and what is beyond is not taken: its keys stay
// unknown until a change of theirs is read, as if nothing had been said of them.
type coverage [][]span // by coverKey.at

func (c coverage) add(k coverKey, n span) {
	// A baseline says range after range. That the keys of the first one are covered since the last one is less than is
	// known, and no more than is true.
	at := k.at()
	if i := slices.IndexFunc(c[at], func(o span) bool { return o.gen == n.gen && o.to != nil && n.from != nil && bytes.Equal(o.to, n.from) }); i >= 0 {
		n.from, n.since = c[at][i].from, max(n.since, c[at][i].since)
		c[at] = slices.Delete(c[at], i, i+1)
	}
	spans := slices.DeleteFunc(c[at], func(o span) bool {
		return o.gen != n.gen || n.covers(&o) && o.since >= n.since
	})
	if !slices.ContainsFunc(spans, func(o span) bool { return o.covers(&n) }) {
		spans = append(spans, n)
	}
	if len(spans) > MaxRanges {
		before := spans[:len(spans)-1]
		if spans = joinSpans(slices.Clone(spans)); len(spans) > MaxRanges {
			spans = before
		}
	}
	c[at] = spans
}

// joinSpans joins spans of one generation that have keys in common, in the order of
// their keys. What is joined is known since the last of its parts was: less than is
// known of the others, and no more than is true.
func joinSpans(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return bytes.Compare(a.from, b.from) }) // nil is the first
	joined := spans[:1]
	for i := range spans[1:] {
		if last, n := &joined[len(joined)-1], &spans[1+i]; last.meets(n) {
			*last = last.union(n)
		} else {
			joined = append(joined, *n)
		}
	}
	return joined
}

// meets says whether a span begins within s, where it does not begin before it.
func (s *span) meets(o *span) bool { return s.to == nil || bytes.Compare(o.from, s.to) <= 0 }

// union is what is covered by s and a span that begins within it.
func (s *span) union(o *span) span {
	u := span{from: s.from, to: s.to, gen: s.gen, since: max(s.since, o.since)}
	if o.to == nil || u.to != nil && bytes.Compare(o.to, u.to) > 0 {
		u.to = o.to
	}
	return u
}

func (s *span) covers(o *span) bool {
	return (s.from == nil || o.from != nil && string(o.from) >= string(s.from)) &&
		(s.to == nil || o.to != nil && string(o.to) <= string(s.to))
}

// find returns since when a key is covered on a side.
func (c coverage) find(k coverKey, gen uint32, order string) (schemas.Micros, bool) {
	var since schemas.Micros
	found := false
	spans := c[k.at()]
	for i := range spans {
		s := &spans[i]
		if s.gen == gen && s.has(order) && (!found || s.since < since) {
			since, found = s.since, true
		}
	}
	return since, found
}

// whole says whether all keys are covered on a side.
func (c coverage) whole(k coverKey, gen uint32) bool {
	return slices.ContainsFunc(c[k.at()], func(s span) bool { return s.gen == gen && s.from == nil && s.to == nil })
}

func (c coverage) dropSide(side schemas.Side) {
	for at := int(side); at < len(c); at += bySide {
		c[at] = nil
	}
}

// Covered says whether all keys of all entities are covered on both sides: a key
// of which nothing is known has no row there.
func (c *Core) Covered() bool {
	return !slices.ContainsFunc(c.cfg.Rules.Entities(), func(e *schemas.Entity) bool { return !c.coveredOf(e) })
}

// coveredOf says whether all keys of an entity are covered on both sides.
func (c *Core) coveredOf(e *schemas.Entity) bool {
	return !slices.ContainsFunc(schemas.Sides[:], func(s schemas.Side) bool { return !c.covered.whole(coverKey{e, s}, c.gen(e, s)) })
}

// EntityCoverage says how much of an entity's keys is covered on a side. Of a
// key that is not, and that no change was read of, nothing is known.
type EntityCoverage struct {
	Entity string
	Side   schemas.Side
	Whole  bool           // every key is
	Ranges int            // that do not join; with MaxRanges of them, others may not have been taken
	Since  schemas.Micros // when the latest of them came to be; 0: there is none
	// Unlogged are changes that show what the side's log does not have, since the latest baseline that read to the last key.
	Unlogged int64
}

// Coverage says of each entity and side what is covered, in the order of the rules.
func (c *Core) Coverage() []EntityCoverage {
	entities := c.cfg.Rules.Entities()
	all := make([]EntityCoverage, 0, len(entities)*len(schemas.Sides))
	for _, e := range entities {
		for _, side := range schemas.Sides {
			n := c.covered.of(coverKey{e, side}, c.gen(e, side))
			if x := c.entities[coverKey{e, side}.at()]; x != nil {
				n.Unlogged = x.unlogged
			}
			all = append(all, n)
		}
	}
	return all
}

func (c coverage) of(k coverKey, gen uint32) EntityCoverage {
	e := EntityCoverage{Entity: k.entity.Name, Side: k.side, Whole: c.whole(k, gen)}
	spans := c[k.at()]
	for i := range spans {
		if s := &spans[i]; s.gen == gen {
			e.Ranges, e.Since = e.Ranges+1, max(e.Since, s.since)
		}
	}
	return e
}
