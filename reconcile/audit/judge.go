package audit

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/reconcile/whatif"
	"github.com/trueup-io/trueup/schemas"
)

// What an audit keeps beside the core's state of a partition, by first byte.
// The core's own key spaces begin with small letters.
const (
	foundPrefix     = 'F' // opened at, id, sequence: offset of the verdict, then the event as JSON
	publishedPrefix = 'P' // id, sequence: the event as it was published
	damagePrefix    = 'D' // one record: the damage found so far, as JSON
	hidingPrefix    = 'H' // one record: what was hidden in the events found, Rules.Hiding
	supposedPrefix  = 'S' // one record: what supposed control records said per entity, as JSON
	seenPrefix      = 'N' // one record: how much the partition has of each epoch of each source, as JSON
	txnPrefix       = 'T' // source, epoch, position: what the partition has of a transaction that is not whole in it
	morePrefix      = 'M' // one record: how much more damage was found than is kept
	appliedPrefix   = 'A' // of partition 0: id of a compensation: what the topics say of it, as JSON
	echoPrefix      = 'C' // id of a compensation: the offset of the last change that carries it
	openedPrefix    = 'O' // id, sequence: when it was opened, which leads from a published event to the found one
)

// judge judges one partition anew.
type judge struct {
	number     int32
	partitions int
	cached     int // keys kept decoded between answers
	rules      *schemas.Rules
	read       *client
	topic      string
	state      *state.Partition
	core       *reconcile.Core
	out        reconcile.Effects
	decode     schemas.Decoder // reads every row
	cache      rowCache
	order      *order // of what this run reads
	alarms     int64
	damages    int // of what order has found, those that the state has
	seen       map[lineOf]epochSeen
	supposed   *whatif.Log // nil: the log is taken as it is
	ended      ended
	since      int  // records taken since state was last written
	failed     bool // in the middle of a record

	writeRecords, writeBytes int // after so many records, and so much to write, state is written
}

// What a partition's state is written after: a stop without warning loses no
// more. In between it is in memory.
const (
	writeRecords = 2_000_000
	writeTxns    = 10_000 // of several partitions
)

// ended is what is left of a core that has come to the range's end.
type ended struct {
	keys      schemas.Summary
	frontiers [3]schemas.Micros // by schemas.Side
	complete  [3]bool           // by schemas.Side: it has a frontier
	rules     string            // in force
}

// open opens the core on what the state has of the partition, or anew where
// that is of other rules, or no part of what is to be judged.
func (j *judge) open(first, to int64) error {
	cfg := reconcile.Config{Rules: j.rules, Recompute: true, MaxCached: j.cached}
	core, err := reconcile.NewCore(cfg, j.state)
	stale := errors.Is(err, reconcile.ErrForeignState) || err == nil && core.Next() != 0 && (core.Next() < first || core.Next() > to)
	hidden, _, herr := j.state.Get([]byte{hidingPrefix})
	if herr != nil {
		return fmt.Errorf("partition %d: %w", j.number, herr)
	}
	stale = stale || string(hidden) != j.rules.Hiding()
	if stale {
		if err := j.state.Drop(); err != nil {
			return err
		}
		core, err = reconcile.NewCore(cfg, j.state)
	}
	if err != nil {
		return fmt.Errorf("partition %d: %w", j.number, err)
	}
	j.core = core
	if hiding := j.rules.Hiding(); stale && hiding != "" {
		return j.state.Set([]byte{hidingPrefix}, []byte(hiding))
	}
	return nil
}

// end takes from the core what it says at the range's end, and frees what only
// judging needs.
func (j *judge) end(ctx context.Context) (err error) {
	if err := j.write(); err != nil {
		return err
	}
	if j.supposed == nil && j.order == nil { // there was nothing new
		if err := j.openOrder(ctx); err != nil {
			return err
		}
	}
	j.ended.rules = j.core.RulesInForce()
	for _, s := range schemas.Sides {
		j.ended.frontiers[s], j.ended.complete[s] = j.core.Frontier(s)
	}
	if j.ended.keys, err = j.core.Finish(); err != nil {
		return fmt.Errorf("partition %d: count: %w", j.number, err)
	}
	j.core, j.cache, j.out = nil, rowCache{}, reconcile.Effects{}
	if j.order != nil {
		j.order.Forget()
	}
	return nil
}

