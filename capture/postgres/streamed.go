package postgres

import (
	"errors"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// errUnsure says that of a transaction that is streamed a tag cannot be told
// to stand or to be taken back. Read without streaming, only what stands comes.
var errUnsure = errors.New("a subtransaction was taken back that may have said a tag: the log is read again from here without streaming")

// startBlock opens a transaction's next block.
func (a *assembler) startBlock(body string) error {
	s, err := a.parser.streamStart(body)
	if err != nil {
		return err
	}
	t := a.streams[s.xid]
	if a.txn != nil || s.first != (t == nil) {
		return fmt.Errorf("%w: a block of transaction %d out of order", errMalformed, s.xid)
	}
	if t == nil {
		// The server does not say in a stream whether the transaction came from elsewhere.
		t = &txn{xid: s.xid, foreign: true, spill: a.spills.start(s.xid)}
		a.streams[s.xid] = t
		a.stats.streamed.Add(1)
	}
	a.block = t
	return nil
}

// streamed takes a message within a block.
func (a *assembler) streamed(body string) error {
	t := a.block
	switch body[0] {
	case kindStreamStop:
		a.block = nil
		return a.parser.streamStop(body)
	case kindOrigin:
		_, err := a.parser.origin(body)
		return err
	}
	xid, rest, err := a.parser.streamed(body)
	if err != nil {
		return err
	}
	if body[0] == kindMessage {
		before := t.at
		err := a.logical(t, rest)
		t.atTag = t.atTag || t.at > before // it has the whole transaction's id, whatever it is of
		return err
	}
	t.enter(xid)
	switch body[0] {
	case kindRelation:
		_, err := a.describe(rest)
		return err
	case kindType:
		_, err := a.parser.typeName(rest)
		return err
	}
	return a.change(t, body[0], rest)
}

// commitStreamed ends a streamed transaction.
func (a *assembler) commitStreamed(body string, sent schemas.Micros, received time.Time) (done, error) {
	c, err := a.parser.streamCommit(body)
	if err != nil {
		return done{}, err
	}
	t := a.streams[c.xid]
	if a.txn != nil || t == nil || c.end <= c.commit.commit {
		return done{}, fmt.Errorf("%w: a commit of transaction %d at %s that ends at %s ends no streamed one", errMalformed, c.xid, c.commit.commit, c.end)
	}
	delete(a.streams, c.xid)
	a.committed(t, c.commit.commit, c.stamp, sent, received)
	return done{end: c.end}, a.deliver(t)
}

// abort takes back what was streamed.
func (a *assembler) abort(body string) error {
	s, err := a.parser.streamAbort(body)
	if err != nil {
		return err
	}
	t := a.streams[s.xid]
	switch {
	case a.txn != nil || t == nil:
		return fmt.Errorf("%w: an abort of transaction %d, which is not streamed", errMalformed, s.xid)
	case s.sub == s.xid:
		delete(a.streams, s.xid)
		return t.spill.drop()
	}
	sure, err := t.rollback(s.sub)
	if err == nil && !sure {
		err = errUnsure
	}
	return err
}
