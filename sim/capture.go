package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// capture is a model of a capture. It keeps to what design.md promises of one:
// all rows of a transaction before the progress that completes it; commit times
// that err late and frontiers that err early, on our clock too; repetitions that
// are runs to the tail under the same ids; gaps that are said.
type capture struct {
	*world
	s *store

	// Durable: what a restart finds. Written only when what it speaks of is in the log.
	saved position

	// Lost by a crash.
	next     int // index of the transaction to deliver next
	high     int // transactions before it may stand in the log
	samples  []sample
	frontier sample // that the stream has reached; clock 0: none

	// The clock was off by at least this much when any bound was read that no progress has completed yet. A capture that
	// forgets it in a crash would be wrong only if the clock was set in between.
	low     schemas.Micros
	lowSet  bool
	saidTS  schemas.Micros // by the source's clock; what comes later is never said to be earlier
	paused  schemas.Micros // until then nothing is delivered: a lag
	readOrd uint32         // of rows of baselines: rises through everything
	// plan is what goes wrong at transactions, the same whenever they are delivered.
	plan map[int]*mishap
}

// position is what a capture remembers.
type position struct {
	next  int
	epoch uint32
	gap   *schemas.Gap // to be said before anything else
	todo  []chunk      // of baselines
}

// chunk is a range of an entity's keys to be read, once the stream has got so far.
type chunk struct {
	entity   string
	from, to []string
	after    int
	// Of a table of which the rows are in another order than the keys, nothing is covered before all is: behind a chunk that
	// is quiet there is one that is the last, and knows as of when the first was read.
	quiet, last bool
	began       string

	here      bool           // it is read as of just where it comes after: the stream waits for it
	notBefore schemas.Micros // it is read, unless faults have healed
}

// sample is the source's clock and the end of its log, read together.
type sample struct {
	clock, off schemas.Micros
	end        int
}

// mishap is what goes wrong at a transaction.
type mishap struct {
	skip       map[string]bool // entities whose rows are lost
	quarantine map[int]bool    // rows by ordinal that cannot be read; true: nor their key
	gaps       []string        // of entities, said behind it
}

const baselineOrdinals = 1 << 20

func newCapture(w *world, s *store) *capture {
	return &capture{world: w, s: s, saved: position{epoch: 1}, plan: map[int]*mishap{}, readOrd: baselineOrdinals}
}

func (c *capture) source() string { return c.s.side.String() + "-db" }

func (c *capture) mishap(index int) *mishap {
	m := c.plan[index]
	if m == nil {
		m = &mishap{skip: map[string]bool{}, quarantine: map[int]bool{}}
		c.plan[index] = m
	}
	return m
}

// sample reads the source's clock.
func (c *capture) sample() {
	at := c.now()
	c.samples = append(c.samples, sample{c.s.clock.shows(at), c.s.clock.off(at), len(c.s.wal)})
}

// latest is a time at which a transaction can have committed at the latest, with
// the clock's offset when that was read.
func (c *capture) latest(index int) schemas.Micros {
	at := c.now()
	bound, off := c.s.clock.shows(at), c.s.clock.off(at)
	for _, s := range c.samples {
		if s.end > index {
			bound, off = s.clock, s.off
			break
		}
	}
	if !c.lowSet || off < c.low {
		c.low, c.lowSet = off, true
	}
	return max(bound, c.saidTS)
}

// records are what a capture is about to write, by partition.
type records [][]*schemas.Record

func (r records) everywhere(rec *schemas.Record) {
	for p := range r {
		r[p] = append(r[p], rec)
	}
}

