package baseline

import (
	"slices"
	"sync"

	"github.com/trueup-io/trueup/schemas"
)

// ledger is the order of a table's chunks: which are read, and from where on
// nothing is.
//
//	done ─► [ handed | reading | handed | to read … ] ─► planned ─► not looked at
//
// Chunks are handed over in any order. What is covered grows from the front.
type ledger struct {
	table *Table
	side  schemas.Side

	mu     sync.Mutex
	chunks []*piece // that follow what is done, in the order of the store; under mu, as is what follows
	again  []*piece // of them, those that nobody reads: what was cut off
	done   []string // up to here all is handed over; nil: nothing
	began  string   // as of where the first rows were read, where nothing is covered before all is; "": none were
	rows   int64    // handed over
	ended  bool     // the last chunk is planned: it has no upper bound
	all    bool     // everything is handed over
}

// piece is a chunk in the ledger.
type piece struct {
	after, to []string
	handed    bool
	pos       string // as of which it was handed over
}

// plan appends the chunk up to a key, nil for all that is left.
func (l *ledger) plan(to []string) *piece {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &piece{after: l.planned(), to: to}
	l.chunks = append(l.chunks, p)
	l.ended = to == nil
	return p
}

// planned is the key that the next chunk begins after; under mu.
func (l *ledger) planned() []string {
	if n := len(l.chunks); n > 0 {
		return l.chunks[n-1].to
	}
	return l.done
}

// left takes what was cut off from a chunk, nil if nothing was.
func (l *ledger) left() *piece {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.again) == 0 {
		return nil
	}
	p := l.again[0]
	l.again = l.again[1:]
	return p
}

// hand notes that a chunk was handed over up to a key, as of a position: none is
// before those of chunks that were handed over before. It returns what became covered, and
// how far the rows stand in the log without a hole.
func (l *ledger) hand(p *piece, to []string, rows int, pos string) (covered []*schemas.Covered, done []string, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows += int64(rows)
	if !slices.Equal(to, p.to) || (to == nil) != (p.to == nil) {
		rest := &piece{after: to, to: p.to}
		i := slices.Index(l.chunks, p)
		l.chunks = slices.Insert(l.chunks, i+1, rest)
		l.again = append(l.again, rest)
		p.to = to
	}
	p.handed, p.pos = true, pos
	if l.began == "" {
		l.began = pos
	}
	from, first, moved := l.done, pos, false
	for len(l.chunks) > 0 && l.chunks[0].handed {
		first = min(first, l.chunks[0].pos)
		l.done, l.all = l.chunks[0].to, l.chunks[0].to == nil
		l.chunks, moved = l.chunks[1:], true
	}
	if l.table.Unordered != "" {
		first = l.began
	}
	if first == pos {
		first = ""
	}
	switch {
	case l.table.Unordered == "" && moved: // it begins with the last key of the range before, so that the two join
		covered = append(covered, &schemas.Covered{Side: l.side, Entity: l.table.Entity.Name, From: l.table.key(from), To: l.table.key(l.done), ReadFrom: first})
	case l.all:
		covered = append(covered, &schemas.Covered{Side: l.side, Entity: l.table.Entity.Name, ReadFrom: first})
	}
	return covered, l.done, l.all
}

// since is as of where the first rows were read.
func (l *ledger) since() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.began
}

// idle says that nothing is left to read: chunks may still be in flight.
func (l *ledger) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended && len(l.again) == 0
}
