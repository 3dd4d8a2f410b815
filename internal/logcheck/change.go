package logcheck

import (
	"crypto/sha256"
	"strings"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// change checks a change against everything before it.
func (c *Checker) change(partition int32, where string, ch *schemas.Change) {
	c.epoch(partition, where, ch.Source, ch.Epoch)
	if ch.Op != schemas.OpTruncate { // which stands in every partition
		c.affinity(partition, where, ch)
	}
	if ch.Op == schemas.OpRead {
		c.reads++
		return
	}
	c.digest(where, ch)
	e := c.events[ch.EventID]
	if e == nil {
		e = &event{id: ch.EventID, content: content(ch), partition: partition, write: Write{Txn: ch.Txn, Entity: ch.Entity, Op: ch.Op, Key: ch.Key}}
		c.events[ch.EventID] = e
	} else if e.content != content(ch) {
		c.violates("I3", where, "%s is another change than under the same id in partition %d", name(ch), e.partition)
	}
	if ch.TxnRows != 0 && e.rows != 0 && ch.TxnRows != e.rows {
		c.violates("I3", where, "%s is of a transaction of %d rows, it was of %d", name(ch), ch.TxnRows, e.rows)
	}
	e.rows = max(e.rows, ch.TxnRows)
	c.sequence(partition, where, ch)
}

// sequence checks the order of a partition (I4), and that nothing comes late
// (I17).
func (c *Checker) sequence(partition int32, where string, ch *schemas.Change) {
	l := c.line(partition, ch.Source, ch.Epoch)
	if at, again := l.index[ch.EventID]; again {
		c.repeated++
		if at > l.cursor+1 {
			c.violates("I4", where, "%s comes again, and what stands before it does not", name(ch))
		}
		l.cursor = at
		if zooZ10 {
			c.late(l, where, ch)
		}
		return
	}
	if last := len(l.order) - 1; last >= 0 {
		switch {
		case l.cursor != last:
			c.violates("I4", where, "%s comes in the middle of a repetition: %d changes before it did not come again", name(ch), last-l.cursor)
		case compareIDs(l.order[last], ch.EventID) >= 0:
			c.violates("I4", where, "%s comes after %s/%d", name(ch), l.order[last].Pos, l.order[last].Ordinal)
		}
	}
	c.late(l, where, ch)
	l.index[ch.EventID] = len(l.order)
	l.cursor = len(l.order)
	l.order = append(l.order, ch.EventID)
}

// late checks a change against what progress has said.
func (c *Checker) late(l *line, where string, ch *schemas.Change) {
	switch {
	case ch.Pos <= l.complete:
		c.violates("I17", where, "%s comes after progress to %s", name(ch), l.complete)
	case ch.CommitTS != 0 && ch.CommitTS < l.completeTS:
		c.violates("I17", where, "%s committed at %s at the latest, and progress had passed %s", name(ch), ch.CommitTS, l.completeTS)
	}
}

// affinity checks that a key keeps its partition (I5).
func (c *Checker) affinity(partition int32, where string, ch *schemas.Change) {
	k := keyOf{ch.Entity, strings.Join(ch.Key, "\x00")}
	if was, ok := c.keys[k]; ok && was != partition {
		c.violates("I5", where, "key %q of %s was in partition %d", c.shown(ch), ch.Entity, was)
	}
	c.keys[k] = partition
	if c.rules == nil {
		return
	}
	e, ok := c.rules.Entity(ch.Entity)
	if !ok {
		c.violates("I5", where, "entity %q is not in the rules", ch.Entity)
		return
	}
	if want := stream.Partition(e.PartitionKey(ch.Key), c.partitions); want != partition {
		c.violates("I5", where, "key %q of %s belongs in partition %d", c.shown(ch), ch.Entity, want)
	}
}

// shown is a change's key as it may be printed.
func (c *Checker) shown(ch *schemas.Change) []string {
	if c.rules == nil {
		return ch.Key
	}
	return c.rules.HideKeyOf(ch.Entity, ch.Key)
}

// digest recomputes what capture computed.
func (c *Checker) digest(where string, ch *schemas.Change) {
	if c.rules == nil || ch.After == nil || ch.Mapping != c.rules.Version {
		return
	}
	if e, ok := c.rules.Entity(ch.Entity); ok {
		if image := e.Image(ch.Side, ch.After); image.Exact() && image.Digest != ch.Digest {
			c.violates("I3", where, "the digest of %s is not that of its row", name(ch))
		}
	}
}

// content is what every emission of a change has in common. The bounds of the
// commit time depend on when it was read, and whether the number of rows was
// known on how.
func content(ch *schemas.Change) [32]byte {
	same := *ch
	same.CommitTS, same.CommitTSMin, same.TxnRows = 0, 0, 0
	return sha256.Sum256(schemas.AppendRecord(nil, &schemas.Record{Change: &same}))
}

func name(ch *schemas.Change) string {
	return Write{Entity: ch.Entity, Op: ch.Op, Key: ch.Key}.String() + " at " + ch.Pos
}
