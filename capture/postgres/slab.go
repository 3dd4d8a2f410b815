package postgres

// slabSize is how many are taken at once: few enough that one that is kept
// keeps little else.
const slabSize = 64

// slab cuts slices out of larger ones, so that a row costs no call of the
// allocator of its own.
type slab[T any] struct {
	whole, free []T
}

// take returns n zero values, or, after a reset, some that were used.
func (s *slab[T]) take(n int) []T {
	if n > len(s.free) {
		s.whole = make([]T, max(n, slabSize))
		s.free = s.whole
	}
	taken := s.free[:n:n]
	s.free = s.free[n:]
	return taken
}

// reset takes back what was taken of the latest slice.
func (s *slab[T]) reset() { s.free = s.whole }
