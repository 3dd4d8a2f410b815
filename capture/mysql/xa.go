package mysql

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/internal/crash"
)

// The rows of an XA transaction stand in the log when it is prepared; its
// outcome may come much later, or never. They wait here, bounded: their rows in
// memory up to preparedMemory, the rest in files.
const (
	preparedMax    = 1000
	preparedMemory = 16 << 20
)

// preparedXA is an XA transaction that was prepared.
type preparedXA struct {
	name   string
	before resumePoint // where capture has to go on so that it comes again
	txn    *transaction
}

// prepare takes the event that ends an XA transaction's rows: whether it
// commits in one phase, its format, and the lengths of its name's two parts.
func (s *stream) prepare(ctx context.Context, body []byte, received time.Time) error {
	if s.txn == nil {
		return malformed("XA PREPARE outside a transaction")
	}
	if body[0] == 1 {
		return s.commit(ctx, received)
	}
	format := binary.LittleEndian.Uint32(body[1:])
	gtrid := int(binary.LittleEndian.Uint32(body[5:]))
	bqual := int(binary.LittleEndian.Uint32(body[9:]))
	id := body[13 : 13+gtrid+bqual]
	name := fmt.Sprintf("X'%x',X'%x',%d", id[:gtrid], id[gtrid:], format)
	s.memory = newMemory(s.memory.lent) // the rows wait in the old one
	return s.run.park(name, s.take(), s.file.end)
}

// park keeps a prepared transaction until its outcome comes.
func (r *run) park(name string, t *transaction, end position) error {
	if len(r.prepared) == preparedMax {
		return r.source.gap("more than %d XA transactions are prepared and wait for their outcome; finish them (XA RECOVER lists them)", preparedMax)
	}
	held := 0
	for _, p := range r.prepared {
		held += p.txn.rows.bytes
	}
	if held+t.rows.bytes > preparedMemory {
		if err := t.rows.setAside(); err != nil {
			return &lastingError{err}
		}
	}
	r.prepared = append(r.prepared, &preparedXA{name: name, before: r.at.clone(), txn: t})
	r.source.counters.prepared.Store(int64(len(r.prepared)))
	crash.Site("capture.mysql.prepared")
	return r.pass(t.id, end)
}

// outcome returns a prepared transaction and forgets it; nil if none has the
// name.
func (r *run) outcome(name string) *transaction {
	for i, p := range r.prepared {
		if p.name == name {
			r.prepared = append(r.prepared[:i:i], r.prepared[i+1:]...)
			r.source.counters.prepared.Store(int64(len(r.prepared)))
			return p.txn
		}
	}
	return nil
}

// decide takes XA COMMIT or XA ROLLBACK of a prepared transaction.
func (s *stream) decide(ctx context.Context, p statement, received time.Time) error {
	rows := s.run.outcome(p.name)
	if p.verb == verbXARollback {
		if rows != nil {
			s.source.counters.rolledBack.Add(int64(rows.rows.len()))
			rows.rows.close()
		}
		return s.rollback()
	}
	if rows == nil {
		return s.source.gap("XA transaction %s was committed, but it was prepared before capture began: what it wrote was not read", p.name)
	}
	// It commits here: with this GTID, at this place, and with the rows of the one that prepared it.
	s.txn.rows, s.txn.refused, s.txn.marker, s.txn.halts = rows.rows, rows.refused, rows.marker, rows.halts
	return s.commit(ctx, received)
}

// resume is where capture has to go on after a restart.
func (r *run) resume() resumePoint {
	if len(r.prepared) > 0 {
		return r.prepared[0].before
	}
	return r.at
}

func (r resumePoint) clone() resumePoint { return resumePoint{set: r.set.clone(), pos: r.pos} }
