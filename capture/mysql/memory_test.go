package mysql

import (
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// What is kept stays as it is, whatever is made in the same memory afterwards:
// small rows, rows that end where a piece of memory does, rows larger than one,
// and what was begun and given up. Once changes that were only lent are handed
// over, and only then, their memory is used again.
func TestRowsInSharedMemoryStayAsTheyAre(t *testing.T) {
	for _, lent := range []bool{false, true} {
		m := newMemory(lent)
		var all, want []string
		for i := range 3 {
			kept, texts := fillMemory(t, m, byte('a'+7*i))
			if all, want = append(all, kept...), append(want, texts...); lent {
				all, want = kept, texts
			}
			for i := range all {
				if all[i] != want[i] {
					t.Fatalf("lent %v: text %d of %d bytes is another one now", lent, i, len(want[i]))
				}
			}
			m.reset()
		}
	}
}

// fillMemory keeps some 8 MB of texts, rows and changes, which are all empty when
// they are given.
func fillMemory(t *testing.T, m *memory, letter byte) (kept, want []string) {
	t.Helper()
	for i := range 5000 {
		size := i % 300
		if i%97 == 0 {
			size = textBytes/2 + i
		}
		text := strings.Repeat(string(rune(letter+byte(i%7))), size)
		_ = append(m.room(), "a row that could not be read"...)
		kept, want = append(kept, m.keep(append(m.room(), text...))), append(want, text)
		row := m.row(1 + i%7)
		if len(row) != 1+i%7 || cap(row) != len(row) {
			t.Fatalf("a row of %d columns that may grow to %d", len(row), cap(row))
		}
		for j := range row {
			if row[j] != (schemas.Column{}) {
				t.Fatal("a column belongs to two rows")
			}
			row[j].Name = "taken"
		}
		c := m.change()
		if c.Key != nil {
			t.Fatal("a change is given twice")
		}
		c.Key = []string{text}
	}
	return kept, want
}

// Where changes are only lent, a transaction takes no new memory.
func TestMemoryOfRowsIsUsedAgain(t *testing.T) {
	m := newMemory(true)
	text := strings.Repeat("x", 300)
	if n := testing.AllocsPerRun(100, func() {
		for range 1000 {
			m.row(7)
			m.change()
			m.keep(append(m.room(), text...))
		}
		m.reset()
	}); n > 10 { // where pieces end, a row's text is copied
		t.Errorf("%v allocations for 1000 rows", n)
	}
}
