package reconcile

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// entityState is what a partition knows of an entity on one side beyond its
// keys and its coverage.
type entityState struct {
	gaps   uint32   // of this entity alone; what was known before the latest is void
	gapPos position // of the latest, in the side's epoch; none before one
	gapOrd uint32

	unkeyed    int64    // quarantined events of which nobody can say which key they are of
	unkeyedPos position // of the latest, in the side's epoch; none before one
	unkeyedOrd uint32
	unkeyedGen uint32 // of the side when it came

	// Rows that a baseline read and that have no canonical key. They are there whatever it covers.
	keyless    int64
	keylessGen uint32

	lostPos position // up to which the side was read when coverage was lost with the other side's, of an entity whose settled keys are dropped; none before that

	unlogged int64 // changes that showed what the side's log does not have, since the latest baseline or gap

	// Of entities whose settled keys are dropped, on the legacy side's record for both:
	dropped int64 // rows that are equal on both sides and of which nothing is kept
	lost    int64 // of those that were, before a gap; they are counted as gap until both sides are covered anew
}

func (x *entityState) encode(e *encoder) {
	e.bool(x != nil)
	if x == nil {
		return
	}
	e.uint(uint64(x.gaps))
	e.text(x.gapPos.String())
	e.uint(uint64(x.gapOrd))
	e.int(x.unkeyed)
	e.text(x.unkeyedPos.String())
	e.uint(uint64(x.unkeyedOrd))
	e.uint(uint64(x.unkeyedGen))
	e.int(x.keyless)
	e.uint(uint64(x.keylessGen))
	e.text(x.lostPos.String())
	e.int(x.unlogged)
	e.int(x.dropped)
	e.int(x.lost)
}

func decodeEntityState(d *decoder) *entityState {
	if !d.bool() {
		return nil
	}
	return &entityState{gaps: uint32(d.uint()), gapPos: positionOf(d.text()), gapOrd: uint32(d.uint()), unkeyed: d.int(), unkeyedPos: positionOf(d.text()), unkeyedOrd: uint32(d.uint()),
		unkeyedGen: uint32(d.uint()), keyless: d.int(), keylessGen: uint32(d.uint()),
		lostPos: positionOf(d.text()), unlogged: d.int(), dropped: d.int(), lost: d.int()}
}

// entityNamed finds an entity: most often it is that of the record before.
func (c *Core) entityNamed(name string) (*schemas.Entity, bool) {
	if e := c.named; e != nil && e.Name == name {
		return e, true
	}
	e, ok := c.cfg.Rules.Entity(name)
	if ok {
		c.named = e
	}
	return e, ok
}

// entity returns what there is to say of an entity on a side, from now on.
func (c *Core) entity(e *schemas.Entity, side schemas.Side) *entityState {
	at := coverKey{e, side}.at()
	x := c.entities[at]
	if x == nil {
		x = new(entityState)
		c.entities[at] = x
	}
	return x
}

// gen is the generation of an entity on a side: what was known under another
// one is void. It rises with the side's gaps and with the entity's, and both
// only rise, so their sum is another one after each.
func (c *Core) gen(e *schemas.Entity, side schemas.Side) uint32 {
	gen := c.sides[side].gen
	if x := c.entities[coverKey{e, side}.at()]; x != nil {
		gen += x.gaps
	}
	return gen
}

// takeEntityGap queues a gap of one entity: it takes effect behind the changes
// that came before it.
func (c *Core) takeEntityGap(offset int64, r *schemas.Gap, out *Effects) error {
	if stale, err := c.enter(r.Side, r.Source, r.Epoch, offset, out); stale || err != nil {
		return err
	}
	e, ok := c.entityNamed(r.Entity)
	if !ok {
		c.counters.OutOfScope++
		return nil
	}
	q := c.enqueue(r.Side)
	q.kind, q.entity, q.why = waitingGap, e, strings.Clone(r.Reason)
	q.v.pos, q.v.ord, q.v.off = positionOf(r.Pos), r.Ordinal, offset
	return nil
}

// takeQuarantine queues an event that could not be made a change.
func (c *Core) takeQuarantine(offset int64, r *schemas.Quarantine, out *Effects) error {
	if stale, err := c.enter(r.Side, r.Source, r.Epoch, offset, out); stale || err != nil {
		return err
	}
	e, ok := c.entityNamed(r.Entity)
	if !ok {
		c.counters.OutOfScope++
		return nil
	}
	id := ""
	if len(r.Key) > 0 {
		id = c.keys.idOf(e, r.Key)
	}
	s := &c.sides[r.Side]
	q := c.enqueue(r.Side)
	q.kind, q.entity, q.id, q.block = waitingQuarantine, e, id, schemas.Quarantined
	q.hash = c.keys.cache.hash(id)
	q.v.at, q.v.pos, q.v.ord, q.v.off = r.CommitTS, positionOf(r.Pos), r.Ordinal, offset
	q.late = !r.Read && s.frontier != beforeAll && !s.pos.before(q.v.pos)
	if r.Read {
		q.op = schemas.OpRead
	}
	q.why = fmt.Sprintf("%s; at %s, ordinal %d, digest %s", r.Reason, r.Pos, r.Ordinal, hex.EncodeToString(r.Digest[:]))
	return nil
}

