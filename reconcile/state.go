package reconcile

import (
	"bytes"
	"slices"
)

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
type MemoryState struct{ m map[string]*[]byte }

// NewMemoryState returns an empty state.
func NewMemoryState() *MemoryState { return &MemoryState{m: map[string]*[]byte{}} }

// Get implements State.
func (s *MemoryState) Get(key []byte) ([]byte, bool, error) {
	v, ok := s.m[string(key)]
	if !ok {
		return nil, false, nil
	}
	return *v, true, nil
}

// Set implements State.
func (s *MemoryState) Set(key, value []byte) error {
	if v, ok := s.m[string(key)]; ok {
		*v = append((*v)[:0], value...)
		return nil
	}
	v := bytes.Clone(value)
	s.m[string(key)] = &v
	return nil
}

// Delete implements State.
func (s *MemoryState) Delete(key []byte) error {
	delete(s.m, string(key))
	return nil
}

// Scan implements State.
func (s *MemoryState) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	var keys []string
	for k := range s.m {
		if k >= string(lower) && k < string(upper) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := fn([]byte(k), *s.m[k]); err != nil {
			return err
		}
	}
	return nil
}

// Len returns the number of keys held.
func (s *MemoryState) Len() int { return len(s.m) }
