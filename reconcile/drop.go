package reconcile

import (
	"math"

	"github.com/trueup-io/trueup/schemas"
)

// Of an entity whose settled keys are dropped, a key of which nothing is kept,
// and that both sides cover, is equal on both; its value is not known here. The
// next change of either side brings the row as it was before, which was the
// value of both, and an insert says that both had none.
//
// So coverage of both sides ends where that of one does, while a row is dropped: it
// cannot be compared with what is read anew.

// blank says that nothing is known of a key.
func (k *keyState) blank() bool {
	for _, s := range schemas.Sides {
		if n := k.on(s); n.known || n.seen || n.blocked != 0 {
			return false
		}
	}
	return k.class == uncounted && k.open == nil && !k.overflow && !k.hasFollow && len(k.authority) == 0 && len(k.parked) == 0
}

// dropped says that k is equal on both sides though nothing is known of it.
func (c *Core) dropped(k *keyState) bool {
	return k.entity.DropSettled && k.blank() && c.coveredBoth(k)
}

func (c *Core) coveredBoth(k *keyState) bool {
	for _, s := range schemas.Sides {
		if _, ok := c.covered.find(coverKey{k.entity, s}, c.gen(k.entity, s), k.order()); !ok {
			return false
		}
	}
	return true
}

// dropSettled forgets a key that has settled, at the judgement that settles it: when
// it is written is no part of the log.
func (c *Core) dropSettled(k *keyState) bool {
	if !k.hasSettled() || !c.coveredBoth(k) {
		return false
	}
	if k.authority[0].has(present) {
		c.entity(k.entity, schemas.Legacy).dropped++ // it stays counted as equal
	} else {
		c.keys.count(classEqual, -1) // a row that is nowhere
	}
	stored, list, queued := k.stored, k.list, k.queued
	dirty := k.dirty
	k.reset(k.entity, k.id, k.hash, k.lead)
	k.stored, k.list, k.queued, k.dirty = stored, list, queued, dirty
	return true
}

// undrop counts a dropped row as one that has a state again.
func (c *Core) undrop(k *keyState) {
	if x := c.entity(k.entity, schemas.Legacy); x.dropped > 0 {
		x.dropped--
		k.class = classEqual
	}
}

// recall gives a dropped key the state that it had, as its next record tells.
// It is done where the record changes nothing: it is a repetition, or a baseline
// row of a key that is covered already.
func (c *Core) recall(k *keyState, q *waiting) (done bool, what outcome) {
	switch {
	case q.late:
		// That it is no repetition cannot be known any more.
		if q.v.has(shared) {
			c.txns.done(&q.v, false)
		}
		return true, duplicate
	case q.kind == waitingChange && q.op == schemas.OpRead:
		return true, applied
	case q.kind == waitingChange && q.op == schemas.OpInsert:
		c.know(k) // it was absent
	default:
		c.recallRow(k, q)
	}
	for _, s := range schemas.Sides { // it had settled: whatever is said of it up to here was said before
		if n := k.on(s); !c.sides[s].pos.none() {
			n.seen, n.lastPos, n.lastOrd = true, c.sides[s].pos, math.MaxUint32
		}
	}
	return false, applied
}

// recallRow recalls that a key had a row on both sides.
func (c *Core) recallRow(k *keyState, q *waiting) {
	c.undrop(k)
	for _, s := range schemas.Sides {
		*k.on(s) = knowledge{known: true, ever: true, gen: c.gen(k.entity, s), since: always}
	}
	if !q.before.known { // the other side's value is known again with its next change
		k.on(q.side).since = q.v.at
		k.on(q.side.Other()).blocked = blockedUnavailable
		return
	}
	k.authority = append(k.authority[:0], q.before.version())
	k.setFollower(&k.authority[0])
	k.min, k.max = 0, 0
}

// loseDropped ends the coverage of an entity whose settled keys are dropped, on both
// sides, as one side's gap ends it there: what was dropped is known of neither. With no
// row dropped, what the other side covers is what it was.
//
// A row of the other side that was read before is forgotten, if it was equal to what
// was dropped. A range that it lies in, of which the log says only afterwards that it is
// covered, would have it absent: from where it has to be read is noted.
func (c *Core) loseDropped(e *schemas.Entity) {
	x := c.entities[coverKey{e, schemas.Legacy}.at()]
	if x == nil || x.dropped == 0 {
		return
	}
	for _, s := range schemas.Sides {
		c.covered[coverKey{e, s}.at()] = nil
		c.entity(e, s).lostPos = c.sides[s].pos
	}
	c.keys.count(classEqual, -x.dropped)
	c.keys.count(classGap, x.dropped)
	x.dropped, x.lost = 0, x.lost+x.dropped
}

// cover notes that a range of an entity is covered. Where both sides are
// wholly, every row has been read anew.
func (c *Core) cover(e *schemas.Entity, side schemas.Side, n span) {
	c.covered.add(coverKey{e, side}, n)
	x := c.entities[coverKey{e, schemas.Legacy}.at()]
	if x == nil || x.lost == 0 || !c.coveredOf(e) {
		return
	}
	c.keys.count(classGap, -x.lost)
	x.lost = 0
}