// deliver writes what there is: a few transactions, a chunk of a baseline, or
// only progress. It dies in the middle now and then.
func (c *capture) deliver() {
	if c.now() < c.paused {
		return
	}
	out := make(records, len(c.log.partitions))
	after := c.saved
	if after.gap != nil {
		out.everywhere(&schemas.Record{Gap: after.gap})
		after.gap = nil
	}
	for range c.r.IntN(8) {
		if c.next == len(c.s.wal) || len(after.todo) > 0 && after.todo[0].here && c.next == after.todo[0].after {
			break
		}
		c.transaction(out, c.next, after.epoch)
		c.next++
		c.high = max(c.high, c.next)
		if c.r.IntN(3) == 0 {
			c.progress(out, after.epoch)
		}
	}
	for len(after.todo) > 0 && c.next >= after.todo[0].after && (c.healed || c.now() >= after.todo[0].notBefore && c.r.IntN(4) == 0) {
		read := after.todo[0]
		c.baseline(out, read, after.epoch)
		after.todo = slices.Clone(after.todo[1:])
		if read.quiet {
			after.todo[0].began = pos(c.next - 1)
		}
	}
	c.progress(out, after.epoch)
	after.next = c.next
	c.write(out, after)
}

// write appends, or dies on the way: then each partition has some of it.
func (c *capture) write(out records, after position) {
	dies := !c.healed && c.chance(c.dials.captureCrash)
	for p, recs := range out {
		if dies {
			recs = recs[:c.r.IntN(len(recs)+1)]
		}
		for _, rec := range recs {
			c.log.append(p, rec)
			c.events++
		}
	}
	if dies {
		c.note(rowKey{}, "capture of %s dies at %s and goes on at %s", c.s.side, pos(c.next-1), pos(c.saved.next-1))
		c.restart()
		return
	}
	c.lowSet = false
	// What is saved may be older than what is in the log, but for what only happens once.
	if after.epoch != c.saved.epoch || len(after.todo) != len(c.saved.todo) || (after.gap == nil) != (c.saved.gap == nil) || c.r.IntN(2) == 0 {
		c.saved = after
	}
}

func (c *capture) restart() {
	c.next, c.samples, c.frontier = c.saved.next, nil, sample{}
}

func (c *capture) transaction(out records, index int, epoch uint32) {
	t := &c.s.wal[index]
	m := c.plan[index]
	latest := c.latest(index)
	for ord := range t.writes {
		w := &t.writes[ord]
		id := schemas.EventID{Source: c.source(), Epoch: epoch, Pos: pos(index), Ordinal: uint32(ord)}
		if m != nil && m.skip[w.key.entity] {
			continue
		}
		p := c.log.partitionOf(w.key.entity, w.key.parts())
		if unkeyed, bad := c.badRow(m, ord); bad {
			q := &schemas.Quarantine{EventID: id, Side: c.s.side, Entity: w.key.entity, Key: w.key.parts(), Txn: strconv.Itoa(index),
				CommitTS: latest, Reason: "cannot be decoded"}
			if unkeyed {
				q.Key = nil
				p = index % len(out)
			}
			out[p] = append(out[p], &schemas.Record{Quarantine: q})
			continue
		}
		ch := c.change(id, w, latest)
		if m == nil {
			ch.TxnRows = uint32(len(t.writes))
		}
		out[p] = append(out[p], &schemas.Record{Change: ch})
	}
	if m == nil {
		return
	}
	for _, entity := range m.gaps {
		out.everywhere(&schemas.Record{Gap: &schemas.Gap{Side: c.s.side, Entity: entity, Source: c.source(), Epoch: epoch, Pos: pos(index), Reason: "table changed"}})
	}
}

func (c *capture) badRow(m *mishap, ord int) (unkeyed, bad bool) {
	if m != nil {
		unkeyed, bad = m.quarantine[ord]
	}
	return unkeyed, bad
}

func (c *capture) change(id schemas.EventID, w *write, latest schemas.Micros) *schemas.Change {
	e, ok := c.log.rules.Entity(w.key.entity)
	if !ok {
		panic("sim: no entity " + w.key.entity)
	}
	ch := &schemas.Change{EventID: id, Side: c.s.side, Entity: w.key.entity, Key: w.key.parts(), Op: w.op, Txn: id.Pos, CommitTS: latest,
		Before: w.before.row(c.s.side, w.key), After: w.after.row(c.s.side, w.key), Tag: w.tag}
	if c.dials.handOver > 0 { // as captures do: what was sampled before it, or nothing that says anything
		ch.CommitTSMin = max(c.frontier.clock, 1)
	}
	if c.dials.digests {
		image := e.Image(c.s.side, ch.After)
		ch.Digest, ch.Mapping = image.Digest, c.log.rules.Version
		ch.BeforeDigest = e.DigestBefore(ch)
	}
	return ch
}

