package postgres

import (
	"fmt"
	"math"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// txn is a transaction that is being read. What it did waits for its end, so
// that its rows are known to be committed, a tag said after them reaches them,
// and their number is known.
//
// Where a transaction came with its begin and is small, that is waiting;
// otherwise its messages are in the spill.
type txn struct {
	xid      uint32
	commit   lsn // where its commit record starts
	received time.Time
	sent     schemas.Micros // server's clock when it sent the transaction
	stamp    schemas.Micros // what the log says; 0 if no calendar has it
	foreign  bool           // the stamp is another server's, or may be
	known    bool           // it was delivered before

	like schemas.Change // what its changes have in common; the times are filled with the first one

	mark           // how far it is
	tag  *firstTag // nil: none was said
	subs []sub     // subtransactions that can still abort, see enter
	used []*mapped // the relations of the records in the spill
	last uint32    // index in used of the one that was looked for last

	waiting []waiting
	bytes   int // of the messages in waiting
	spill   *spill
}

// mark is a place in a transaction.
type mark struct {
	at    int64  // size of the spill
	next  uint32 // ordinal
	rows  uint32 // changes on mapped tables before it
	atTag bool   // a tag was the last thing before it
}

// firstTag is the tag of everything before the second one.
type firstTag struct {
	schemas.Tag
	at int64 // where in the spill it was said
}

// waiting is something that a transaction did, with its message.
type waiting struct {
	change  *schemas.Change
	refused *capture.RowError

	m      *mapped
	record // kind 0: the one before it made both changes
}

// take returns the next ordinal of the transaction, and goes on by n.
func (t *txn) take(n uint32) (uint32, error) {
	if math.MaxUint32-t.next < n {
		return 0, fmt.Errorf("transaction %s at %s has more than %d rows", t.like.Txn, t.like.Pos, uint32(math.MaxUint32))
	}
	t.next += n
	return t.next - n, nil
}

// use returns the index by which records name a relation.
func (t *txn) use(m *mapped) uint32 {
	if int(t.last) < len(t.used) && t.used[t.last] == m {
		return t.last
	}
	t.last = 0
	for t.last < uint32(len(t.used)) && t.used[t.last] != m {
		t.last++
	}
	if t.last == uint32(len(t.used)) {
		t.used = append(t.used, m)
	}
	return t.last
}

// keep appends a record to the spill.
func (t *txn) keep(r record) error {
	err := t.spill.append(r)
	t.at = t.spill.size()
	t.atTag = false
	return err
}
