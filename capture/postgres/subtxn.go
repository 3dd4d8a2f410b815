package postgres

// sub is a subtransaction of a streamed transaction, and where in it the first
// message of it or of one within it stands.
type sub struct {
	xid uint32
	mark
}

// enter notes that a message of the transaction or subtransaction x follows.
//
// Subtransactions are within one another like brackets, and a new one has a
// larger id than all before it, the one that it is in included. So what is
// larger than x and came before either is part of x, or of nothing that can
// still abort without x: it need not be remembered for itself.
//
// Invariant: in t.subs ids and places rise.
func (t *txn) enter(x uint32) {
	first := t.mark
	n := len(t.subs)
	for ; n > 0 && later(t.subs[n-1].xid, x); n-- {
		first = t.subs[n-1].mark
	}
	t.subs = t.subs[:n]
	if x != t.xid && (n == 0 || t.subs[n-1].xid != x) {
		t.subs = append(t.subs, sub{x, first})
	}
}

// later says that transaction a began after b. Ids are reused after four
// thousand million; open ones are within half of that.
func later(a, b uint32) bool { return int32(a-b) > 0 }

// rollback takes back the subtransaction x. Everything from its first message
// on is of it or of what is within it: nothing else could have been written
// before it ended.
//
// It returns false where that does not say whether a tag belongs to x. The
// server does not say which subtransaction a logical message is of; with
// nothing of any other after it, it may have been the first that x did.
func (t *txn) rollback(x uint32) (bool, error) {
	n := len(t.subs)
	for n > 0 && !later(x, t.subs[n-1].xid) {
		n--
	}
	if n < len(t.subs) {
		t.mark = t.subs[n].mark
		t.subs = t.subs[:n]
		if t.tag != nil && t.tag.at >= t.at {
			t.tag = nil
		}
		if err := t.spill.truncate(t.at); err != nil {
			return false, err
		}
	}
	return !t.atTag, nil
}
