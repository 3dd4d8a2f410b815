package reconcile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// DefaultMaxVersions bounds the versions in flight of one key: at 80 bytes
// each a key never holds more than 80 kB.
const DefaultMaxVersions = 1024

// Config says under what a partition is compared.
type Config struct {
	Rules *schemas.Rules
	// Recompute ignores digests that captures computed, and computes each from its row: an audit trusts no one.
	Recompute bool
	// MaxVersions bounds the versions in flight of one key; over it the key is unknown(overflow). 0: DefaultMaxVersions.
	MaxVersions int
	// MaxCached bounds the keys kept decoded between flushes, at some 700 bytes each. 0: DefaultMaxCached.
	MaxCached int
}

// Validate reports what is wrong with the configuration.
func (c *Config) Validate() error {
	if c.Rules == nil {
		return errors.New("reconcile: no rules")
	}
	if c.MaxCached < 0 {
		return fmt.Errorf("reconcile: MaxCached %d: want 0 or more", c.MaxCached)
	}
	if c.MaxVersions < 0 {
		return fmt.Errorf("reconcile: MaxVersions %d: want 0 or more", c.MaxVersions)
	}
	return nil
}

// Core compares the histories of one partition. It is not safe for concurrent
// use.
type Core struct {
	cfg   Config
	state State
	keys  *keyring
	txns  *txns

	sides    [3]sideState // by schemas.Side
	covered  coverage
	named    *schemas.Entity // as the last record named it
	entities []*entityState  // by coverKey.at: those of which there is something to say
	force    inForce
	queue    [3][]waiting // by schemas.Side: read, and not yet completed by a progress of it
	queueSeq uint64
	due      [3]timers // by schemas.Side
	touched  []*keyState
	sweep    bool // other rules are in force since the last progress: every open key is judged at the next one
	counters Counters
	next     int64 // the offset after the last record taken
}

// NewCore opens the core on what state holds.
func NewCore(cfg Config, state State) (*Core, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.MaxVersions == 0 {
		cfg.MaxVersions = DefaultMaxVersions
	}
	if cfg.MaxCached == 0 {
		cfg.MaxCached = DefaultMaxCached
	}
	c := &Core{cfg: cfg, state: state, txns: newTxns(state), covered: make(coverage, places(cfg.Rules)), entities: make([]*entityState, places(cfg.Rules))}
	c.force.places.inForce = -1
	c.keys = &keyring{state: state, max: cfg.MaxCached, rules: cfg.Rules, cache: newKeyTable(), lists: newWaitLists(), authorityOf: c.force.authorityOf, swap: c.swapRoles}
	for i := range c.sides {
		c.sides[i].frontier = beforeAll
		c.sides[i].latest = beforeAll
		c.sides[i].behind = beforeAll
	}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	return c, nil
}

// SetMaxCached changes Config.MaxCached from the next flush on.
func (c *Core) SetMaxCached(n int) { c.keys.max = n }

// Next is the offset after the last record that the state has taken.
func (c *Core) Next() int64 { return c.next }

// Counters returns the partition's accounts.
func (c *Core) Counters() Counters {
	n := c.counters
	n.Waiting = int64(len(c.queue[schemas.Legacy]) + len(c.queue[schemas.Target]))
	return n
}

// RulesInForce returns the version of the rules that the log last named.
func (c *Core) RulesInForce() string { return c.version() }

func (c *Core) version() string {
	if c.force.version != "" {
		return c.force.version
	}
	return c.cfg.Rules.Version
}

// Frontier returns the time up to which a side of the partition is complete,
// on our clock; false before its first progress.
func (c *Core) Frontier(s schemas.Side) (schemas.Micros, bool) {
	f := c.sides[s].frontier
	return f, f != beforeAll
}

