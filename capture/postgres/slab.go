package postgres

// slabSize is how many are taken at once: few enough that one that is kept
// keeps little else.
const slabSize = 64

// slab cuts slices out of larger ones, so that a row costs no call of the
// allocator of its own. Where nobody keeps what was taken, it takes it back.
type slab[T any] struct {
	most   int   // of blocks: how many are used again
	blocks [][]T // those that are
	next   int   // of blocks: what is taken from when free is used up
	free   []T   // of the block that is taken from
	kept   bool  // that is the one before next
}

// take returns n zero values.
func (s *slab[T]) take(n int) []T {
	for n > len(s.free) {
		s.more(n)
	}
	taken := s.free[:n:n]
	s.free = s.free[n:]
	return taken
}

// more takes from the next block.
func (s *slab[T]) more(n int) {
	if s.kept = s.next < len(s.blocks); s.kept {
		s.free = s.blocks[s.next]
		s.next++
		return
	}
	s.free = make([]T, max(n, slabSize))
	if s.kept = len(s.blocks) < s.most; s.kept {
		s.blocks = append(s.blocks, s.free)
		s.next++
	}
}

// reset takes back everything, which nobody may look at any more. With most 0
// nothing is: what was taken is its taker's.
func (s *slab[T]) reset() {
	if s.most == 0 {
		return
	}
	for i, b := range s.blocks[:s.next] {
		if s.kept && i == s.next-1 {
			b = b[:len(b)-len(s.free)]
		}
		clear(b) // the texts of a large row are not held any longer
	}
	s.next, s.free, s.kept = 0, nil, false
}
