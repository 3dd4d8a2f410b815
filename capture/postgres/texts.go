package postgres

import "unsafe"

// textBytes is how much memory is taken at once for what is received: some hundred
// small rows. A row that is kept keeps its neighbours.
const textBytes = 64 << 10

// texts keeps messages as strings, many of them in one piece of memory: an
// allocation for each would be most of what receiving costs. It is for one
// goroutine; what it returned can be read by any.
//
// Invariant: bytes before len(free) are never written again.
type texts struct{ free []byte }

// keep returns data as a string that stays as it is.
func (t *texts) keep(data []byte) string {
	if len(data) > textBytes/4 {
		return string(data)
	}
	if cap(t.free)-len(t.free) < len(data) {
		t.free = make([]byte, 0, textBytes)
	}
	at := len(t.free)
	t.free = append(t.free, data...)
	return unsafe.String(unsafe.SliceData(t.free[at:]), len(data))
}
