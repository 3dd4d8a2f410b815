package stream

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// buffered is a record that the client has and that is not acknowledged: the client's
// record, and where its bytes are. It is a context, so that the client's record can
// carry it.
type buffered struct {
	context.Context
	record kgo.Record
	span   *span
	chunk  *chunk // nil: the bytes are its own
	size   int
}

// chunk is memory of several records, used again when all are acknowledged.
type chunk struct {
	bytes   []byte
	pending int // records in it that are not acknowledged
}

const (
	// chunkBytes is small beside what waits for acknowledgement: a chunk is used again
	// when the last of its records is acknowledged.
	chunkBytes = 64 << 10
	// bufferedSlab is how many are made at once.
	bufferedSlab = 64
)

// buffer is the memory of the records that wait for their acknowledgement. It grows to
// what has to be buffered at once, which is bounded, and is used again from then on: an
// allocation for each record would cost more than the record, and so would finding
// with the collector what acknowledgements say anyway. Its caller locks.
type buffer struct {
	current *chunk   // what is taken from; nil before the first
	chunks  []*chunk // none of whose records waits
	free    []*buffered
}

// take copies a record, for the client to hold.
func (h *buffer) take(r *Record) *buffered {
	n := len(r.Key) + len(r.Value)
	var buf []byte
	var c *chunk
	if n <= chunkBytes/4 {
		c = h.room(n)
		buf = c.bytes[len(c.bytes) : len(c.bytes)+n]
		c.bytes = c.bytes[:len(c.bytes)+n]
		c.pending++
	} else {
		buf = make([]byte, n) // a large one keeps no other waiting
	}
	k := copy(buf, r.Key)
	copy(buf[k:], r.Value)
	e := h.entry()
	e.chunk, e.size = c, r.Size()
	e.record = kgo.Record{Partition: r.Partition, Headers: r.Headers, Context: e}
	if r.Key != nil {
		e.record.Key = buf[:k:k]
	}
	if r.Value != nil {
		e.record.Value = buf[k:n:n]
	}
	return e
}

// room returns a chunk that has room for n bytes.
func (h *buffer) room(n int) *chunk {
	c := h.current
	switch {
	case c != nil && c.pending == 0:
		c.bytes = c.bytes[:0]
	case c != nil && cap(c.bytes)-len(c.bytes) >= n:
	case len(h.chunks) > 0:
		last := len(h.chunks) - 1
		c = h.chunks[last]
		h.chunks = h.chunks[:last]
	default:
		c = &chunk{bytes: make([]byte, 0, chunkBytes)}
	}
	h.current = c
	return c
}

func (h *buffer) entry() *buffered {
	if len(h.free) == 0 {
		made := make([]buffered, bufferedSlab)
		for i := range made {
			made[i].Context = context.Background()
			h.free = append(h.free, &made[i])
		}
	}
	last := len(h.free) - 1
	e := h.free[last]
	h.free = h.free[:last]
	return e
}

// give takes back what the client has no use for any more.
func (h *buffer) give(e *buffered) {
	if c := e.chunk; c != nil {
		c.pending--
		if c.pending == 0 && c != h.current {
			c.bytes = c.bytes[:0]
			h.chunks = append(h.chunks, c)
		}
	}
	e.record, e.span, e.chunk = kgo.Record{}, nil, nil
	h.free = append(h.free, e)
}