// progress says how far the stream is. On our clock its time errs early, and
// those of the changes that it completes late, also when the source's clock was
// set meanwhile: then the bound on the clock's error says so.
func (c *capture) progress(out records, epoch uint32) {
	n := 0
	for n < len(c.samples) && c.samples[n].end <= c.next {
		c.frontier = c.samples[n]
		n++
	}
	c.samples = slices.Delete(c.samples, 0, n)
	c.saidTS = max(c.saidTS, c.frontier.clock)
	measured := c.dials.clockError
	off := c.s.clock.off(c.now()) + schemas.Micros(c.r.Int64N(int64(2*measured+1))) - measured
	bound := measured
	if c.frontier.clock != 0 {
		bound = max(bound, c.frontier.off-off)
	}
	if c.lowSet {
		bound = max(bound, off-c.low)
	}
	out.everywhere(&schemas.Record{Progress: &schemas.Progress{Side: c.s.side, Source: c.source(), Epoch: epoch, Pos: pos(c.next - 1),
		TS: c.frontier.clock, ClockOffset: off, ClockError: bound + 1}})
}

// baseline reads the rows of a range as of where the stream is.
func (c *capture) baseline(out records, ch chunk, epoch uint32) {
	at := pos(c.next - 1)
	keys := c.s.keys(ch.entity)
	c.note(rowKey{}, "capture of %s reads %s from %v to %v at %s", c.s.side, ch.entity, ch.from, ch.to, at)
	for _, k := range keys {
		v := c.s.asOf(k, c.next)
		if v == gone || !ch.has(k) {
			continue
		}
		c.readOrd++
		id := schemas.EventID{Source: c.source(), Epoch: epoch, Pos: at, Ordinal: c.readOrd}
		rec := c.change(id, &write{key: k, op: schemas.OpRead, after: v}, c.latest(len(c.s.wal)))
		rec.Before = nil
		p := c.log.partitionOf(k.entity, k.parts())
		out[p] = append(out[p], &schemas.Record{Change: rec})
		c.oracle.reads[id] = c.s.index(k, c.next)
	}
	said := &schemas.Covered{Side: c.s.side, Entity: ch.entity, From: ch.from, To: ch.to, Source: c.source(), Epoch: epoch, Pos: at}
	if ch.last {
		said.From, said.To, said.ReadFrom = nil, nil, ch.began
	}
	if !ch.quiet {
		out.everywhere(&schemas.Record{Covered: said})
	}
}

// chunks are the ranges in which an entity is read.
func chunks(entity string, after int, middle int) []chunk {
	if middle <= 0 {
		return []chunk{{entity: entity, after: after}}
	}
	at := []string{strconv.Itoa(middle)}
	if entity == lineEntity {
		at = append(at, "1")
	}
	unordered := middle%2 == 0
	return []chunk{{entity: entity, to: at, after: after, quiet: unordered}, {entity: entity, from: at, after: after, last: unordered}}
}

func (ch *chunk) has(k rowKey) bool {
	return (ch.from == nil || compareKeys(k.parts(), ch.from) >= 0) && (ch.to == nil || compareKeys(k.parts(), ch.to) <= 0)
}

// compareKeys orders keys of whole numbers.
func compareKeys(a, b []string) int {
	for i := range a {
		if d := len(a[i]) - len(b[i]); d != 0 {
			return d
		}
		if d := strings.Compare(a[i], b[i]); d != 0 {
			return d
		}
	}
	return 0
}