// take judges the records of one answer, and keeps what follows.
func (j *judge) take(ctx context.Context, batch []message) error {
	j.failed = true
	if err := j.judge(ctx, batch); err != nil {
		return err
	}
	j.failed = false
	j.since += len(batch)
	if j.since < j.writeRecords && j.state.Pending() < j.writeBytes && j.core.Loaded() < j.cached+j.cached/2 && (j.order == nil || len(j.order.txns) < writeTxns) {
		return nil
	}
	return j.write()
}

// stopped writes what was judged before an error, unless that came in the middle of it.
func (j *judge) stopped() error {
	if j.failed {
		return nil
	}
	return j.write()
}

// write writes the state of everything that was taken.
func (j *judge) write() error {
	if j.since == 0 {
		return nil
	}
	if err := j.keepChecks(); err != nil {
		return err
	}
	if err := j.core.Flush(); err != nil {
		return fmt.Errorf("partition %d: %w", j.number, err)
	}
	if err := j.state.Commit(); err != nil {
		return fmt.Errorf("partition %d: %w", j.number, err)
	}
	j.since = 0
	return nil
}

func (j *judge) judge(ctx context.Context, batch []message) error {
	for i := range batch {
		m := &batch[i]
		j.out.Reset()
		if err := j.step(ctx, m); err != nil {
			return fmt.Errorf("partition %d: %w", j.number, err)
		}
		j.alarms += int64(len(j.out.Alarms))
		for v := range j.out.Verdicts {
			d, err := reconcile.Complete(&j.out.Verdicts[v], j.rules, rows{ctx, j})
			if err != nil {
				return fmt.Errorf("partition %d: %w", j.number, err)
			}
			if err := j.keep(m.offset, &d); err != nil {
				return err
			}
		}
	}
	if err := j.core.Unload(); err != nil {
		return fmt.Errorf("partition %d: %w", j.number, err)
	}
	return nil
}

func (j *judge) step(ctx context.Context, m *message) error {
	rec, err := j.decode.Unmarshal(m.value)
	if err != nil {
		entity, key := messageKey(m.key)
		return j.core.Quarantine(m.offset, entity, key, err.Error(), &j.out)
	}
	if rec.Change != nil {
		j.cache.add(m.offset, m.value)
	}
	if j.supposed != nil {
		if rec, err = j.suppose(rec); err != nil {
			return err
		}
		return j.core.Step(m.offset, rec, &j.out)
	}
	if j.order == nil {
		if err := j.openOrder(ctx); err != nil {
			return err
		}
	}
	if err := j.order.Take(m.offset, m.hole, rec); err != nil {
		return err
	}
	if rec.Change != nil && rec.Change.Tag.CompensationID != "" {
		if err := j.echo(m.offset, rec.Change); err != nil {
			return err
		}
	}
	if err := j.core.Step(m.offset, rec, &j.out); err != nil {
		return err
	}
	for _, offset := range j.out.Mistaken {
		j.order.Damaged("I3", offset, "the digest of %s is not that of its row", j.order.Name(rec.Change))
	}
	return nil
}

// suppose returns a record as the rules in question would have it.
func (j *judge) suppose(rec *schemas.Record) (*schemas.Record, error) {
	if rec.Control == nil {
		return rec, nil
	}
	if j.supposed.InForce == nil {
		switch b, ok, err := j.state.Get([]byte{supposedPrefix}); {
		case err != nil:
			return nil, err
		case ok:
			if err := json.Unmarshal(b, &j.supposed.InForce); err != nil {
				return nil, fmt.Errorf("read what an earlier run supposed: %w", err)
			}
		}
	}
	rec = j.supposed.Record(rec)
	b, err := json.Marshal(j.supposed.InForce)
	if err != nil {
		return nil, err
	}
	return rec, j.state.Set([]byte{supposedPrefix}, b)
}

