package sim

import (
	"fmt"
	"math"

	"github.com/trueup-io/trueup/schemas"
)

// rollout gives keys from one side to the other while everything goes on: the application
// holds its writes until those that are under way are done, as package handover has it do, the
// log says it, partition by partition, and writers go by the new epoch; but for some that
// do not know of it yet.
type rollout struct {
	*world
	places  []*schemas.Placed // by epoch, from 1 on; none: nothing is handed over
	holding bool
	saying  int // partitions whose log does not have the last one yet
}

// flagName is what tags say that writes were made by.
const flagName = "sim"

const (
	heldLook = 20 * millisecond
	// lateBound is how much earlier than it did a write can be taken to have committed: a sample, and a delivery.
	lateBound = 3 * second
)

func newRollout(w *world) *rollout { return &rollout{world: w} }

// begin says the first place, which is what the rules say.
func (o *rollout) begin() {
	if o.dials.handOver == 0 {
		return
	}
	stage := schemas.StageShadowRead
	if o.authority == schemas.Target {
		stage = schemas.StageTargetPrimary
	}
	o.place(stage, 0, start-3600*second)
	for p := range o.dials.partitions {
		o.say(p)
	}
	o.every(o.dials.handOver, o.hold)
}

func (o *rollout) place(stage schemas.RolloutStage, share schemas.RampShare, fence schemas.Micros) {
	epoch := uint64(len(o.places) + 1)
	c := &schemas.RolloutControl{Name: flagName, Revision: epoch, Epoch: epoch, Stage: stage, Ramp: share, Salt: flagName, Fence: fence}
	o.places = append(o.places, c.Placed())
}

func (o *rollout) say(p int) {
	c := o.places[len(o.places)-1].RolloutControl
	o.log.append(p, &schemas.Record{Control: &schemas.Control{Rollout: &c}})
}

func (o *rollout) underWay() bool { return o.holding || o.saying > 0 }

// hold begins a hand-over.
func (o *rollout) hold() {
	if o.healed || o.underWay() {
		return
	}
	o.holding, o.writers.held = true, true
	o.note(rowKey{}, "writes are held")
	o.drain()
}

func (o *rollout) drain() {
	if o.writers.pending > 0 {
		o.in(heldLook, o.drain)
		return
	}
	stage, share := schemas.StageRamp, schemas.RampShare(0)
	switch o.r.IntN(4) {
	case 0:
		stage = schemas.StageShadowRead
	case 1:
		stage = schemas.StageTargetPrimary
	default:
		share = schemas.RampShare(1 + o.r.IntN(99_999))
	}
	o.place(stage, share, o.clock)
	o.note(rowKey{}, "epoch %d begins: %s", len(o.places), o.places[len(o.places)-1].Place())
	o.oracle.handedOver()
	for p := range o.dials.partitions {
		o.saying++
		o.in(schemas.Micros(o.r.Int64N(int64(500*millisecond))), func() {
			o.saying--
			o.say(p)
		})
	}
	o.in(1, func() { o.holding, o.writers.held = false, false }) // what is written later is behind the fence
}

// authority is the side that has authority for a row in an epoch.
func (o *rollout) authorityIn(epoch int, k rowKey) schemas.Side {
	e, ok := o.log.rules.Entity(k.entity)
	if !ok {
		panic("sim: no entity " + k.entity)
	}
	return o.places[epoch-1].Authority(e.RolloutKey(k.parts()))
}

// group is writes that have one side written first.
type group struct {
	authority schemas.Side
	writes    []write
}

