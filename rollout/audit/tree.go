// Package audit shows that a registry of rollouts still has every event that it had.
//
// The registry's topic is the audit log: a change has effect by being read there, so its
// entry is durable before its effect (I36). This package puts a Merkle tree over it, by RFC
// 6962 as golang.org/x/mod/sumdb/tlog has it: record n of the topic is leaf n. A
// checkpoint is the tree's size and root, signed.
//
// # What it promises
//
// Whoever has a checkpoint finds every change of the records before it: one that was edited,
// deleted, inserted or moved, a topic that was cut short or put back to an older state, and
// one that was written anew. No checkpoint is signed over a tree that contradicts one that
// was signed before.
//
// # What it assumes
//
// Somebody keeps checkpoints where whoever can write to the topic cannot, and the key
// is not his. Records behind the newest checkpoint are as good as the topic's
// own rights.
//
//	topic ─► Tree ─► Journal.Sign ─► checkpoints ─► (elsewhere) ─► Verify ◄─ topic
package audit

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is the Merkle tree over a topic's records. It is for one goroutine.
type Tree struct {
	size   int64
	hashes []tlog.Hash // as tlog stores them
}

// ErrMissing is a topic in which a record is not where it has to be.
var ErrMissing = errors.New("a record is missing")

// Append adds the record at an offset, which has to be the tree's size.
func (t *Tree) Append(offset int64, value []byte) error {
	if offset != t.size {
		return fmt.Errorf("%w: behind record %d comes %d", ErrMissing, t.size-1, offset)
	}
	more, err := tlog.StoredHashes(t.size, value, t)
	if err != nil {
		return fmt.Errorf("record %d: %w", offset, err)
	}
	t.hashes = append(t.hashes, more...)
	t.size++
	return nil
}

// Size is how many records it has.
func (t *Tree) Size() int64 { return t.size }

// Root is the root over the first n records.
func (t *Tree) Root(n int64) (tlog.Hash, error) {
	if n < 0 || n > t.size {
		return tlog.Hash{}, fmt.Errorf("a tree of %d records has no root over %d", t.size, n)
	}
	return tlog.TreeHash(n, t)
}

// ReadHashes is a tlog.HashReader's.
func (t *Tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("the tree has no hash %d", at)
		}
		out[i] = t.hashes[at]
	}
	return out, nil
}
