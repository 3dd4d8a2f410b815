package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

const (
	// queueBytes bounds what is received and not yet handled: some thousands of
	// small rows, enough to bridge a pause of the sink. A larger
	// message comes alone.
	queueBytes = 2 << 20
	// batchBytes is the size at which received messages are passed on although
	// more have arrived: large enough that passing on costs nothing per row.
	batchBytes = 64 << 10
	// messageBytes is what a message takes besides its body.
	messageBytes = 64
	// batchMessages bounds the room that is made for the next batch beforehand.
	batchMessages = 1024
)

// message is what was received: a message of the stream, or a keepalive.
type message struct {
	body string         // "" for a keepalive
	end  lsn            // keepalive: everything that commits before it was sent
	sent schemas.Micros // server's clock; 0 if it did not say
}

type batch struct {
	texts    texts // of the receiver: where the bodies are kept
	messages []message
	bytes    int
	received time.Time // when the last of them was
}

// queue holds batches between the goroutine that receives and the one that
// delivers, up to queueBytes.
type queue struct {
	mu      sync.Mutex
	batches []batch // under mu, as is what follows
	bytes   int
	closed  bool
	err     error // why it was closed

	ready chan struct{} // of capacity 1: there is something to take, or it was closed
	room  chan struct{} // of capacity 1: something was taken
}

func newQueue() *queue {
	return &queue{ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put waits for room and appends a batch.
func (q *queue) put(ctx context.Context, b batch) error {
	for {
		q.mu.Lock()
		if q.bytes == 0 || q.bytes+b.bytes <= queueBytes {
			q.batches = append(q.batches, b)
			q.bytes += b.bytes
			q.mu.Unlock()
			signal(q.ready)
			return nil
		}
		q.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.room:
		}
	}
}

// take returns the oldest batch, false if there is none. Once the queue is
// closed and empty, it returns the reason.
func (q *queue) take() (b batch, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		if q.closed {
			err = q.err
		}
		return b, false, err
	}
	b = q.batches[0]
	q.batches[0] = batch{}
	q.batches = q.batches[1:]
	q.bytes -= b.bytes
	signal(q.room)
	return b, true, nil
}

// close says that nothing comes any more.
func (q *queue) close(err error) {
	q.mu.Lock()
	q.closed, q.err = true, err
	q.mu.Unlock()
	signal(q.ready)
}

// signal wakes who waits on a channel of capacity 1, now or later.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