// Step takes the record at an offset and appends what follows from it to out.
// An error is a failure of State, never of the record: strange records are
// counted and said. After an error the core must not be used.
func (c *Core) Step(offset int64, r *schemas.Record, out *Effects) error {
	c.counters.Consumed++
	c.next = offset + 1
	var err error
	switch {
	case r.Change != nil:
		err = c.takeChange(offset, r.Change, out)
	case r.Progress != nil:
		err = c.takeProgress(r.Progress, out)
	case r.Covered != nil:
		err = c.takeCovered(offset, r.Covered, out)
	case r.Control != nil:
		err = c.takeControl(r.Control)
	case r.Quarantine != nil:
		err = c.takeQuarantine(offset, r.Quarantine, out)
	case r.Gap != nil && r.Gap.Entity != "":
		err = c.takeEntityGap(offset, r.Gap, out)
	case r.Gap != nil:
		c.counters.Applied++
		err = c.gap(r.Gap.Side, r.Gap.Source, r.Gap.Epoch, offset, r.Gap.Reason, out)
	default:
		c.counters.Applied++
	}
	if err == nil {
		err = c.txns.err
	}
	if err != nil {
		return fmt.Errorf("reconcile at offset %d: %w", offset, err)
	}
	return nil
}

// Quarantine takes the place of Step for a record that cannot be read. Where
// its key is known (from the message's key), the key is unknown from here on.
func (c *Core) Quarantine(offset int64, entity string, key []string, detail string, out *Effects) error {
	c.counters.Consumed++
	c.counters.Quarantined++
	c.next = offset + 1
	out.Alarms = append(out.Alarms, Alarm{Reason: schemas.Quarantined, Entity: entity, Key: key, Offset: offset, Detail: detail})
	e, ok := c.cfg.Rules.Entity(entity)
	if !ok || key == nil {
		c.keys.totals[classQuarantined]++ // nobody can say which key it was
		return nil
	}
	k, err := c.keys.get(e, key)
	if err != nil {
		return fmt.Errorf("quarantine at offset %d: %w", offset, err)
	}
	if c.dropped(k) {
		c.undrop(k)
	}
	for _, s := range schemas.Sides {
		c.renew(k, s)
		// Where it stood nobody can say: a covered range may be one of which it was a row.
		k.on(s).gen, k.on(s).known = c.gen(e, s), false
		c.block(k, s, schemas.Quarantined)
	}
	c.touch(k)
	return nil
}

// touch has a key judged at the next progress.
func (c *Core) touch(k *keyState) {
	if !k.touched {
		k.touched = true
		c.touched = append(c.touched, k)
	}
	c.keys.change(k)
}

// viewAt is what judging needs to know, but for what is of a key.
func (c *Core) viewAt(now schemas.Micros) view {
	w := view{rules: c.version(), fence: never, now: now, txns: c.txns}
	for _, s := range schemas.Sides {
		w.frontier[s], w.behind[s] = c.sides[s].frontier, c.sides[s].behind
	}
	if p := c.force.places.current(); p != nil {
		w.epoch = p.Epoch
	}
	return w
}

// at turns a view to a key.
func (c *Core) at(w *view, k *keyState) {
	w.authority = k.lead
	if e := k.entity; e != w.entity {
		w.entity, w.window = e, c.force.windowOf(e)
		for _, s := range schemas.Sides {
			w.gen[s] = c.gen(e, s)
		}
	}
	if len(c.force.places.all) > 0 {
		w.fence = c.fenceOf(k)
	}
}

// judge judges one key now.
func (c *Core) judge(k *keyState, w *view, out *Effects) {
	c.at(w, k)
	before := k.class
	k.judge(w, out)
	if k.settledForm() {
		k.settle(w.authority)
	}
	c.keys.change(k)
	if k.class != before {
		c.keys.count(before, -1)
		c.keys.count(k.class, +1)
	}
	if k.entity.DropSettled && c.dropSettled(k) {
		c.keys.settle(k)
		return
	}
	c.keys.settle(k)
	for _, s := range schemas.Sides {
		if at := k.timer[s]; at != 0 && at != k.queued[s] {
			k.queued[s] = at
			c.due[s].add(at, k)
		}
	}
}

