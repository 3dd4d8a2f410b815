package postgres

// The first byte of a message that protocol version 2 adds. Between a stream
// start and its stop stand messages of a transaction that may still abort:
//
//	S (R | Y | M | I | U | D | T)* E   once or more, then   c | A
//
// In each of those its own transaction's id follows the first byte: the
// subtransaction's of a row, always the top-level one's of a logical message.
const (
	kindStreamStart  = 'S'
	kindStreamStop   = 'E'
	kindStreamCommit = 'c'
	kindStreamAbort  = 'A'
)

// streamStart opens a block of a transaction that has not ended yet.
type streamStart struct {
	xid   uint32
	first bool // nothing of the transaction was sent before
}

// streamCommit ends a streamed transaction.
type streamCommit struct {
	xid uint32
	commit
}

// streamAbort takes back a subtransaction, or with sub = xid the whole.
type streamAbort struct {
	xid, sub uint32
}

func (p *parser) streamStart(m string) (streamStart, error) {
	c := open(m, kindStreamStart)
	s := streamStart{xid: c.u32(), first: c.u8() != 0}
	return s, c.end()
}

func (p *parser) streamStop(m string) error { return open(m, kindStreamStop).end() }

func (p *parser) streamCommit(m string) (streamCommit, error) {
	c := open(m, kindStreamCommit)
	s := streamCommit{xid: c.u32(), commit: commit{flags: c.u8(), commit: lsn(c.u64()), end: lsn(c.u64()), stamp: c.micros()}}
	return s, c.end()
}

func (p *parser) streamAbort(m string) (streamAbort, error) {
	c := open(m, kindStreamAbort)
	s := streamAbort{xid: c.u32(), sub: c.u32()}
	return s, c.end()
}

// streamed takes the transaction's id out of a message between a stream start
// and its stop: what follows it, after the kind, is as in version 1.
func (p *parser) streamed(m string) (xid uint32, rest string, err error) {
	c := cursor{rest: m}
	c.u8()
	xid = c.u32()
	return xid, c.rest, c.err
}
