package reconcile

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/trueup-io/trueup/schemas"
)

// Ref points at the change that a verdict rests on.
type Ref struct {
	Offset int64 // in the partition; -1: there is no change, an absence known from coverage or nothing at all
	// Exists says that the side had a version of its own.
	Exists bool
	// KnownAbsent says that the row is absent as far as coverage tells, and never was there.
	KnownAbsent bool
	// Unlogged says that the row before the change is not the one that the log said last.
	Unlogged bool
}

// Verdict is one event in the life of a divergence, before its evidence is
// read back from the log: see Complete.
type Verdict struct {
	schemas.Divergence // without Authority, Follower, Cause, Fields, ClosedBy and, for some, Key
	Authority          Ref
	Follower           Ref
	Cause              Ref
	Closer             Ref
}

// Alarm is something an operator must hear of that is not a divergence.
type Alarm struct {
	Reason schemas.Reason
	Side   schemas.Side
	Entity string
	Key    []string
	Offset int64
	Detail string
}

// Effects collects what steps said, in order.
type Effects struct {
	Verdicts []Verdict
	Alarms   []Alarm
	// Mistaken are the offsets of changes whose digest is not that of their row, where digests are recomputed.
	Mistaken []int64
}

// Reset forgets everything and keeps the memory.
func (e *Effects) Reset() {
	e.Verdicts, e.Alarms, e.Mistaken = e.Verdicts[:0], e.Alarms[:0], e.Mistaken[:0]
}

// mistaken notes a change with a digest that is not that of its row. It has one of the row before, too.
func (e *Effects) mistaken(offset int64) {
	if n := len(e.Mistaken); n == 0 || e.Mistaken[n-1] != offset {
		e.Mistaken = append(e.Mistaken, offset)
	}
}

func refOf(v *version) Ref {
	if v == nil {
		return Ref{Offset: noOffset}
	}
	return Ref{Offset: v.off, Exists: !v.has(virtual), KnownAbsent: v.has(virtual), Unlogged: v.has(unlogged)}
}

// divergenceID is a pure function of the rules, the key, the kind and the
// versions the divergence was opened on: sixteen bytes of SHA-256 in hex.
func divergenceID(rules, key string, kind schemas.Kind, authority, follower *version) string {
	var e encoder
	e.text(rules)
	e.text(key)
	e.text(string(kind))
	for _, v := range []*version{authority, follower} {
		if v == nil || v.has(virtual) {
			e.byte(0)
			continue
		}
		e.byte(1)
		e.text(v.pos.String())
		e.uint(uint64(v.ord))
	}
	sum := sha256.Sum256(e.b)
	return hex.EncodeToString(sum[:16])
}
