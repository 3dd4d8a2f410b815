package mysql

import (
	"unsafe"

	"github.com/trueup-io/trueup/schemas"
)

const (
	// textBytes is how much memory is taken at once for the texts of rows: some hundred small rows. A row that is kept
	// keeps its neighbours, which are mostly of the same transaction.
	textBytes = 64 << 10
	// columnsAtOnce and changesAtOnce are how many of these are made at once.
	columnsAtOnce = 512
	changesAtOnce = 32
)

// memory is what rows are made in, many of them in one piece: allocations of
// their own for each row would be much of what reading them costs. It is for one
// goroutine; what was made in it can be read by any.
//
// Invariant: bytes before len(texts) are never written again.
type memory struct {
	texts   []byte
	columns []schemas.Column
	changes []schemas.Change
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
		m.texts = make([]byte, 0, textBytes) // there was no room: append has copied it
	}
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// row returns n columns without values.
func (m *memory) row(n int) schemas.Row {
	if len(m.columns) < n {
		m.columns = make([]schemas.Column, max(n, columnsAtOnce))
	}
	row := m.columns[:n:n]
	m.columns = m.columns[n:]
	return row
}

// change returns an empty change.
func (m *memory) change() *schemas.Change {
	if len(m.changes) == 0 {
		m.changes = make([]schemas.Change, changesAtOnce)
	}
	c := &m.changes[0]
	m.changes = m.changes[1:]
	return c
}
