package reconcile

import (
	"bytes"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// maxKeyRanges bounds what is told of an entity's ranges, and maxRangesSeen how many of a
// side's are looked at. Baselines leave one or two, since ranges that follow one another
// join; what is beyond is told as not covered, and that it is not all.
const (
	maxKeyRanges  = 64
	maxRangesSeen = 256
)

// Cut is a place between keys, in canonical order: before a key, or just behind it.
type Cut struct {
	Key    []byte // an order key; nil: before the first key, or behind the last
	Behind bool
}

// KeyRange is a range of an entity's keys, of all of which the same is known.
type KeyRange struct {
	From, To Cut
	// Since is by schemas.Side as of when every row of the range stands in the log; 0: not every one does.
	Since [3]schemas.Micros
}

// Covered says that the range is covered on both sides, which comparing needs.
func (r *KeyRange) Covered() bool {
	return r.Since[schemas.Legacy] != 0 && r.Since[schemas.Target] != 0
}

// EntityRanges are all of an entity's keys as ranges one behind the other, the first
// from before the first key and the last to behind the last.
type EntityRanges struct {
	Entity string
	Ranges []KeyRange
	// More says that there are more ranges than are told: what they cover is told as not covered.
	More bool
}

// Ranges says of each entity which ranges of its keys are covered, in the order of the
// rules.
func (c *Core) Ranges() []EntityRanges {
	all := make([]EntityRanges, 0, len(c.cfg.Rules.Entities()))
	for _, e := range c.cfg.Rules.Entities() {
		n := EntityRanges{Entity: e.Name, Ranges: []KeyRange{{}}}
		for _, side := range schemas.Sides {
			spans, gen := c.covered[coverKey{e, side}.at()], c.gen(e, side)
			n.More = n.More || len(spans) > maxRangesSeen
			for i := range spans[:min(len(spans), maxRangesSeen)] {
				if s := &spans[i]; s.gen == gen {
					n.cover(s, side)
				}
			}
		}
		n.join()
		all = append(all, n)
	}
	return all
}

// compareStarts orders cuts that ranges begin at: one without a key is before all.
func compareStarts(a, b Cut) int {
	switch {
	case a.Key == nil && b.Key == nil:
		return 0
	case a.Key == nil:
		return -1
	case b.Key == nil:
		return 1
	case a.Behind == b.Behind || !bytes.Equal(a.Key, b.Key):
		return bytes.Compare(a.Key, b.Key)
	case b.Behind:
		return -1
	}
	return 1
}

// cover notes a span of a side.
func (n *EntityRanges) cover(s *span, side schemas.Side) {
	covered := n.between(Cut{Key: s.from}, Cut{Key: s.to, Behind: true})
	for i := range covered {
		covered[i].Since[side] = max(covered[i].Since[side], s.since, 1)
	}
}

// between makes ranges begin and end at two cuts, and gives those from one to the other.
func (n *EntityRanges) between(from, to Cut) []KeyRange {
	first := 0
	if from.Key != nil {
		first = n.split(from)
	}
	last := len(n.Ranges)
	if to.Key != nil {
		last = n.split(to)
	}
	return n.Ranges[first:last]
}

// split makes a range begin at a cut, and returns its index.
func (n *EntityRanges) split(at Cut) int {
	i, found := slices.BinarySearchFunc(n.Ranges, at, func(r KeyRange, at Cut) int { return compareStarts(r.From, at) })
	if found {
		return i
	}
	n.Ranges = slices.Insert(n.Ranges, i, n.Ranges[i-1])
	n.Ranges[i-1].To, n.Ranges[i].From = at, at
	return i
}

// join makes one of ranges of which the same is known, and keeps as many as are told.
func (n *EntityRanges) join() {
	joined := n.Ranges[:1]
	for _, r := range n.Ranges[1:] {
		if last := &joined[len(joined)-1]; last.Since == r.Since {
			last.To = r.To
			continue
		}
		joined = append(joined, r)
	}
	if len(joined) > maxKeyRanges {
		n.More = true
		joined = append(joined[:maxKeyRanges-1], KeyRange{From: joined[maxKeyRanges-1].From})
	}
	n.Ranges = joined
}

// JoinRanges puts together what several partitions have covered, each of which said its
// own: a range is covered where it is in every one, and as of when it was in the last.
func JoinRanges(partitions [][]EntityRanges) []EntityRanges {
	var all []EntityRanges
	said := map[string]int{} // by how many partitions
	for _, one := range partitions {
		for i := range one {
			e := &one[i]
			said[e.Entity]++
			j := slices.IndexFunc(all, func(o EntityRanges) bool { return o.Entity == e.Entity })
			if j < 0 {
				all = append(all, EntityRanges{e.Entity, slices.Clone(e.Ranges), e.More})
				continue
			}
			all[j].both(e)
		}
	}
	for i := range all {
		n := &all[i]
		if said[n.Entity] < len(partitions) {
			n.Ranges = []KeyRange{{}} // a partition does not know it, under the rules that it has
		}
		n.join()
	}
	return all
}

// both leaves what two partitions have covered.
func (n *EntityRanges) both(o *EntityRanges) {
	n.More = n.More || o.More
	for i := range o.Ranges {
		r := &o.Ranges[i]
		mine := n.between(r.From, r.To)
		for j := range mine {
			for _, side := range schemas.Sides {
				mine[j].Since[side] = min(mine[j].Since[side], r.Since[side])
			}
		}
	}
}
