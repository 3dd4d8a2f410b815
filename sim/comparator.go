package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// comparator feeds a partition to the core, in batches, as reconcile/runner
// does: outputs first, then the state. It crashes between any two steps.
type comparator struct {
	*world
	partition int
	disk      disk
	state     reconcile.State
	core      *reconcile.Core

	said      map[string]int // events that were published, by divergence and sequence: their place in published
	published [][]byte
	seen      [3]seen // by side, of what the core has read
	out       reconcile.Effects
	decode    schemas.Decoder
	read      []byte // a record, as long as the core looks at it
}

// seen is how far a comparator has read a side.
type seen struct {
	complete int // transactions that a progress has completed
	frontier schemas.Micros
	started  bool
}

// verdict is an event with how far the sides had been read when it was taken.
type verdict struct {
	d    schemas.Divergence
	seen [3]seen
}

func newComparator(w *world, partition int) *comparator {
	c := &comparator{world: w, partition: partition, disk: newSnapshots(), said: map[string]int{}, decode: schemas.NewDecoder(w.log.rules)}
	if w.dials.recompute {
		c.decode.Mapping = "" // no digest stands for its row
	}
	if w.dials.pebble {
		c.disk = newLSM(w.dials.digests)
	}
	c.open()
	return c
}

func (c *comparator) open() {
	st, err := c.disk.open(c.partition)
	if err == nil {
		c.state = st
		c.core, err = reconcile.NewCore(reconcile.Config{Rules: c.log.rules, Recompute: c.dials.recompute}, st)
	}
	if err != nil {
		c.broken("I15", "partition %d does not open after a crash: %v", c.partition, err)
		return
	}
	c.seen = [3]seen{}
	for off := range c.core.Next() { // what the harness has to know of what was read
		rec, err := c.log.read(c.partition, off)
		if err != nil {
			c.broken("I15", "%v", err)
			return
		}
		c.follow(rec)
	}
}

// crash loses what is not durable, and opens again.
func (c *comparator) crash() {
	if err := c.disk.crash(c.r.IntN(keptCommits)); err != nil {
		c.broken("I15", "crash of partition %d: %v", c.partition, err)
		return
	}
	c.open()
	c.note(rowKey{}, "comparator of partition %d crashes and goes on at %d", c.partition, c.core.Next())
}

// take reads a batch.
func (c *comparator) take(most int) {
	end := min(int64(len(c.log.partitions[c.partition])), c.core.Next()+int64(most))
	dies := 0
	if !c.healed && c.chance(c.dials.comparatorCrash) {
		dies = 1 + c.r.IntN(3)
	}
	var verdicts []verdict
	for off := c.core.Next(); off < end; off++ {
		// As in the runner, nothing of a record is there once it was taken.
		c.read = append(c.read[:0], c.log.partitions[c.partition][off]...)
		rec, err := c.decode.Unmarshal(c.read)
		if err != nil {
			c.broken("I23", "partition %d offset %d: %v", c.partition, off, err)
			return
		}
		c.out.Reset()
		if err := c.core.Step(off, rec, &c.out); err != nil {
			c.broken("I15", "partition %d: %v", c.partition, err)
			return
		}
		c.follow(rec)
		for i := range c.read {
			c.read[i] = 0xee
		}
		c.accounts(off)
		for i := range c.out.Verdicts {
			d, err := reconcile.Complete(&c.out.Verdicts[i], c.log.rules, rows{c.log, c.partition})
			if err != nil {
				c.broken("I14", "partition %d: %v", c.partition, err)
				return
			}
			verdicts = append(verdicts, verdict{d, c.seen})
		}
	}
	if dies == 1 {
		c.crash()
		return
	}
	for i := range verdicts {
		c.publish(&verdicts[i])
	}
	if dies == 2 {
		c.crash()
		return
	}
	err := c.core.Flush()
	if err == nil {
		err = c.disk.commit()
	}
	if err != nil {
		c.broken("I15", "partition %d: %v", c.partition, err)
	}
	if dies == 3 {
		c.crash()
	}
}

