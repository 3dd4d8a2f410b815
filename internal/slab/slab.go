// Package slab cuts slices out of larger ones, so that what is made in great
// numbers costs no call of the allocator of its own. Where nobody keeps what was
// taken, the memory is used again.
package slab

// Size is how many are taken at once: few enough that one that is kept keeps
// little else.
const Size = 64

// Of makes slices of T. It is for one goroutine. The zero value takes nothing
// back.
type Of[T any] struct {
	Most int // how many blocks of Size or more are used again

	blocks [][]T // those that are
	next   int   // of blocks: what is taken from when free is used up
	free   []T   // of the block that is taken from
	kept   bool  // that is the one before next
}

// Take returns n zero values.
func (s *Of[T]) Take(n int) []T {
	for n > len(s.free) {
		s.more(n)
	}
	taken := s.free[:n:n]
	s.free = s.free[n:]
	return taken
}

// more takes from the next block.
func (s *Of[T]) more(n int) {
	if s.kept = s.next < len(s.blocks); s.kept {
		s.free = s.blocks[s.next]
		s.next++
		return
	}
	s.free = make([]T, max(n, Size))
	if s.kept = len(s.blocks) < s.Most; s.kept {
		s.blocks = append(s.blocks, s.free)
		s.next++
	}
}

// Reset takes back everything, which nobody may look at any more. With Most 0
// nothing is: what was taken is its taker's.
func (s *Of[T]) Reset() {
	if s.Most == 0 {
		return
	}
	for i, b := range s.blocks[:s.next] {
		if s.kept && i == s.next-1 {
			b = b[:len(b)-len(s.free)]
		}
		clear(b) // what it points to is not held any longer
	}
	s.next, s.free, s.kept = 0, nil, false
}
