// Package undo says what a rollback would lose, from the log alone.
//
// It promises to count each key once whose latest value is the target's alone: the target
// has authority for it, and legacy does not have the value that was written last. Memory
// is some hundred bytes for each key of one partition that was written since the target
// has authority, whatever the number of writes.
//
// It assumes that it is given every record of a partition since some time before then, in
// order, so that both sides' part of each write since then is there.
//
//	records of a partition, in order ─► Tally ─► Close ─► Cost ─► Report
package undo

import (
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// maxExamples is how many keys are named.
const maxExamples = 20

// Cost is what going back to legacy would cost.
type Cost struct {
	Keys     int64            `json:"keys"` // that were written on the target since it has authority for them
	Lost     int64            `json:"lost"` // of those, the ones whose latest value legacy does not have
	ByEntity map[string]int64 `json:"by_entity"`
	// Oldest is when the oldest value was written that would be lost; nil: none would.
	Oldest   *time.Time `json:"oldest,omitempty"`
	Examples []Key      `json:"examples"`
	// Frontier is up to when legacy was read, in the partition that is furthest behind; zero: a partition does not say.
	// What the target has since may be on its way.
	Frontier  time.Time `json:"legacy_frontier"`
	Truncated []string  `json:"truncated,omitempty"` // entities that were emptied at once meanwhile: of them nothing is certain
}

// Key is a key of an entity.
type Key struct {
	Entity string   `json:"entity"`
	Key    []string `json:"key"`
}

// Tally counts partition after partition. It is for one goroutine.
type Tally struct {
	flag  *rollout.Flag
	to    *rollout.Flag // where it would go back to; nil: to where legacy has authority for all keys
	rules *schemas.Rules
	since schemas.Micros // what was written before was legacy's
	cost  Cost
	first bool // no partition was closed yet

	keys     map[string]*latest // of the partition
	frontier schemas.Micros     // of legacy in the partition; 0: not said
	offset   [3]schemas.Micros  // the sides' clocks minus ours
}

// latest is what both sides last had of a key.
type latest struct {
	entity string
	key    []string
	digest [3]schemas.Digest // by schemas.Side
	known  [3]bool           // the side's digest is
	at     schemas.Micros    // when the target was, on our clock
}

// NewTally counts what a flag would lose where it stands of what was written since the
// target has authority.
func NewTally(flag *rollout.Flag, rules *schemas.Rules, since time.Time) *Tally {
	return &Tally{flag: flag, rules: rules, since: schemas.MicrosOf(since), first: true, cost: Cost{ByEntity: map[string]int64{}, Examples: []Key{}}, keys: map[string]*latest{}}
}

// Record takes the next record of a partition.
func (t *Tally) Record(r *schemas.Record) {
	switch {
	case r.Progress != nil:
		t.offset[r.Progress.Side] = r.Progress.ClockOffset
		if r.Progress.Side == schemas.Legacy {
			t.frontier = r.Progress.TS - r.Progress.ClockOffset
		}
	case r.Change == nil:
	case r.Change.Op == schemas.OpTruncate:
		if !slices.Contains(t.cost.Truncated, r.Change.Entity) {
			t.cost.Truncated = append(t.cost.Truncated, r.Change.Entity)
		}
	default:
		t.change(r.Change)
	}
}

func (t *Tally) change(x *schemas.Change) {
	e, ok := t.rules.Entity(x.Entity)
	if !ok || !t.returns(e.RolloutKey(x.Key)) {
		return
	}
	id := e.Name + "\x00" + string(e.MessageKey(x.Key))
	k := t.keys[id]
	if k == nil {
		k = &latest{entity: e.Name, key: slices.Clone(x.Key), at: t.since - 1}
		t.keys[id] = k
	}
	k.digest[x.Side], k.known[x.Side] = x.Digest, x.Mapping != "" || x.Op == schemas.OpDelete
	if x.Side == schemas.Target {
		k.at = x.CommitTS - t.offset[schemas.Target]
	}
}

// returns says whether going back gives legacy the authority for a key.
func (t *Tally) returns(key []string) bool {
	return rollout.Evaluate(t.flag, key).Authority() == schemas.Target &&
		(t.to == nil || rollout.Evaluate(t.to, key).Authority() == schemas.Legacy)
}

// Close ends a partition.
func (t *Tally) Close() {
	c := &t.cost
	for _, k := range t.keys {
		if k.at < t.since {
			continue
		}
		c.Keys++
		if k.known[schemas.Legacy] && k.known[schemas.Target] && k.digest[schemas.Legacy] == k.digest[schemas.Target] {
			continue
		}
		c.Lost++
		c.ByEntity[k.entity]++
		if at := k.at.Time().UTC(); c.Oldest == nil || at.Before(*c.Oldest) {
			c.Oldest = &at
		}
		c.example(Key{k.entity, k.key})
	}
	frontier := time.Time{}
	if t.frontier != 0 {
		frontier = t.frontier.Time().UTC()
	}
	if t.first || frontier.Before(c.Frontier) {
		c.Frontier = frontier
	}
	t.first, t.keys, t.frontier = false, map[string]*latest{}, 0
}

// example keeps the first keys in their order, whatever the order of the calls.
func (c *Cost) example(k Key) {
	at, _ := slices.BinarySearchFunc(c.Examples, k, func(a, b Key) int {
		return slices.Compare(append([]string{a.Entity}, a.Key...), append([]string{b.Entity}, b.Key...))
	})
	c.Examples = slices.Insert(c.Examples, at, k)
	c.Examples = c.Examples[:min(len(c.Examples), maxExamples)]
}

// Cost is what was counted.
func (t *Tally) Cost() Cost { return t.cost }