// follow notes how far a side is.
func (c *comparator) follow(rec *schemas.Record) {
	switch {
	case rec.Gap != nil && rec.Gap.Entity == "":
		c.seen[rec.Gap.Side].started = false
		c.seen[rec.Gap.Side].complete = max(c.seen[rec.Gap.Side].complete, indexAt(rec.Gap.Pos))
	case rec.Progress != nil:
		s := &c.seen[rec.Progress.Side]
		s.complete = max(s.complete, indexAt(rec.Progress.Pos))
	}
}

// indexAt is the number of transactions up to a position.
func indexAt(pos string) int {
	n, err := strconv.ParseInt(pos, 16, 64)
	if err != nil {
		panic("sim: a position of its own making: " + pos)
	}
	return int(n / 16)
}

// accounts holds the core to what has to be true after every record: the
// accounts add up (I21); a frontier never goes back, and nothing that committed
// before it is missing (I18); nothing is late (I17).
func (c *comparator) accounts(off int64) {
	if n := c.core.Counters(); n.Unaccounted() != 0 || n.Consumed != off+1 {
		c.broken("I21", "partition %d at %d: accounts do not add up: %+v", c.partition, off, n)
	}
	for _, side := range schemas.Sides {
		s := &c.seen[side]
		f, ok := c.core.Frontier(side)
		if ok && s.started && f < s.frontier {
			c.broken("I18", "partition %d at %d: frontier of %s goes back from %d to %d", c.partition, off, side, s.frontier, f)
		}
		s.frontier, s.started = f, ok
		if wal := c.store[side].wal; ok && s.complete < len(wal) && wal[s.complete].at < f {
			c.broken("I18", "partition %d at %d: frontier of %s passed %d, and %s of %d was not read", c.partition, off, side, f, pos(s.complete), wal[s.complete].at)
		}
	}
	for i := range c.out.Alarms {
		a := &c.out.Alarms[i]
		if a.Reason == schemas.Overflow || strings.HasPrefix(a.Detail, "came late") {
			c.broken("I17", "partition %d at %d: %s: %s %v", c.partition, off, a.Detail, a.Entity, a.Key)
		}
		if a.Reason == schemas.Unlogged && !c.oracle.unkeyed { // everything is in the log
			c.broken("I9", "partition %d at %d: %s: %s %v", c.partition, off, a.Detail, a.Entity, a.Key)
		}
	}
}

// publish says an event, once; said again after a crash it has to be the same.
func (c *comparator) publish(v *verdict) {
	text := schemas.AppendDivergenceJSON(nil, &v.d)
	id := fmt.Sprintf("%s/%d", v.d.ID, v.d.Sequence)
	if at, again := c.said[id]; again {
		if !bytes.Equal(c.published[at], text) {
			c.broken("I15", "partition %d says otherwise after a crash:\n%s\n%s", c.partition, c.published[at], text)
		}
		return
	}
	c.said[id] = len(c.published)
	c.published = append(c.published, text)
	c.oracle.hear(v)
	c.repairer.queue = append(c.repairer.queue, v.d)
}

// replay judges what was read anew, in one go on a fresh state: it has to say
// the same (I14).
func (c *comparator) replay() {
	core, err := reconcile.NewCore(reconcile.Config{Rules: c.log.rules}, reconcile.NewMemoryState())
	if err != nil {
		c.broken("I14", "%v", err)
		return
	}
	var out reconcile.Effects
	for off := range c.core.Next() {
		rec, err := c.log.read(c.partition, off)
		if err == nil {
			err = core.Step(off, rec, &out)
		}
		if err != nil {
			c.broken("I14", "%v", err)
			return
		}
	}
	if len(out.Verdicts) != len(c.published) {
		c.broken("I14", "partition %d: a replay says %d events, the run %d", c.partition, len(out.Verdicts), len(c.published))
		return
	}
	for i := range out.Verdicts {
		d, err := reconcile.Complete(&out.Verdicts[i], c.log.rules, rows{c.log, c.partition})
		if err != nil {
			c.broken("I14", "%v", err)
		} else if text := schemas.AppendDivergenceJSON(nil, &d); !bytes.Equal(text, c.published[i]) {
			c.broken("I14", "partition %d: a replay says otherwise:\n%s\n%s", c.partition, c.published[i], text)
			return
		}
	}
}
