package reconcile

import "github.com/trueup-io/trueup/internal/bytemap"

// State is where a core keeps what it must remember: an ordered map. Values
// returned by Get and Scan are valid until the next call; Set and Delete copy
// nothing later than their return.
type State interface {
	Get(key []byte) (value []byte, ok bool, err error)
	Set(key, value []byte) error
	Delete(key []byte) error
	// Scan calls fn for each key in [lower, upper) in order. fn does not write.
	Scan(lower, upper []byte, fn func(key, value []byte) error) error
}

// MemoryState is a State in memory, for replays and tests.
type MemoryState struct{ m *bytemap.Map }

// NewMemoryState returns an empty state.
func NewMemoryState() *MemoryState { return &MemoryState{m: bytemap.New()} }

// Get implements State.
func (s *MemoryState) Get(key []byte) ([]byte, bool, error) {
	v, ok := s.m.Get(key)
	return v, ok, nil
}

// Set implements State.
func (s *MemoryState) Set(key, value []byte) error {
	s.m.Set(key, value)
	return nil
}

// Delete implements State.
func (s *MemoryState) Delete(key []byte) error {
	s.m.Delete(key)
	return nil
}

// Scan implements State.
func (s *MemoryState) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	for _, k := range s.m.Keys(lower, upper) {
		v, _ := s.m.Get(k)
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}

// Len returns the number of keys held.
func (s *MemoryState) Len() int { return s.m.Len() }
