package reconcile

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// waitingKind says what a queued record is. It stands in State.
type waitingKind byte

const (
	waitingChange     waitingKind = 0
	waitingCovered    waitingKind = 1
	waitingGap        waitingKind = 2 // of its entity
	waitingQuarantine waitingKind = 3
)

// waiting is a record of one entity that was read and that no progress of its
// side has completed yet.
type waiting struct {
	kind   waitingKind
	side   schemas.Side
	entity *schemas.Entity
	id     string // of the key in State; "" where it is of no one key
	hash   uint64 // of id
	op     schemas.Op
	v      version // at is still on the source's clock
	block  schemas.Reason
	late   bool             // it stands below the frontier: a duplicate, or an alarm
	cover  *schemas.Covered // of waitingCovered
	why    string           // of waitingGap and waitingQuarantine
	before before           // the row before, where that is looked at

	// Where the log has named a rollout:
	flagEpoch uint64         // that the write was tagged with; 0: with none
	earliest  schemas.Micros // at which it can have committed, on the source's clock; 0: not known

	seq    uint64
	stored bool // stands in State
}

func (q *waiting) entityName() string {
	if q.entity == nil {
		return ""
	}
	return q.entity.Name
}

// key is the canonical key, nil where it is of no one key.
func (q *waiting) key() []string {
	if q.id == "" {
		return nil
	}
	return keyOf(q.entity, q.id)
}

// enqueue gives the next record of a side its place. It stays there until the next one is queued.
func (c *Core) enqueue(side schemas.Side) *waiting {
	queue := c.queue[side]
	if len(queue) == cap(queue) {
		queue = slices.Grow(queue, max(64, len(queue)/2))
	}
	queue = queue[:len(queue)+1] // nothing stands beyond the end: what goes is cleared
	c.queue[side] = queue
	q := &queue[len(queue)-1]
	q.side, q.seq = side, c.queueSeq
	c.queueSeq++
	return q
}

func queueKey(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte{queuePrefix}, seq) }

func (c *Core) unqueue(q *waiting) error {
	if !q.stored {
		return nil
	}
	return c.state.Delete(queueKey(q.seq))
}

// takeChange queues a change until its transaction is complete.
func (c *Core) takeChange(offset int64, r *schemas.Change, out *Effects) error {
	if stale, err := c.enter(r.Side, r.Source, r.Epoch, offset, out); stale || err != nil {
		return err
	}
	e, ok := c.entityNamed(r.Entity)
	if !ok {
		c.counters.OutOfScope++
		return nil
	}
	s := &c.sides[r.Side]
	q := c.enqueue(r.Side)
	q.entity, q.op = e, r.Op
	q.v.at, q.v.pos, q.v.ord, q.v.off = r.CommitTS, positionOf(r.Pos), r.Ordinal, offset
	q.v.write = hashWriteID(r.Tag.WriteID)
	q.late = r.Op != schemas.OpRead && s.frontier != beforeAll && !s.pos.before(q.v.pos)
	if r.Op != schemas.OpTruncate {
		q.id = c.keys.idOf(e, r.Key)
		q.hash = c.keys.cache.hash(q.id)
	}
	if r.Before != nil && e.ReadsBefore(r.Side) {
		q.before = c.rowBefore(e, r, offset, out)
	}
	if r.After != nil {
		q.block = c.image(e, r, &q.v, out)
	}
	if place := c.force.places.latest(); place != nil && r.Tag.FlagEpoch != "" {
		q.flagEpoch, _ = schemas.FlagEpoch(r.Tag.FlagEpoch, place.Name)
		q.earliest = r.CommitTSMin
	}
	return nil
}

// image fills a version from a row, and says why it cannot be used, if so.
func (c *Core) image(e *schemas.Entity, r *schemas.Change, v *version, out *Effects) schemas.Reason {
	v.flags |= present
	if !c.cfg.Recompute && r.Mapping != "" && r.Mapping == c.cfg.Rules.Version {
		v.digest = r.Digest
		return ""
	}
	img := e.Image(r.Side, r.After)
	if r.Mapping == c.cfg.Rules.Version && r.Mapping != "" && img.Exact() && img.Digest != r.Digest {
		out.mistaken(v.off)
	}
	v.digest, v.tolerant = img.Digest, tolerantOf(img.Tolerant)
	if len(img.Unrepresentable) > 0 {
		v.flags |= unrepresentable
	}
	if len(img.Schema) > 0 {
		v.flags |= unmappable
	}
	if len(img.Unavailable) > 0 {
		return schemas.UnavailableReason
	}
	return ""
}