// takeProgress completes transactions, moves the side's frontier, and judges
// what was touched or has come due.
func (c *Core) takeProgress(p *schemas.Progress, out *Effects) error {
	if stale, err := c.enter(p.Side, p.Source, p.Epoch, c.next-1, out); stale || err != nil {
		return err
	}
	c.counters.Applied++
	s := &c.sides[p.Side]
	s.measured(p)
	earliest, latest := s.ours(p.TS)
	s.latest = max(s.latest, latest)
	pos := positionOf(p.Pos)
	if err := c.complete(p.Side, pos, out); err != nil {
		return err
	}
	if s.pos.before(pos) {
		s.pos = pos
	}
	s.frontier = max(s.frontier, earliest)
	c.noteLag()
	if err := c.judgeAll(p.Side, out); err != nil {
		return err
	}
	if len(c.force.places.pending()) == 0 {
		return nil
	}
	moved, err := c.handOver()
	if err != nil || !moved {
		return err
	}
	c.sweep = true
	return c.judgeAll(p.Side, out)
}

func (c *Core) judgeAll(side schemas.Side, out *Effects) error {
	now := c.sides[side].frontier
	w := c.viewAt(now)
	touched := c.touched
	c.touched = c.touched[:0]
	for _, k := range touched {
		k.touched = false
		c.judge(k, &w, out)
	}
	if c.sweep {
		if err := c.judgeOpen(now, out); err != nil {
			return err
		}
	}
	for n := 0; ; n++ {
		if n%ahead == 0 {
			c.due[side].aheadOf(now)
		}
		t, ok := c.due[side].due(now)
		if !ok {
			return nil
		}
		k, err := c.keys.waitsAt(&t)
		if err != nil {
			return err
		}
		if k == nil || k.timer[side] != t.at {
			continue
		}
		k.queued[side] = 0
		c.judge(k, &w, out)
	}
}

// judgeOpen judges every open key.
func (c *Core) judgeOpen(now schemas.Micros, out *Effects) error {
	c.sweep = false
	w := c.viewAt(now)
	return c.keys.eachOpen(func(k *keyState) error {
		c.judge(k, &w, out)
		return nil
	})
}

// enter checks a record's place: stale says that its epoch has gone by. A
// newer epoch or another source is a gap, said or not.
func (c *Core) enter(side schemas.Side, source string, epoch uint32, offset int64, out *Effects) (stale bool, err error) {
	s := &c.sides[side]
	switch {
	case !s.started:
		s.started, s.source, s.epoch = true, strings.Clone(source), epoch
	case epoch < s.epoch:
		c.counters.Duplicate++
		return true, nil
	case source != s.source:
		return false, c.gap(side, source, epoch, offset, fmt.Sprintf("source %q follows %q", source, s.source), out)
	case epoch > s.epoch:
		return false, c.gap(side, source, epoch, offset, fmt.Sprintf("epoch %d follows %d", epoch, s.epoch), out)
	}
	return false, nil
}

// gap voids what is known of a side.
func (c *Core) gap(side schemas.Side, source string, epoch uint32, offset int64, reason string, out *Effects) error {
	s := &c.sides[side]
	if s.started && epoch <= s.epoch && source == s.source {
		return nil // said again
	}
	for i := range c.queue[side] {
		if err := c.drop(&c.queue[side][i], out); err != nil {
			return err
		}
	}
	clear(c.queue[side])
	c.queue[side] = c.queue[side][:0]
	void := s.started
	*s = sideState{started: true, source: strings.Clone(source), epoch: epoch, gen: s.gen + 1, frontier: beforeAll, latest: s.latest, behind: s.behind}
	if source == "" {
		s.started = false // the next record names it
	}
	c.covered.dropSide(side)
	for _, e := range c.cfg.Rules.Entities() {
		c.loseDropped(e)
	}
	for _, e := range c.cfg.Rules.Entities() {
		if x := c.entities[coverKey{e, side}.at()]; x != nil {
			x.gapPos, x.unkeyedPos, x.unkeyedOrd = position{}, position{}, 0 // positions of an epoch gone by
			x.unlogged = 0
		}
	}
	out.Alarms = append(out.Alarms, Alarm{Reason: schemas.GapReason, Side: side, Offset: offset, Detail: reason})
	if !void {
		return nil
	}
	return c.keys.each(func(k *keyState) error {
		c.touch(k)
		return nil
	})
}

