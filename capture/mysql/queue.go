package mysql

import (
	"context"
	"sync"
	"time"
)

// packet is one event as it came from the server.
type packet struct {
	raw      []byte    // header, body, checksum
	received time.Time // capture's clock
}

// queue carries packets from the connection to the decoder. It is bounded in
// bytes: rows have any size, and a full queue makes the server wait.
type queue struct {
	capacity int

	mu     sync.Mutex
	items  []packet // guarded by mu, like the rest
	bytes  int
	err    error         // ends the queue, once it is empty
	ready  chan struct{} // has room for one: something was put, or the queue ended
	room   chan struct{} // has room for one: something was taken
	closed bool          // nobody takes any more
}

func newQueue(capacity int) *queue {
	return &queue{capacity: capacity, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put waits for room. A packet that is larger than the queue goes in alone. It
// returns false when nobody takes any more. One goroutine puts.
func (q *queue) put(p packet) bool {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return false
		}
		if q.bytes == 0 || q.bytes+len(p.raw) <= q.capacity {
			q.items = append(q.items, p)
			q.bytes += len(p.raw)
			q.mu.Unlock()
			signal(q.ready)
			return true
		}
		q.mu.Unlock()
		<-q.room
	}
}

// end says that nothing more comes, and why.
func (q *queue) end(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.mu.Unlock()
	signal(q.ready)
}

// close says that nothing more is taken.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	signal(q.room)
}

// take returns everything that waits, in order; if nothing does, it waits until
// something comes, wake or news fires or ctx is done, and may return nothing. The error
// of end comes after the last packet. One goroutine takes.
func (q *queue) take(ctx context.Context, wake <-chan time.Time, news <-chan struct{}, into []packet) ([]packet, error) {
	for waited := false; ; waited = true {
		q.mu.Lock()
		into, q.items = q.items, into[:0]
		q.bytes = 0
		err := q.err
		q.mu.Unlock()
		if len(into) > 0 {
			signal(q.room)
			return into, nil
		}
		if err != nil || waited {
			return into, err
		}
		select {
		case <-q.ready:
		case <-wake:
		case <-news:
		case <-ctx.Done():
			return into, ctx.Err()
		}
	}
}