// groups are the writes of a transaction by the side with authority, tagged with the epoch, as
// the writer knows it.
func (o *rollout) groups(ws []write) (out []group) {
	if len(o.places) == 0 {
		return []group{{o.world.authority, ws}}
	}
	epoch := len(o.places)
	if epoch > 1 && o.chance(o.dials.lateWrite) {
		epoch = 1 + o.r.IntN(epoch-1)
		for _, w := range ws {
			o.note(w.key, "is written by epoch %d", epoch)
		}
	}
	for _, side := range schemas.Sides {
		g := group{authority: side}
		for _, w := range ws {
			if o.authorityIn(epoch, w.key) == side {
				w.tag.FlagEpoch = fmt.Sprintf("%s:%d", flagName, epoch)
				g.writes = append(g.writes, w)
			}
		}
		if len(g.writes) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// period is a time in which one side has authority for a row, by the epoch that it began with.
type period struct {
	key   rowKey
	epoch int
}

// reign is a period, with what both sides had in it and before.
type reign struct {
	period
	authority schemas.Side
	until     schemas.Micros
	store     *[3]*store
}

// reign is the period of an epoch. What the core says before the first one is in force, it says
// by the rules, which say the same.
func (o *oracle) reign(k rowKey, epoch uint64) *reign {
	places := o.rollout.places
	r := &reign{period: period{k, 0}, authority: o.authority, until: math.MaxInt64, store: &o.store}
	if len(places) == 0 {
		return r
	}
	at := max(int(epoch), 1)
	if at > len(places) {
		o.broken("I12", "%s: something is said by epoch %d, and there are %d", k, epoch, len(places))
		at = len(places)
	}
	r.authority, r.epoch = o.rollout.authorityIn(at, k), at
	for r.epoch > 1 && o.rollout.authorityIn(r.epoch-1, k) == r.authority {
		r.epoch--
	}
	for next := at + 1; next <= len(places); next++ {
		if o.rollout.authorityIn(next, k) != r.authority {
			r.until = places[next-1].Fence
			break
		}
	}
	return r
}

func (r *reign) follower() schemas.Side { return r.authority.Other() }

// past is what a side had up to the end of the period.
func (r *reign) past(side schemas.Side) []version {
	all := r.store[side].past(r.key)
	n := 1
	for n < len(all) && all[n].at <= r.until {
		n++
	}
	return all[:n]
}

// index is that of the version once n transactions were read, or of the last one of the period.
func (r *reign) index(side schemas.Side, n int) int {
	return min(r.store[side].index(r.key, n), len(r.past(side))-1)
}

// handedOver begins a period for each row that the last epoch moves: it is judged by what both
// sides have now.
func (o *oracle) handedOver() {
	now := len(o.rollout.places)
	for _, k := range o.keys() {
		if o.rollout.authorityIn(now, k) != o.rollout.authorityIn(now-1, k) {
			o.moves++
			o.from[period{k, now}] = basis{schemas.Legacy: len(o.store[schemas.Legacy].past(k)) - 1, schemas.Target: len(o.store[schemas.Target].past(k)) - 1}
		}
	}
}

// byGone says whether a row was written by an epoch in which the other side had authority, when that
// had ended for a settle window and so much more at least.
func (o *oracle) byGone(k rowKey, more schemas.Micros) bool {
	for _, side := range schemas.Sides {
		for i := range o.store[side].wal {
			t := &o.store[side].wal[i]
			for j := range t.writes {
				epoch, ok := schemas.FlagEpoch(t.writes[j].tag.FlagEpoch, flagName)
				if ok && t.writes[j].key == k && o.gone(k, int(epoch), t.at, more) {
					return true
				}
			}
		}
	}
	return false
}

// gone says whether an epoch had ended at a time, or before it: when a write committed at the earliest
// is a bound that errs. With more, it had wherever within that bound the time lies.
func (o *oracle) gone(k rowKey, epoch int, at, more schemas.Micros) bool {
	at -= schemas.Micros(o.dials.window.Microseconds())
	for n := len(o.rollout.places); n > 0; n-- {
		fence := o.rollout.places[n-1].Fence
		if fence >= at {
			continue
		}
		differs := n > epoch && o.rollout.authorityIn(n, k) != o.rollout.authorityIn(epoch, k)
		switch {
		case more == 0 && differs:
			return true
		case more > 0 && !differs:
			return false
		case more > 0 && fence < at-more:
			return true
		}
	}
	return false
}

// split holds what is said of a split brain to what was written.
func (o *oracle) split(k rowKey) {
	if !o.byGone(k, 0) {
		o.broken("I12", "%s: a split brain is said, and nobody wrote by an epoch that had ended", k)
	}
}

// splitBrains demands that what was surely written by an epoch that had ended was said, where
// nothing else is open: captures that were late or died know less of when it was written.
func (o *oracle) splitBrains() {
	if o.dials.captureCrash > 0 || o.dials.lag > 0 {
		return
	}
	for _, k := range o.keys() {
		if o.open[k] == nil && o.splits[k] == 0 && len(o.rollout.places) > 0 && o.byGone(k, lateBound) {
			o.broken("I11", "%s: it was written by an epoch that had ended, and that was never said", k)
		}
	}
}
