package logcheck

import (
	"crypto/sha256"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// change checks a change against everything before it.
func (c *Checker) change(partition int32, where string, ch *schemas.Change) {
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
		e = &written{id: ch.EventID, content: content(ch), partition: partition, write: Write{Txn: ch.Txn, Entity: ch.Entity, Op: ch.Op, Key: ch.Key}}
		c.events[ch.EventID] = e
	} else if e.content != content(ch) {
		c.violates("I3", where, "%s is another change than under the same id in partition %d", name(ch), e.partition)
	}
	if ch.TxnRows != 0 && e.rows != 0 && ch.TxnRows != e.rows {
		c.violates("I3", where, "%s is of a transaction of %d rows, it was of %d", name(ch), ch.TxnRows, e.rows)
	}
	e.rows = max(e.rows, ch.TxnRows)
}

// affinity checks that a key keeps its partition (I5).
func (c *Checker) affinity(partition int32, where string, ch *schemas.Change) {
	k := keyOf{ch.Entity, strings.Join(ch.Key, "\x00")}
	if was, ok := c.keys[k]; ok && was != partition {
		c.violates("I5", where, "key %q of %s was in partition %d", shown(c.rules, ch), ch.Entity, was)
	}
	c.keys[k] = partition
	if c.rules == nil {
		return
	}
	if _, ok := c.rules.Entity(ch.Entity); !ok {
		c.violates("I5", where, "entity %q is not in the rules", ch.Entity)
	}
}

// digest recomputes what capture computed.
func (c *Checker) digest(where string, ch *schemas.Change) {
	if c.rules == nil || ch.Mapping != c.rules.Version {
		return
	}
	e, ok := c.rules.Entity(ch.Entity)
	if !ok {
		return
	}
	if image := e.Image(ch.Side, ch.After); image.Exact() && image.Digest != ch.Digest {
		c.violates("I3", where, "the digest of %s is not that of its row", name(ch))
	}
	if ch.BeforeDigest != (schemas.Digest{}) && e.DigestBefore(ch) != ch.BeforeDigest {
		c.violates("I3", where, "the digest of the row before %s is not that of the row", name(ch))
	}
}

// content is same, by its hash.
func content(ch *schemas.Change) [32]byte { return sha256.Sum256(same(ch)) }

func name(ch *schemas.Change) string {
	return Write{Entity: ch.Entity, Op: ch.Op, Key: ch.Key}.String() + " at " + ch.Pos
}