// repeated says whether a record of an entity stood in the log before, as far
// as the entity's gap tells: whatever the gap's position does not come after
// was written before the gap, or not at all.
func (c *Core) repeated(q *waiting) bool {
	x := c.entities[coverKey{q.entity, q.side}.at()]
	if x == nil || x.gapPos.none() {
		return false
	}
	switch {
	case q.kind == waitingGap:
		return !after(q.v.pos, q.v.ord, x.gapPos, x.gapOrd)
	case q.op == schemas.OpRead:
		return q.v.pos.before(x.gapPos) || q.v.pos.equal(x.gapPos) && q.v.ord < x.gapOrd // a baseline can follow where the side stands still
	case q.kind == waitingCovered:
		return q.readFrom().before(x.gapPos) // what was read before is void
	}
	return !x.gapPos.before(q.v.pos)
}

// applyEntityGap voids what is known of an entity on a side.
func (c *Core) applyEntityGap(q *waiting, out *Effects) error {
	x := c.entity(q.entity, q.side)
	x.gaps++
	x.gapPos, x.gapOrd, x.unlogged = q.v.pos, q.v.ord, 0
	c.covered[coverKey{q.entity, q.side}.at()] = nil
	c.loseDropped(q.entity)
	x.lostPos = position{} // what was read before the gap is void by its position
	out.Alarms = append(out.Alarms, q.alarm(schemas.GapReason))
	return c.keys.eachIn(q.entity, nil, nil, func(k *keyState) error {
		c.touch(k)
		return nil
	})
}

// applyUnkeyed counts an event of which nobody can say which key it is of.
func (c *Core) applyUnkeyed(q *waiting, out *Effects) outcome {
	x := c.entity(q.entity, q.side)
	if !x.unkeyedPos.none() && !after(q.v.pos, q.v.ord, x.unkeyedPos, x.unkeyedOrd) {
		return duplicate
	}
	gen := c.gen(q.entity, q.side)
	x.unkeyedPos, x.unkeyedOrd = q.v.pos, q.v.ord
	if q.op == schemas.OpRead {
		if x.keylessGen != gen {
			c.forgetKeyless(x) // an earlier baseline's, which is void
		}
		x.keyless, x.keylessGen = x.keyless+1, gen
	} else {
		x.unkeyed, x.unkeyedGen = x.unkeyed+1, gen
	}
	c.keys.count(classQuarantined, +1)
	out.Alarms = append(out.Alarms, q.alarm(schemas.Quarantined))
	return quarantined
}

// readWhole says whether every row of a covered range was read since coverage was
// lost: what is kept of the range is then all that there is.
func (x *entityState) readWhole(q *waiting) bool {
	return x == nil || x.lostPos.none() || x.lostPos.before(q.readFrom())
}

// forgetUnkeyed meets a record that says where every row of the entity stands,
// or the last of several that do: those that nobody could read are among them, but
// for rows that its own baseline found without a key.
func (c *Core) forgetUnkeyed(q *waiting, alone bool) {
	x := c.entities[coverKey{q.entity, q.side}.at()]
	if x == nil {
		return
	}
	gen := c.gen(q.entity, q.side)
	if x.unkeyed != 0 && (alone && !q.readFrom().before(x.unkeyedPos) || x.unkeyedGen != gen) {
		c.keys.count(classQuarantined, -x.unkeyed)
		x.unkeyed = 0
	}
	if x.keylessGen != gen || q.op == schemas.OpTruncate {
		c.forgetKeyless(x)
	}
}

// readFrom is as of when the first row of a covered range was read, or where the
// record stands.
func (q *waiting) readFrom() position {
	if q.cover != nil && q.cover.ReadFrom != "" {
		return positionOf(q.cover.ReadFrom)
	}
	return q.v.pos
}

func (c *Core) forgetKeyless(x *entityState) {
	c.keys.count(classQuarantined, -x.keyless)
	x.keyless = 0
}

func (q *waiting) alarm(reason schemas.Reason) Alarm {
	return Alarm{Reason: reason, Side: q.side, Entity: q.entity.Name, Key: q.key(), Offset: q.v.off, Detail: q.why}
}
