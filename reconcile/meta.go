package reconcile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// errPage ends a scan early.
var errPage = errors.New("page is full")

// StateFormat is the format of everything a core keeps in State. 10 says up to
// where a side was read when its coverage was lost with the other's; 9 tells gaps
// at one position apart; 8 counts what
// a store's log does not have; 7 says where a rollout stands, and under which epoch a queued change was written; 6 whether
// other rules are in force since the last progress, and how many keys were
// dropped; 5 how far a side had fallen behind, whether its clock was set, and
// since when a follower has what it has. What 1 to 9 wrote is made anew from
// the log.
const StateFormat = 10

// ErrForeignState says that a state was made under other rules or by a newer
// format; it must be rebuilt from the log.
var ErrForeignState = errors.New("state was made under other rules or another format; rebuild it from the log")

// Flush writes what the core keeps in memory to State, so that State holds
// everything up to Next.
func (c *Core) Flush() error {
	if err := c.keys.flush(); err != nil {
		return err
	}
	if err := c.txns.flush(); err != nil {
		return err
	}
	for _, s := range schemas.Sides {
		for i := range c.queue[s] {
			q := &c.queue[s][i]
			if q.stored {
				continue
			}
			if err := c.state.Set(queueKey(q.seq), encodeQueued(q)); err != nil {
				return fmt.Errorf("write queued change: %w", err)
			}
			q.stored = true
		}
	}
	if p := &c.force.places; p.dirty {
		if err := c.state.Set([]byte(placementsKey), p.encode()); err != nil {
			return fmt.Errorf("write where the rollout stands: %w", err)
		}
		p.dirty = false
	}
	if err := c.state.Set([]byte(PartitionRecord), c.encodeMeta()); err != nil {
		return fmt.Errorf("write partition record: %w", err)
	}
	return nil
}

// Unload writes the keys that wait for nothing to State, and keeps them in memory
// no longer: what the core holds between two flushes then grows with what is
// under way. State holds everything up to Next only after a Flush, so whoever
// makes it durable does that after one.
func (c *Core) Unload() error { return c.keys.unload() }

// Loaded is how many keys are in memory.
func (c *Core) Loaded() int { return c.keys.cache.len() }

func (c *Core) encodeMeta() []byte {
	e := &encoder{}
	e.byte(StateFormat)
	e.text(c.cfg.Rules.Version)
	e.int(c.next)
	for _, s := range schemas.Sides {
		w := &c.sides[s]
		e.bool(w.started)
		e.text(w.source)
		e.uint(uint64(w.epoch))
		e.uint(uint64(w.gen))
		e.text(w.pos.String())
		e.time(w.frontier)
		e.time(w.offset)
		e.time(w.errorMax)
		e.time(w.latest)
		e.time(w.behind)
		e.time(w.offsetLow)
		e.time(w.offsetHigh)
		e.time(w.stepped)
	}
	for _, n := range []int64{c.counters.Consumed, c.counters.Applied, c.counters.Duplicate, c.counters.OutOfScope, c.counters.Quarantined} {
		e.int(n)
	}
	for _, n := range c.keys.totals {
		e.int(n)
	}
	e.text(c.force.version)
	e.byte(byte(c.force.authority))
	e.time(c.force.window)
	e.uint(uint64(len(c.force.entities)))
	for _, name := range sortedKeys(c.force.entities) {
		f := c.force.entities[name]
		e.text(name)
		e.byte(byte(f.Authority))
		e.time(f.SettleWindow)
	}
	c.encodeCoverage(e)
	touched := make([]string, 0, len(c.touched))
	for _, k := range c.touched {
		touched = append(touched, k.id)
	}
	e.texts(touched)
	e.bool(c.sweep)
	for _, s := range schemas.Sides {
		for _, entity := range c.cfg.Rules.Entities() {
			c.entities[coverKey{entity, s}.at()].encode(e)
		}
	}
	return e.b
}