func (c *Core) takeCovered(offset int64, r *schemas.Covered, out *Effects) error {
	if stale, err := c.enter(r.Side, r.Source, r.Epoch, offset, out); stale || err != nil {
		return err
	}
	e, ok := c.entityNamed(r.Entity)
	if !ok {
		c.counters.OutOfScope++
		return nil
	}
	q := c.enqueue(r.Side)
	q.kind, q.entity, q.cover = waitingCovered, e, r
	q.v.pos, q.v.off = positionOf(r.Pos), offset
	return nil
}

// complete applies what waited for a side's progress to pos, in order.
func (c *Core) complete(side schemas.Side, pos position, out *Effects) error {
	queue := c.queue[side]
	rest := queue[:0]
	for i := range queue {
		q := &queue[i]
		if pos.before(q.v.pos) {
			rest = append(rest, *q)
			continue
		}
		if i%ahead == 0 {
			c.keys.aheadOf(queue[i:])
		}
		c.markShared(queue[i:], side)
		outcome, err := c.apply(q, out)
		if err != nil {
			return err
		}
		switch outcome {
		case applied:
			c.counters.Applied++
		case duplicate:
			c.counters.Duplicate++
		case quarantined:
			c.counters.Quarantined++
		}
		if err := c.unqueue(q); err != nil {
			return fmt.Errorf("forget queued change: %w", err)
		}
	}
	clear(queue[len(rest):])
	c.queue[side] = rest
	return nil
}

// markShared marks the versions of the authority's transaction that the queue
// of its side begins with if it touches several keys.
func (c *Core) markShared(queue []waiting, side schemas.Side) {
	first := &queue[0]
	if first.kind != waitingChange || first.v.has(shared) || first.op == schemas.OpRead || first.op == schemas.OpTruncate ||
		side != c.force.authorityOf(first.entity, first.id) {
		return
	}
	rows, several := 1, false
	for j := 1; j < len(queue); j++ {
		q := &queue[j]
		if !q.v.pos.equal(first.v.pos) {
			break
		}
		if q.kind == waitingChange {
			rows++
			several = several || q.id != first.id
		}
	}
	if !several || c.txns.load(first.v.pos) != nil { // a known one is said again
		return
	}
	for j := 0; j < len(queue) && queue[j].v.pos.equal(first.v.pos); j++ { // those that were counted
		if queue[j].kind == waitingChange {
			queue[j].v.flags |= shared
		}
	}
	c.txns.begin(first.v.pos, rows)
}

// outcome is what became of a record, as it is accounted for.
type outcome uint8

const (
	applied outcome = iota
	duplicate
	quarantined
)

// apply gives a completed record to its key, or to all keys of its entity.
func (c *Core) apply(q *waiting, out *Effects) (outcome, error) {
	if c.repeated(q) {
		if q.v.has(shared) {
			c.txns.done(&q.v, false)
		}
		return duplicate, nil
	}
	switch {
	case q.kind == waitingCovered:
		return applied, c.applyCovered(q)
	case q.kind == waitingGap:
		return applied, c.applyEntityGap(q, out)
	case q.op == schemas.OpTruncate:
		return applied, c.applyTruncate(q, out)
	case q.kind == waitingQuarantine && q.id == "":
		return c.applyUnkeyed(q, out), nil
	}
	s := &c.sides[q.side]
	_, q.v.at = s.ours(q.v.at)
	s.latest = max(s.latest, q.v.at)
	k, err := c.keys.at(q.entity, q.id, q.hash)
	switch {
	case err != nil:
		return applied, err
	case c.dropped(k):
		if done, what := c.recall(k, q); done {
			return what, nil
		}
	}
	switch {
	case !c.applyVersion(k, q, out):
		return duplicate, nil
	case q.kind == waitingQuarantine:
		out.Alarms = append(out.Alarms, q.alarm(schemas.Quarantined))
		return quarantined, nil
	}
	return applied, nil
}

