package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// store is a model database: rows, and a log of what was committed. What is
// rolled back never gets here.
type store struct {
	side  schemas.Side
	clock clock
	rows  map[rowKey]value
	wal   []txn

	ledger  map[string]string // compensations by id, with the attempt that wrote them
	history map[rowKey][]version

	// faults says how the next tries of the applier break; taken from the front.
	faults []fault
	now    func() schemas.Micros
	note   func(k rowKey, format string, args ...any)
	broken func(promise, format string, args ...any)
}

// fault is what happens to a try of a compensation.
type fault uint8

const (
	noFault   fault = iota
	deadlock        // rolled back
	lostReply       // committed, and the answer is lost
	cutOff          // rolled back, and nobody knows
)

// txn is a committed transaction.
type txn struct {
	at     schemas.Micros // true time of the commit
	writes []write
}

// write is a change of one row.
type write struct {
	key    rowKey
	op     schemas.Op
	before value
	after  value
	tag    schemas.Tag
}

// version is a value in the true history of a row.
type version struct {
	at  schemas.Micros
	v   value
	wal int // index of its transaction; -1: there from the start
	ord uint32
	id  string // of the write, where the application gave it one
}

// always is before everything.
const always = schemas.Micros(-1) << 50

func newStore(side schemas.Side, c clock) *store {
	return &store{side: side, clock: c, rows: map[rowKey]value{}, ledger: map[string]string{}, history: map[rowKey][]version{}}
}

// pos is the position of a transaction, by its index.
func pos(index int) string { return fmt.Sprintf("%016X", (index+1)*16) }

// seed puts a row in that was there before the log began.
func (s *store) seed(k rowKey, v value) {
	s.rows[k] = v
	s.history[k] = []version{{at: always, v: v, wal: -1}}
}

// past returns the true history of a row, from before the run on.
func (s *store) past(k rowKey) []version {
	if h, ok := s.history[k]; ok {
		return h
	}
	return []version{{at: always, v: gone, wal: -1}}
}

// commit makes the writes of a transaction take effect. A delete of no row is
// none, as in a database; a transaction of nothing does not stand in the log.
func (s *store) commit(writes ...write) {
	t := txn{at: s.now()}
	for _, w := range writes {
		w.before = s.rows[w.key]
		switch {
		case w.after == gone && w.before == gone:
			continue
		case w.after == gone:
			w.op = schemas.OpDelete
			delete(s.rows, w.key)
		case w.before == gone:
			w.op = schemas.OpInsert
			s.rows[w.key] = w.after
		default:
			w.op = schemas.OpUpdate
			s.rows[w.key] = w.after
		}
		s.history[w.key] = append(slices.Clip(s.past(w.key)), version{t.at, w.after, len(s.wal), uint32(len(t.writes)), w.tag.WriteID})
		t.writes = append(t.writes, w)
		s.note(w.key, "%s commits %s %q at %s ordinal %d", s.side, w.op, w.after, pos(len(s.wal)), len(t.writes)-1)
	}
	if len(t.writes) > 0 {
		s.wal = append(s.wal, t)
	}
}

// asOf is the value of a row once the first n transactions were committed.
func (s *store) asOf(k rowKey, n int) value {
	v := gone
	for _, h := range s.past(k) {
		if h.wal < n {
			v = h.v
		}
	}
	return v
}

var (
	errDeadlock = errors.New("deadlock")
	errLost     = errors.New("connection lost")
)

// Try implements compensate.Store: the statement with its condition and the
// ledger's row, in one transaction.
func (s *store) Try(_ context.Context, c *schemas.Compensation, attempt string) (compensate.Effect, error) {
	f := noFault
	if len(s.faults) > 0 {
		f, s.faults = s.faults[0], s.faults[1:]
	}
	switch f {
	case deadlock:
		return 0, errDeadlock
	case cutOff:
		return 0, errLost
	}
	if _, found := s.ledger[c.ID]; found {
		return compensate.Recorded, nil
	}
	k := keyOf(c.Entity, c.Key)
	before := s.rows[k]
	if (c.Statement == schemas.InsertRow) != (before == gone) || !holds(before.row(s.side, k), c.Expect) {
		return compensate.NoMatch, nil
	}
	after := gone
	if c.Statement != schemas.DeleteRow {
		row := before.row(s.side, k)
		for _, col := range c.Set {
			if i := slices.IndexFunc(row, func(o schemas.Column) bool { return o.Name == col.Name }); i >= 0 {
				row[i] = col
			} else {
				row = append(row, col)
			}
		}
		var err error
		if after, err = valueFrom(s.side, row); err != nil {
			s.broken("I26", "compensation %s writes what no row can be: %v", c.ID, err)
		}
	}
	s.ledger[c.ID] = attempt
	s.commit(write{key: k, after: after, tag: schemas.Tag{CompensationID: c.ID}})
	if f == lostReply {
		return 0, errLost
	}
	return compensate.Wrote, nil
}

// holds says whether a row has all the columns that are expected.
func holds(row, expect schemas.Row) bool {
	for _, want := range expect {
		if got, ok := row.Get(want.Name); !ok || got != want {
			return false
		}
	}
	return true
}

// Ledger implements compensate.Store.
func (s *store) Ledger(_ context.Context, id string) (string, bool, error) {
	by, found := s.ledger[id]
	return by, found, nil
}

// Classify implements compensate.Store.
func (s *store) Classify(err error) compensate.Fault {
	if errors.Is(err, errDeadlock) {
		return compensate.Transient
	}
	return compensate.Lost
}
