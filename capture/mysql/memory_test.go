package mysql

import (
	"fmt"
	"strings"
	"testing"
)

// What is kept stays as it is, whatever is made in the same memory afterwards:
// small rows, rows that end where a piece of memory does, rows larger than one,
// and what was begun and given up.
func TestRowsInSharedMemoryStayAsTheyAre(t *testing.T) {
	var m memory
	var kept, want []string
	for i := range 5000 {
		size := i % 300
		if i%97 == 0 {
			size = textBytes/2 + i
		}
		text := strings.Repeat(string(rune('a'+i%26)), size)
		_ = append(m.room(), "a row that could not be read"...)
		kept, want = append(kept, m.keep(append(m.room(), text...))), append(want, text)
	}
	for i := range kept {
		if kept[i] != want[i] {
			t.Fatalf("text %d of %d bytes is another one now", i, len(want[i]))
		}
	}
	changes := map[string]bool{}
	for i := range 3 * columnsAtOnce {
		row := m.row(1 + i%7)
		if len(row) != 1+i%7 || cap(row) != len(row) {
			t.Fatalf("a row of %d columns that may grow to %d", len(row), cap(row))
		}
		for j := range row {
			if row[j].Name != "" {
				t.Fatal("a column belongs to two rows")
			}
			row[j].Name = "taken"
		}
		changes[fmt.Sprintf("%p", m.change())] = true
	}
	if len(changes) != 3*columnsAtOnce {
		t.Errorf("%d changes of %d", len(changes), 3*columnsAtOnce)
	}
	if got := m.row(3 * columnsAtOnce); len(got) != 3*columnsAtOnce {
		t.Errorf("%d columns", len(got))
	}
}
