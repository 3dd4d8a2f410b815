package slab

import (
	"testing"

	"pgregory.net/rapid"
)

// Until the slab takes it back, what was taken is its taker's alone and was zero.
func TestSlabGivesEachTakerHisOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Of[int]{Most: rapid.IntRange(0, 3).Draw(t, "most")}
		var taken [][]int
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 20).Draw(t, "what") == 0 {
				s.Reset()
				taken = nil
				continue
			}
			row := s.Take(rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(0, 3*Size)).Draw(t, "n"))
			for j := range row {
				if row[j] != 0 {
					t.Fatalf("%d is not zero", row[j])
				}
				row[j] = i + 1
			}
			taken = append(taken, row)
			for _, r := range taken {
				for _, v := range r {
					if v != r[0] {
						t.Fatalf("two takers have the same memory")
					}
				}
			}
		}
	})
}

// Where nobody keeps rows, no row takes new memory.
func TestSlabIsUsedAgain(t *testing.T) {
	s := Of[int]{Most: 4}
	if n := testing.AllocsPerRun(100, func() {
		for range 3 * Size / 12 {
			s.Take(12)
		}
		s.Reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