// openOrder makes the checker of the log, with what an earlier run found.
func (j *judge) openOrder(ctx context.Context) error {
	j.order = newOrder(j.number, j.partitions, j.rules, j.core.Next() != 0, rows{ctx, j}.Change)
	if err := j.loadSeen(); err != nil {
		return err
	}
	b, ok, err := j.state.Get([]byte{morePrefix})
	if err != nil {
		return err
	}
	var found []Damage
	var more int64
	if ok {
		more, _ = binary.Varint(b)
	}
	b, ok, err = j.state.Get([]byte{damagePrefix})
	if err != nil || !ok {
		return err
	}
	if err := json.Unmarshal(b, &found); err != nil {
		return fmt.Errorf("read what an earlier run found: %w", err)
	}
	j.order.Recall(found, more)
	j.damages = len(found)
	return nil
}

// keepChecks writes what the checks of the log have found, and what they need to go on.
func (j *judge) keepChecks() error {
	if j.order == nil {
		return nil
	}
	if err := j.keepTxns(); err != nil {
		return err
	}
	found, more := j.order.Found()
	if more > 0 {
		if err := j.state.Set([]byte{morePrefix}, binary.AppendVarint(nil, more)); err != nil {
			return err
		}
	}
	if len(found) == j.damages {
		return nil
	}
	j.damages = len(found)
	b, err := json.Marshal(found)
	if err != nil {
		return err
	}
	return j.state.Set([]byte{damagePrefix}, b)
}

// messageKey is the entity and key that the key of a message names; nothing where it names none.
func messageKey(b []byte) (entity string, key []string) {
	var parts []string
	if json.Unmarshal(b, &parts) != nil || len(parts) < 2 {
		return "", nil
	}
	return parts[0], parts[1:]
}

func (j *judge) keep(offset int64, d *schemas.Divergence) error {
	id := eventKey(d)
	value := schemas.AppendDivergenceJSON(binary.BigEndian.AppendUint64(nil, uint64(offset)), d)
	if err := j.state.Set(foundKey(d.OpenedAt, id), value); err != nil {
		return err
	}
	return j.state.Set(append([]byte{openedPrefix}, id...), foundKey(d.OpenedAt, id))
}

// eventKey orders the events of one divergence.
func eventKey(d *schemas.Divergence) []byte {
	return binary.BigEndian.AppendUint32([]byte(d.ID), d.Sequence)
}

// foundKey orders events as divergences are listed: by when they were opened, then by id.
func foundKey(opened schemas.Micros, id []byte) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{foundPrefix}, uint64(opened)^1<<63), id...)
}

// cacheBytes bounds half of what is kept of a partition's newest changes.
const cacheBytes = 2 << 20

// rowCache holds the newest changes, on which most verdicts rest, in the order
// of their offsets.
type rowCache struct {
	young, old []cached
	bytes      int // of young
}

type cached struct {
	offset int64
	value  []byte
}

func (c *rowCache) add(offset int64, value []byte) {
	if c.bytes > cacheBytes {
		clear(c.old)
		c.young, c.old, c.bytes = c.old[:0], c.young, 0
	}
	c.young = append(c.young, cached{offset, value})
	c.bytes += len(value)
}

func (c *rowCache) get(offset int64) ([]byte, bool) {
	for _, part := range [][]cached{c.young, c.old} {
		if i, ok := slices.BinarySearchFunc(part, offset, func(m cached, at int64) int { return cmp.Compare(m.offset, at) }); ok {
			return part[i].value, true
		}
	}
	return nil, false
}

// rows reads evidence back from the log.
type rows struct {
	ctx context.Context
	j   *judge
}

// Partition implements reconcile.PlacedRows.
func (r rows) Partition() int32 { return r.j.number }

// Change implements reconcile.Rows.
func (r rows) Change(offset int64) (*schemas.Change, error) {
	value, ok := r.j.cache.get(offset)
	if !ok {
		err := r.j.read.read(r.ctx, r.j.topic, r.j.number, offset, offset+1, func(batch []message, _ int64) error {
			for i := range batch {
				value = batch[i].value
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if value == nil {
		return nil, nil
	}
	rec, err := schemas.UnmarshalRecord(value)
	if err != nil {
		return nil, nil // as if it were gone
	}
	return rec.Change, nil
}
