package postgres

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 10 * time.Second
)

// backoff waits longer from one attempt to the next.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// wait waits, give or take a quarter so that many clients do not come at once.
func (b *backoff) wait(ctx context.Context) error {
	b.next = min(max(backoffMin, 2*b.next), backoffMax)
	t := time.NewTimer(b.next*3/4 + rand.N(b.next/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
