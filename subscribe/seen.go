package subscribe

// Seen remembers the latest ids, to drop repeats. The zero value remembers none.
// It is for one goroutine.
type Seen struct {
	ids  map[string]bool
	ring []string
	at   int
}

// NewSeen remembers up to n ids. Repeats stand close to one another: a few
// thousand ids are enough within a process; across restarts, ids belong beside
// what is made of the events.
func NewSeen(n int) *Seen { return &Seen{ids: make(map[string]bool, n), ring: make([]string, n)} }

// Add remembers an id and says whether it was new.
func (s *Seen) Add(id string) bool {
	if s.ids[id] {
		return false
	}
	if len(s.ring) == 0 {
		return true
	}
	delete(s.ids, s.ring[s.at])
	s.ring[s.at], s.ids[id] = id, true
	s.at = (s.at + 1) % len(s.ring)
	return true
}
