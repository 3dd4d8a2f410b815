package reconcile

import "github.com/trueup-io/trueup/schemas"

// Totals counts the partition's keys by what is known of them now. It is
// cheap: the counts are kept as keys are judged.
func (c *Core) Totals() schemas.Summary {
	t := &c.keys.totals
	s := schemas.Summary{Equal: t[classEqual], Diverged: t[classDiverged],
		Unknown: map[schemas.Reason]int64{}, ByKind: map[schemas.Kind]int64{}}
	s.Compared = s.Equal + s.Diverged
	for class, reason := range reasonOf { // any order: a map is filled
		if n := t[class]; n != 0 {
			s.Unknown[reason] = n
		}
	}
	return s
}

var reasonOf = map[class]schemas.Reason{
	classLag: schemas.Lag, classNoData: schemas.NoData, classGap: schemas.GapReason, classOverflow: schemas.Overflow,
	classQuarantined: schemas.Quarantined, classUnavailable: schemas.UnavailableReason,
}

// Finish counts what the log ends with: changes whose transaction no progress
// has completed make their keys unknown(lag). It is for the end of a replay;
// the core cannot be used after it.
func (c *Core) Finish() (schemas.Summary, error) {
	for _, side := range schemas.Sides {
		for i := range c.queue[side] {
			if err := c.finish(&c.queue[side][i]); err != nil {
				return schemas.Summary{}, err
			}
		}
	}
	if c.sweep { // other rules are in force, under which nothing was judged yet
		err := c.keys.each(func(k *keyState) error {
			c.unsettle(k)
			return nil
		})
		if err != nil {
			return schemas.Summary{}, err
		}
	}
	for _, k := range c.touched {
		if k.class == uncounted || k.class == classEqual {
			c.unsettle(k)
		}
	}
	return c.Totals(), nil
}

// finish counts what a change is that nothing has completed.
func (c *Core) finish(q *waiting) error {
	switch {
	case q.kind == waitingCovered || q.op == schemas.OpTruncate || c.repeated(q):
		return nil
	case q.kind == waitingGap:
		return c.keys.eachIn(q.entity, nil, nil, func(k *keyState) error {
			c.unsettle(k)
			return nil
		})
	case q.kind == waitingQuarantine && q.id == "":
		c.keys.count(classQuarantined, +1)
		return nil
	}
	k, err := c.keys.at(q.entity, q.id, q.hash)
	if err != nil {
		return err
	}
	if c.dropped(k) {
		if done, _ := c.recall(k, q); done {
			return nil
		}
	}
	if n := k.on(q.side); n.seen && !after(q.v.pos, q.v.ord, n.lastPos, n.lastOrd) {
		return nil
	}
	c.touch(k)
	c.unsettle(k)
	return nil
}

// unsettle counts a key as lag unless something graver is known of it.
func (c *Core) unsettle(k *keyState) {
	if k.class == uncounted || k.class == classEqual {
		c.keys.count(k.class, -1)
		k.class = classLag
		c.keys.count(k.class, +1)
		c.keys.change(k)
	}
}