// applyVersion gives a key its next version on a side. It is false for one
// that the key has seen.
func (c *Core) applyVersion(k *keyState, q *waiting, out *Effects) bool {
	s := &c.sides[q.side]
	authority := k.lead
	c.renew(k, q.side)
	n := k.on(q.side)
	if n.seen && !after(q.v.pos, q.v.ord, n.lastPos, n.lastOrd) {
		if q.v.has(shared) {
			c.txns.done(&q.v, false)
		}
		return false
	}
	c.know(k)
	c.touch(k)
	surprising := c.unforeseen(k, q)
	first, unread := !n.known, !n.known || n.blocked != 0
	n.seen, n.lastPos, n.lastOrd = true, q.v.pos, q.v.ord
	n.known, n.ever, n.gen = true, true, c.gen(k.entity, q.side)
	if first {
		n.since = q.v.at
	}
	if q.late {
		if zooZ9 {
			return true
		}
		c.block(k, q.side, schemas.GapReason)
		out.Alarms = append(out.Alarms, Alarm{Reason: schemas.GapReason, Side: q.side, Entity: k.entity.Name, Key: k.key(),
			Offset: q.v.off, Detail: fmt.Sprintf("came late: at %s, below the frontier at %s", q.v.pos, s.pos)})
		return true
	}
	if q.block != "" {
		c.block(k, q.side, q.block)
		return true
	}
	if n.blocked != 0 {
		n.blocked, n.since = 0, q.v.at
	}
	if surprising {
		q.v.flags |= unlogged
		c.sayUnlogged(k, q, out)
	}
	if q.flagEpoch != 0 && k.split == nil && c.splitBrain(k, q.flagEpoch, s.written(q)) {
		v := q.v
		v.flags &^= shared
		k.split = &v
	}
	if q.side == authority {
		if q.op == schemas.OpRead && len(k.authority) > 0 && same(k.entity, k.last(), &q.v) {
			return true
		}
		k.appendAuthority(&q.v, c.txns)
	} else {
		q.v.flags &^= shared
		if q.op == schemas.OpRead {
			q.v.flags |= wasRead
		}
		ordered := c.ordered(k, authority, q)
		if q.op == schemas.OpRead && k.hasFollow && len(k.parked) == 0 && same(k.entity, &k.follower, &q.v) && !unread {
			return true
		}
		k.takeFollower(&q.v, ordered, c.txns)
		if unread && len(k.parked) == 0 {
			k.run = q.v.at // what it had in between is not known
		}
	}
	if len(k.authority)+len(k.parked) > c.cfg.MaxVersions {
		c.overflow(k, out)
	}
	return true
}

// ordered says whether the authority's history was known for a window before the
// follower's version. Its time is a bound that can be much too late, and that of
// a row that was read says when, not of when: what was read before tells more.
func (c *Core) ordered(k *keyState, authority schemas.Side, q *waiting) bool {
	a := k.on(authority)
	if !a.known || a.blocked != 0 || a.gen != c.gen(k.entity, authority) {
		return false
	}
	if a.since == always {
		return true
	}
	least := q.v.at
	if f := c.sides[q.side].frontier; f != beforeAll || q.op == schemas.OpRead {
		least = min(least, f) // not of the progress that completes it, of the one before
	}
	return a.since <= least.Add(-c.force.windowOf(k.entity))
}

func (c *Core) overflow(k *keyState, out *Effects) {
	k.unpark()
	if len(k.authority) > 0 {
		k.keepLast(c.txns)
	}
	k.overflow = true
	out.Alarms = append(out.Alarms, Alarm{Reason: schemas.Overflow, Entity: k.entity.Name, Key: k.key(), Offset: c.next - 1,
		Detail: fmt.Sprintf("more than %d versions in flight", c.cfg.MaxVersions)})
}

// block says that a side's current value cannot be used, and begins its history anew.
func (c *Core) block(k *keyState, side schemas.Side, why schemas.Reason) {
	k.on(side).blocked = blockedBy(why)
	c.forget(k, side)
	c.touch(k)
}

// forget drops the versions of a side.
func (c *Core) forget(k *keyState, side schemas.Side) {
	if side == k.lead {
		k.restart(c.txns)
		return
	}
	// Where it stood last it stands still, or it has gone on from there: the authority's history from then on is what its
	// next version is placed in.
	k.parked = nil
}

