package mysql

import (
	"unsafe"

	"github.com/trueup-io/trueup/internal/slab"
	"github.com/trueup-io/trueup/schemas"
)

// textBytes is how much memory is taken at once for the texts of rows: some
// hundred small ones. A row that is kept keeps its neighbours, which are mostly
// of the same transaction.
const textBytes = 64 << 10

// What of the memory of a transaction is used again: some megabytes, as much as
// common ones of a thousand rows take.
const (
	textBlocks   = 32
	columnBlocks = 512
	changeBlocks = 64
)

// memory is what the rows of a transaction are made in, many of them in one
// piece: allocations of their own for each row would be much of what reading
// them costs. It is for one goroutine; what was made in it can be read by any.
//
// Invariant: until reset, bytes before len(texts), and those of full, are never
// written again.
type memory struct {
	columns slab.Of[schemas.Column]
	changes slab.Of[schemas.Change]
	texts   []byte
	full    [][]byte // pieces that texts was, at most textBlocks
	empty   [][]byte // pieces to use again
	lent    bool     // changes are only lent, so that their memory comes back
}

// newMemory returns memory that is used again where changes are only lent.
func newMemory(lent bool) *memory {
	m := &memory{lent: lent}
	if lent {
		m.columns.Most, m.changes.Most = columnBlocks, changeBlocks
	}
	return m
}

// room returns an empty slice to append a row's texts to.
func (m *memory) room() []byte { return m.texts[len(m.texts):] }

// keep returns what was appended to room as a string that stays as it is.
func (m *memory) keep(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if end := len(m.texts) + len(text); end <= cap(m.texts) && unsafe.SliceData(text) == unsafe.SliceData(m.room()) {
		m.texts = m.texts[:end]
	} else {
		m.more() // there was no room: append has copied it
	}
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// more takes another piece for texts.
func (m *memory) more() {
	if m.lent && m.texts != nil && len(m.full) < textBlocks {
		m.full = append(m.full, m.texts)
	}
	if last := len(m.empty) - 1; last >= 0 {
		m.texts, m.empty = m.empty[last], m.empty[:last]
		return
	}
	m.texts = make([]byte, 0, textBytes)
}

// row returns n columns without values.
func (m *memory) row(n int) schemas.Row { return m.columns.Take(n) }

// change returns an empty change.
func (m *memory) change() *schemas.Change { return &m.changes.Take(1)[0] }

// reset takes back what was made, if it was only lent: nobody may look at it any
// more.
func (m *memory) reset() {
	if !m.lent {
		return
	}
	m.columns.Reset()
	m.changes.Reset()
	for _, piece := range m.full {
		m.empty = append(m.empty, piece[:0])
	}
	m.full, m.texts = m.full[:0], m.texts[:0]
}
