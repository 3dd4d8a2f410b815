package reconcile

import (
	"encoding/binary"
	"fmt"
)

// txns remembers, for each of the authority's transactions that touched
// several keys of this partition, how many of its rows the follower has
// applied: a transaction with some applied and some overdue is torn. An entry
// lives until each of its rows was applied, superseded or judged.
type txns struct {
	state State
	open  map[txnAt]*txn // by commit position; entries touched since the last flush
	err   error          // the first error of state; checked by Step
}

type txn struct {
	rows    int  // rows of distinct keys
	applied int  // rows whose version was matched or overtaken by a write of the follower
	other   int  // rows that ended otherwise
	stored  bool // State has a record of it
}

// txnAt is a commit position as a map's key.
type txnAt struct {
	n    uint64
	text string
}

func (p position) txn() txnAt {
	if p.text != nil {
		return txnAt{text: *p.text}
	}
	return txnAt{n: p.n}
}

const txnPrefix = 'x'

func newTxns(s State) *txns { return &txns{state: s, open: map[txnAt]*txn{}} }

func txnKey(at txnAt) []byte { return append([]byte{txnPrefix}, at.String()...) }

func (a txnAt) String() string {
	if a.n != 0 {
		return position{n: a.n}.String()
	}
	return a.text
}

// begin notes a transaction with several rows.
func (t *txns) begin(pos position, rows int) {
	at := pos.txn()
	was := t.open[at] // one that has ended
	t.open[at] = &txn{rows: rows, stored: was != nil && was.stored}
}

func (x *txn) ended() bool { return x.applied+x.other >= x.rows }

// load returns an entry that has not ended. One that has is gone at once, not
// only with the next flush: when that comes is no part of the log.
func (t *txns) load(pos position) *txn {
	at := pos.txn()
	if x, ok := t.open[at]; ok {
		if x.ended() {
			return nil
		}
		return x
	}
	b, ok, err := t.state.Get(txnKey(at))
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("read transaction at %s: %w", pos, err)
	}
	if err != nil || !ok {
		return nil
	}
	x := &txn{}
	for _, f := range []*int{&x.rows, &x.applied, &x.other} {
		n, w := binary.Uvarint(b)
		if w <= 0 {
			if t.err == nil {
				t.err = fmt.Errorf("read transaction at %s: damaged record", pos)
			}
			return nil
		}
		*f, b = int(n), b[w:]
	}
	x.stored = true
	t.open[at] = x
	return x
}

// done notes the end of one row's wait.
func (t *txns) done(v *version, applied bool) {
	x := t.load(v.pos)
	if x == nil {
		return
	}
	if applied {
		x.applied++
	} else {
		x.other++
	}
	v.flags &^= shared
	if x.ended() && !x.stored {
		delete(t.open, v.pos.txn())
	}
}

// torn says whether the follower applied other rows of v's transaction.
func (t *txns) torn(v *version) bool {
	if !v.has(shared) {
		return false
	}
	x := t.load(v.pos)
	return x != nil && x.applied > 0
}

// flush writes what changed and forgets what has ended.
func (t *txns) flush() error {
	for at, x := range t.open { // any order: each entry is written by itself
		var err error
		if x.ended() {
			err = t.state.Delete(txnKey(at))
		} else {
			b := binary.AppendUvarint(nil, uint64(x.rows))
			b = binary.AppendUvarint(b, uint64(x.applied))
			b = binary.AppendUvarint(b, uint64(x.other))
			err = t.state.Set(txnKey(at), b)
		}
		if err != nil {
			return fmt.Errorf("write transaction at %s: %w", at, err)
		}
	}
	clear(t.open)
	return t.err
}
