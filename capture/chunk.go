package capture

// chunkBytes is how much memory is taken at once for encoded records: some
// hundred small rows. A chunk is given back when the last of its records is
// acknowledged, so it is small beside what waits for acknowledgement.
const chunkBytes = 64 << 10

// chunks is memory for what has to live until it is acknowledged: an allocation
// for each record would cost more than encoding it. It is for one goroutine.
type chunks struct {
	free    []byte // of the newest chunk: what follows its length is not used yet
	scratch []byte
}

// keep returns the bytes that add appends, for the caller to keep and not to
// append to.
func (c *chunks) keep(add func(dst []byte) []byte) []byte {
	b := add(c.scratch[:0])
	if len(b) > chunkBytes/4 {
		c.scratch = nil // a large one goes as it is, and keeps no other alive
		return b
	}
	c.scratch = b
	if cap(c.free)-len(c.free) < len(b) {
		c.free = make([]byte, 0, chunkBytes)
	}
	at := len(c.free)
	c.free = append(c.free, b...)
	return c.free[at:len(c.free):len(c.free)]
}