// StateAt returns the offset up to which a State was brought under rules of a version,
// -1 where there is none, or none that a core under these rules would go on from.
func StateAt(s State, rules string) (next int64, err error) {
	b, ok, err := s.Get([]byte(PartitionRecord))
	if err != nil || !ok {
		return -1, err
	}
	d := &decoder{b: b}
	format, version, next := d.byte(), d.text(), d.int()
	if d.bad || format != StateFormat || version != rules {
		return -1, nil
	}
	return next, nil
}

func (c *Core) encodeCoverage(e *encoder) {
	for _, s := range schemas.Sides {
		for _, entity := range c.cfg.Rules.Entities() {
			spans := c.covered[coverKey{entity, s}.at()]
			e.uint(uint64(len(spans)))
			for i := range spans {
				w := &spans[i]
				e.bool(w.from != nil)
				e.bytes(w.from)
				e.bool(w.to != nil)
				e.bytes(w.to)
				e.uint(uint64(w.gen))
				e.time(w.since)
			}
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// load reads everything back, and sets the timers anew.
func (c *Core) load() error {
	b, ok, err := c.state.Get([]byte(PartitionRecord))
	if err != nil {
		return err
	}
	if !ok {
		return nil
	}
	touched, err := c.decodeMeta(append([]byte(nil), b...))
	if err != nil {
		return err
	}
	if b, ok, err := c.state.Get([]byte(placementsKey)); err != nil {
		return err
	} else if ok {
		if err := c.force.places.decode(b); err != nil {
			return err
		}
	}
	if err := c.loadQueue(); err != nil {
		return err
	}
	if err := c.loadTimers(); err != nil {
		return err
	}
	for _, id := range touched {
		k, err := c.keys.byID(id)
		if err != nil {
			return err
		}
		if k != nil {
			c.touch(k)
		}
	}
	return nil
}

func (c *Core) decodeMeta(b []byte) (touched []string, err error) {
	d := &decoder{b: b}
	format := d.byte()
	if format != StateFormat {
		return nil, fmt.Errorf("%w: format %d, this program writes %d", ErrForeignState, format, StateFormat)
	}
	if v := d.text(); v != c.cfg.Rules.Version {
		return nil, fmt.Errorf("%w: rules %s, now %s", ErrForeignState, v, c.cfg.Rules.Version)
	}
	c.next = d.int()
	for _, s := range schemas.Sides {
		c.sides[s] = sideState{started: d.bool(), source: d.text(), epoch: uint32(d.uint()), gen: uint32(d.uint()), pos: d.posText(),
			frontier: d.time(), offset: d.time(), errorMax: d.time(), latest: d.time(), behind: d.time(),
			offsetLow: d.time(), offsetHigh: d.time(), stepped: d.time()}
	}
	c.counters = Counters{Consumed: d.int(), Applied: d.int(), Duplicate: d.int(), OutOfScope: d.int(), Quarantined: d.int()}
	for i := range c.keys.totals {
		c.keys.totals[i] = d.int()
	}
	c.force.version, c.force.authority, c.force.window = d.text(), schemas.Side(d.byte()), d.time()
	for n := d.uint(); n > 0 && !d.bad; n-- {
		if c.force.entities == nil {
			c.force.entities = map[string]schemas.EntityControl{}
		}
		c.force.entities[d.text()] = schemas.EntityControl{Authority: schemas.Side(d.byte()), SettleWindow: d.time()}
	}
	for _, s := range schemas.Sides {
		for _, entity := range c.cfg.Rules.Entities() {
			at := coverKey{entity, s}.at()
			for n := d.uint(); n > 0 && !d.bad; n-- {
				c.covered[at] = append(c.covered[at], decodeSpan(d))
			}
		}
	}
	touched = d.texts()
	c.sweep = d.bool()
	for _, s := range schemas.Sides {
		for _, entity := range c.cfg.Rules.Entities() {
			if x := decodeEntityState(d); x != nil {
				c.entities[coverKey{entity, s}.at()] = x
			}
		}
	}
	return touched, d.err()
}

func decodeSpan(d *decoder) span {
	var w span
	if has := d.bool(); has {
		w.from = append([]byte{}, d.take(d.uint())...)
	} else {
		d.bytes()
	}
	if has := d.bool(); has {
		w.to = append([]byte{}, d.take(d.uint())...)
	} else {
		d.bytes()
	}
	w.gen, w.since = uint32(d.uint()), d.time()
	return w
}

func encodeQueued(q *waiting) []byte {
	e := &encoder{}
	e.byte(byte(q.side))
	e.text(q.entity.Name)
	e.text(q.id)
	e.byte(byte(q.op))
	e.b = encodeVersion(e.b, &q.v, &knowledge{}, nil)
	e.text(string(q.block))
	e.bool(q.late)
	e.byte(byte(q.kind))
	if r := q.cover; r != nil {
		e.bool(r.From != nil)
		e.texts(r.From)
		e.bool(r.To != nil)
		e.texts(r.To)
	}
	if q.kind == waitingGap || q.kind == waitingQuarantine {
		e.text(q.why)
	}
	e.bool(q.before.known)
	if q.before.known {
		v := q.before.version()
		e.b = encodeVersion(e.b, &v, &knowledge{}, nil)
	}
	e.uint(q.flagEpoch)
	if q.flagEpoch != 0 {
		e.time(q.earliest)
	}
	if q.cover != nil {
		e.text(q.cover.ReadFrom)
	}
	return e.b
}

func (c *Core) loadQueue() error {
	return c.state.Scan([]byte{queuePrefix}, []byte{queuePrefix + 1}, func(key, value []byte) error {
		d := &decoder{b: value}
		q := waiting{stored: true, seq: binary.BigEndian.Uint64(key[1:]), side: schemas.Side(d.byte())}
		q.entity, _ = c.cfg.Rules.Entity(d.text())
		q.id, q.op = d.text(), schemas.Op(d.byte())
		q.hash = c.keys.cache.hash(q.id)
		q.v = decodeVersion(d, &knowledge{}, nil)
		q.block, q.late = schemas.Reason(d.text()), d.bool()
		if q.kind = waitingKind(d.byte()); q.kind == waitingCovered {
			q.cover = &schemas.Covered{Side: q.side, Pos: q.v.pos.String()}
			if from := d.bool(); from {
				q.cover.From = d.texts()
			} else {
				d.texts()
			}
			if to := d.bool(); to {
				q.cover.To = d.texts()
			} else {
				d.texts()
			}
		}
		if q.kind == waitingGap || q.kind == waitingQuarantine {
			q.why = d.text()
		}
		if has := d.bool(); has {
			v := decodeVersion(d, &knowledge{}, nil)
			q.before = before{v.digest, v.tolerant, true}
		}
		if q.flagEpoch = d.uint(); q.flagEpoch != 0 {
			q.earliest = d.time()
		}
		if q.cover != nil {
			q.cover.ReadFrom = d.text()
		}
		if err := d.err(); err != nil || q.entity == nil || q.side != schemas.Legacy && q.side != schemas.Target {
			return fmt.Errorf("read queued change: %w", ErrDamaged)
		}
		c.queue[q.side] = append(c.queue[q.side], q)
		c.queueSeq = q.seq + 1
		return nil
	})
}

func (c *Core) loadTimers() error {
	return c.keys.lists.load(c.state, func(id string, list uint64) (waits bool, err error) {
		k, err := c.keys.byID(id)
		if err != nil || k == nil || k.list != list {
			return false, err
		}
		for _, s := range schemas.Sides {
			if at := k.timer[s]; at != 0 {
				c.due[s].add(at, k)
			}
		}
		return true, nil
	})
}
