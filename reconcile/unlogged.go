package reconcile

import "github.com/trueup-io/trueup/schemas"

// A store's log need not have everything that is done to its rows: a session of
// MySQL or MariaDB can keep its changes out of it, and what a foreign key does to
// other rows is never in it. Nothing says so, but the next change of such a row
// brings the row as it was before: if that is not what the log said last,
// something happened in between. So does a row that a baseline reads. An event
// that could not be read, of nobody knows which key, is found so, too; it may
// stand in any partition. See decision 74.

// rowBefore is the row before a change, where the log has all of it.
func (c *Core) rowBefore(e *schemas.Entity, r *schemas.Change, offset int64, out *Effects) before {
	if r.Op != schemas.OpUpdate && r.Op != schemas.OpDelete {
		return before{}
	}
	digested := r.BeforeDigest != schemas.Digest{} && r.Mapping == c.cfg.Rules.Version
	if digested && !c.cfg.Recompute {
		return before{digest: r.BeforeDigest, known: true}
	}
	img := e.Image(r.Side, r.Before)
	if digested && img.Exact() && img.Digest != r.BeforeDigest {
		out.mistaken(offset)
	}
	if len(img.Unavailable)+len(img.Unrepresentable)+len(img.Schema) > 0 {
		return before{}
	}
	return before{img.Digest, tolerantOf(img.Tolerant), true}
}

// latest is a side's latest version of a key, nil if there is none.
func (k *keyState) latest(side schemas.Side) *version {
	switch n := len(k.parked); {
	case side == k.lead && len(k.authority) > 0:
		return k.last()
	case side == k.lead:
		return nil
	case n > 0:
		return &k.parked[n-1]
	case k.hasFollow:
		return &k.follower
	}
	return nil
}

// unforeseen says that a change of a key's side, which is not applied yet, shows
// that the row was another one than the log says.
func (c *Core) unforeseen(k *keyState, q *waiting) bool {
	n := k.on(q.side)
	if q.kind != waitingChange || !k.entity.ReadsBefore(q.side) || !n.known || n.blocked != 0 {
		return false
	}
	v := k.latest(q.side)
	if v == nil || v.has(unrepresentable|unmappable) {
		return false
	}
	switch q.op {
	case schemas.OpInsert:
		return v.has(present)
	case schemas.OpRead:
		return !q.v.has(unrepresentable|unmappable) && !same(k.entity, v, &q.v)
	case schemas.OpUpdate, schemas.OpDelete:
		if !v.has(present) {
			return true
		}
		b := q.before.version()
		return q.before.known && !same(k.entity, v, &b)
	}
	return false
}

// sayUnlogged counts and says what unforeseen found.
func (c *Core) sayUnlogged(k *keyState, q *waiting, out *Effects) {
	c.entity(k.entity, q.side).unlogged++
	out.Alarms = append(out.Alarms, Alarm{Reason: schemas.Unlogged, Side: q.side, Entity: k.entity.Name, Key: k.key(), Offset: q.v.off,
		Detail: "the row before this " + q.op.String() + " is not what was read last: it was changed by something that the store did not log, or of which an event could not be read"})
}