// drop gives up a change whose transaction was cut off by a gap.
func (c *Core) drop(q *waiting, out *Effects) error {
	c.counters.Quarantined++
	out.Alarms = append(out.Alarms, Alarm{Reason: schemas.GapReason, Side: q.side, Entity: q.entityName(), Key: q.key(),
		Offset: q.v.off, Detail: "its transaction was cut off by a gap"})
	return c.unqueue(q)
}

// takeControl puts rules in force from here on. What is open is judged under
// them at the next progress.
func (c *Core) takeControl(r *schemas.Control) error {
	c.counters.Applied++
	if r.Rules != "" {
		c.force.version = r.Rules
	}
	roles := r.Authority != 0 && r.Authority != c.force.authority || r.Entities != nil
	if roles {
		// What is kept decoded stands in the roles of before. Read back, it takes those of from now on.
		if err := c.forgetDecoded(); err != nil {
			return err
		}
	}
	if r.Authority != 0 && r.Authority != c.force.authority {
		c.force.authority, c.sweep = r.Authority, true
	}
	if r.SettleWindow != 0 && r.SettleWindow != c.force.window {
		c.force.window, c.sweep = r.SettleWindow, true
	}
	if r.Entities != nil {
		c.force.entities, c.sweep = r.Entities, true
	}
	if r.Rollout != nil {
		c.takeRollout(r.Rollout)
	}
	if c.sweep {
		if err := c.reread(); err != nil {
			return err
		}
	}
	if r.Baseline != schemas.BaselineEmpty {
		return nil
	}
	for _, e := range c.cfg.Rules.Entities() {
		for _, s := range schemas.Sides {
			c.cover(e, s, span{gen: c.gen(e, s), since: always})
		}
	}
	return c.keys.each(func(k *keyState) error {
		c.know(k)
		c.touch(k)
		return nil
	})
}

// reread has every open key take the role that it has now. Those that have settled take
// theirs when they are read next: nothing of them depends on when that is.
func (c *Core) reread() error {
	return c.keys.eachOpen(func(k *keyState) error {
		c.know(k)
		c.keys.change(k)
		return nil
	})
}

// forgetDecoded writes every key as it stands and keeps none of them in memory.
// What was to be judged is touched again by whoever asks for this.
func (c *Core) forgetDecoded() error {
	for _, k := range c.touched {
		k.touched = false
	}
	if err := c.keys.flush(); err != nil {
		return err
	}
	c.keys.forget(func(*keyState) bool { return true })
	c.touched = c.touched[:0]
	return nil
}

// swapRoles re-reads a key's state under the other authority.
func (c *Core) swapRoles(k *keyState) {
	if !k.settledForm() {
		// The new authority's history is known from its latest version on: what it had before is not kept.
		k.on(k.lead).since = max(k.on(k.lead).since, c.sides[schemas.Legacy].latest, c.sides[schemas.Target].latest)
	}
	k.release(c.txns)
	var l, f *version
	if len(k.authority) > 0 {
		v := *k.last()
		f = &v
	}
	if n := len(k.parked); n > 0 {
		l = &k.parked[n-1]
	} else if k.hasFollow {
		l = &k.follower
	}
	k.authority, k.hasFollow = nil, false
	k.min, k.max = -1, -1
	if l != nil {
		v := *l
		equal := f != nil && same(k.entity, &v, f)
		if !equal { // what is under way has a window from now on
			v.at = max(v.at, c.sides[schemas.Legacy].latest, c.sides[schemas.Target].latest)
		}
		k.authority = []version{v}
		if equal {
			k.min, k.max = 0, 0
		}
	}
	if f != nil {
		k.setFollower(f)
	}
	if o := k.open; o != nil { // what it spoke of last it spoke of in other roles: it is said again
		o.authorityPos, o.followerPos = position{}, position{}
	}
	k.parked = nil
	c.keys.change(k)
}