// loseSide makes a gap: everything that was not delivered yet is never seen.
func (c *capture) loseSide() {
	c.saved.epoch++
	c.saved.next = len(c.s.wal)
	c.saved.gap = &schemas.Gap{Side: c.s.side, Source: c.source(), Epoch: c.saved.epoch, Pos: pos(c.saved.next - 1), Reason: "slot lost"}
	c.saved.todo, c.high = nil, c.saved.next
	for _, e := range []string{orderEntity, lineEntity} {
		c.saved.todo = append(c.saved.todo, chunks(e, 0, c.r.IntN(c.dials.keys+1))...)
	}
	c.note(rowKey{}, "capture of %s loses its place: epoch %d begins after %s", c.s.side, c.saved.epoch, pos(c.saved.next-1))
	c.restart()
}

// loseEntity makes a gap of one entity: its rows of the next transactions are
// never seen.
func (c *capture) loseEntity(entity string) {
	end := min(len(c.s.wal), c.high+c.r.IntN(4))
	if end == c.high {
		return // it needs a transaction to stand behind
	}
	for i := c.high; i < end; i++ { // no progress may complete what is not there before it is said that it is not
		m := c.mishap(i)
		m.skip[entity] = true
		m.gaps = append(m.gaps, entity)
	}
	c.note(rowKey{}, "capture of %s loses %s up to %s", c.s.side, entity, pos(end-1))
	c.saved.todo = slices.DeleteFunc(slices.Clone(c.saved.todo), func(ch chunk) bool { // what was read is void, and not half of it
		return ch.entity == entity && (ch.quiet || ch.last)
	})
	c.saved.todo = append(c.saved.todo, chunks(entity, end, c.r.IntN(c.dials.keys+1))...)
}

// spoil makes a row of the next transaction unreadable. Not a delete of nobody
// knows which key: the row is there for the comparator until the key is written.
func (c *capture) spoil() {
	if c.high == len(c.s.wal) || c.plan[c.high] != nil {
		return
	}
	ord := c.r.IntN(len(c.s.wal[c.high].writes))
	unkeyed := c.r.IntN(4) == 0
	if unkeyed && c.s.wal[c.high].writes[ord].after == gone {
		return
	}
	c.mishap(c.high).quarantine[ord] = unkeyed
	c.oracle.unkeyed = c.oracle.unkeyed || unkeyed
	key := c.s.wal[c.high].writes[ord].key
	c.note(key, "%s ordinal %d of %s cannot be read", pos(c.high), ord, c.s.side)
	c.reread()
	if !unkeyed && c.r.IntN(2) == 0 {
		c.readAround(key)
	}
}

// readAround has an entity be read that is in another order than its keys, with the
// next transaction between the chunk that a key of it lies in and the last one: that
// the range is covered then says nothing of the key. What is read anew comes late
// enough for a verdict on it.
func (c *capture) readAround(k rowKey) {
	n, err := strconv.Atoi(k.parts()[0])
	if err != nil {
		panic("sim: a key that is no number: " + k.String())
	}
	around := chunks(k.entity, c.high, n+2-n%2)
	around[0].here, around[1].after = true, c.high+1
	for i := range c.saved.todo {
		c.saved.todo[i].notBefore = c.now().Add(2*c.dials.window) + 10*second
	}
	c.saved.todo = append(around, c.saved.todo...)
}

// reread has everything read again.
func (c *capture) reread() {
	for _, e := range []string{orderEntity, lineEntity} {
		c.saved.todo = append(slices.Clip(c.saved.todo), chunks(e, c.high+1, 0)...)
	}
}

// keys are those of an entity that the store ever had, in order.
func (s *store) keys(entity string) []rowKey {
	var keys []rowKey
	for k := range s.history {
		if k.entity == entity {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b rowKey) int { return compareKeys(a.parts(), b.parts()) })
	return keys
}

// index is that of the version in the history of a row once n transactions were
// committed.
func (s *store) index(k rowKey, n int) int {
	at := 0
	for i, h := range s.past(k) {
		if h.wal < n {
			at = i
		}
	}
	return at
}

func (c *capture) String() string {
	return fmt.Sprintf("%s at %d of %d, epoch %d", c.s.side, c.next, len(c.s.wal), c.saved.epoch)
}
