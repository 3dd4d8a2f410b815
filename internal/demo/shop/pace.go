package shop

import (
	"context"
	"sync/atomic"
	"time"
)

// pace spreads changes evenly over a time. Who is late writes at once.
type pace struct {
	start  time.Time
	length time.Duration
	total  int64
	issued atomic.Int64
}

// next waits for the moment at which the next write is due, and says whether
// there is one. A write of n changes moves the moment of the one after it.
func (p *pace) next(ctx context.Context, n int) bool {
	before := p.issued.Add(int64(n)) - int64(n)
	if before >= p.total {
		return false
	}
	due := p.start.Add(time.Duration(float64(p.length) * float64(before) / float64(p.total)))
	return sleepUntil(ctx, due)
}

// sleepUntil says whether t came before ctx ended.
func sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