// renew forgets what a gap has voided.
func (c *Core) renew(k *keyState, side schemas.Side) {
	n := k.on(side)
	if gen := c.gen(k.entity, side); (n.known || n.seen || n.blocked != 0) && n.gen != gen {
		c.forget(k, side)
		*n = knowledge{ever: n.ever, gen: gen}
	}
}

// know takes from coverage what no change has said: an absence.
func (c *Core) know(k *keyState) {
	authority := k.lead
	for _, side := range [2]schemas.Side{authority, authority.Other()} {
		n := k.on(side)
		gen := c.gen(k.entity, side)
		if n.gen == gen && (n.known || n.blocked != 0) {
			continue
		}
		since, ok := c.covered.find(coverKey{k.entity, side}, gen, k.order())
		if !ok {
			continue
		}
		c.renew(k, side)
		n.known, n.gen, n.since = true, gen, since
		c.absent(k, side, since)
	}
}

func (c *Core) applyCovered(q *waiting) error {
	r, e := q.cover, q.entity
	s := &c.sides[q.side]
	n := span{gen: c.gen(e, q.side), since: s.latest}
	if r.From != nil {
		n.from = e.OrderKey(r.From)
	}
	if r.To != nil {
		n.to = e.OrderKey(r.To)
	}
	if c.entities[coverKey{e, q.side}.at()].readWhole(q) {
		c.cover(e, q.side, n)
	}
	if alone := n.from == nil && n.to == nil; alone || c.covered.whole(coverKey{e, q.side}, n.gen) {
		c.forgetUnkeyed(q, alone)
	}
	if x := c.entities[coverKey{e, q.side}.at()]; n.to == nil && x != nil {
		x.unlogged = 0 // ranges are covered in order: this is a baseline's last
	}
	return c.keys.eachIn(e, n.from, n.to, func(k *keyState) error {
		c.know(k)
		c.unblock(k, q, n)
		c.touch(k)
		return nil
	})
}

// unblock meets a covered range that a key lies in of which the latest event
// could not be used. Had the row been there, it would have been read; not if the event
// came after the first rows of the range were: this one may have been among them. Where a
// value does not stand in the log, the row is there: it was left out of what was
// read if it changed meanwhile.
func (c *Core) unblock(k *keyState, q *waiting, covered span) {
	n := k.on(q.side)
	if n.blocked == 0 || n.blocked == blockedUnavailable || !n.known || n.gen != covered.gen || q.readFrom().before(n.lastPos) {
		return
	}
	n.blocked, n.since = 0, covered.since
	c.absent(k, q.side, covered.since)
}

// absent gives a key the version that coverage says of a side.
func (c *Core) absent(k *keyState, side schemas.Side, since schemas.Micros) {
	v := absentSince(since)
	if side == k.lead {
		k.appendAuthority(&v, c.txns)
	} else {
		k.takeFollower(&v, false, c.txns)
		if len(k.parked) == 0 {
			k.run = since
		}
	}
}

// applyTruncate deletes every known row of an entity on a side.
func (c *Core) applyTruncate(q *waiting, out *Effects) error {
	s := &c.sides[q.side]
	_, q.v.at = s.ours(q.v.at)
	s.latest = max(s.latest, q.v.at)
	gen := c.gen(q.entity, q.side)
	c.forgetUnkeyed(q, true)
	err := c.keys.eachIn(q.entity, nil, nil, func(k *keyState) error {
		if n := k.on(q.side); (n.known || n.blocked != 0) && n.gen == gen && c.holds(k, q.side) {
			one := *q
			one.id, one.hash = k.id, k.hash
			c.applyVersion(k, &one, out)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.loseDropped(q.entity) // which rows they are of nobody can say
	c.cover(q.entity, q.side, span{gen: gen, since: q.v.at})
	return nil
}

// holds says whether a side's latest version of a key is a row.
func (c *Core) holds(k *keyState, side schemas.Side) bool {
	if k.on(side).blocked != 0 {
		return true
	}
	if side == k.lead {
		return len(k.authority) > 0 && k.last().has(present)
	}
	if n := len(k.parked); n > 0 {
		return k.parked[n-1].has(present)
	}
	return k.hasFollow && k.follower.has(present)
}
