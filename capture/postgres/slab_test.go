package postgres

import (
	"testing"

	"pgregory.net/rapid"
)

// Until the slab takes it back, what was taken is its taker's alone and was zero.
func TestSlabGivesEachTakerHisOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := slab[int]{most: rapid.IntRange(0, 3).Draw(t, "most")}
		var taken [][]int
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 20).Draw(t, "what") == 0 {
				s.reset()
				taken = nil
				continue
			}
			row := s.take(rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(0, 3*slabSize)).Draw(t, "n"))
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
	s := slab[int]{most: 4}
	if n := testing.AllocsPerRun(100, func() {
		for range 3 * slabSize / 12 {
			s.take(12)
		}
		s.reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
