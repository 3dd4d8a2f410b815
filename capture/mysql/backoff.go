package mysql

import (
	"context"
	"math/rand/v2"
	"time"
)

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

const (
	firstWait = 50 * time.Millisecond
	maxWait   = 5 * time.Second
)

// backoff waits longer after each failure, up to maxWait, by a random part less
// so that several captures do not come back at once.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) wait(ctx context.Context) error {
	b.next = min(max(2*b.next, firstWait), maxWait)
	return pause(ctx, b.next/2+rand.N(b.next/2))
}
