package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
)

const (
	// confirmEvery is how soon the server learns what has become durable: often
	// enough that a shutdown does not wait for us.
	confirmEvery = 100 * time.Millisecond
	// statusEvery is how often at least it hears from us.
	statusEvery = 10 * time.Second
)

// positions are how far a run is.
//
// Invariant: confirmed <= handed, and confirmed was acknowledged by the sink
// or stood durably before the run.
type positions struct {
	handed    atomic.Uint64 // the latest resume that the sink was given; written by the delivering goroutine
	confirmed atomic.Uint64 // the latest that the server was told; written by whoever confirms
	acked     func() (capture.Resume, bool)
}

// flushed returns what the server may forget.
func (p *positions) flushed() (lsn, error) {
	confirmed := lsn(p.confirmed.Load())
	resume, ok := p.acked()
	if !ok {
		return confirmed, nil
	}
	acked, err := parseResume(resume)
	if err != nil {
		return 0, fmt.Errorf("acknowledged position: %w", err)
	}
	at := acked.at
	if handed := lsn(p.handed.Load()); at > handed {
		return 0, fmt.Errorf("the sink acknowledges %s, but was given %s at most", at, handed)
	}
	if at > confirmed {
		p.confirmed.Store(uint64(at))
		return at, nil
	}
	return confirmed, nil
}

// confirm sends the stream's status until ctx is done: when the server or we
// want one, soon after something became durable, and from time to time.
func (s *stream) confirm(ctx context.Context, p *positions, every time.Duration) error {
	tick := time.NewTicker(confirmEvery)
	defer tick.Stop()
	var told lsn
	var at time.Time
	for {
		answer, due := false, false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.reply:
			due = true
		case <-s.ping:
			answer, due = true, true
		case <-tick.C:
			if time.Since(at) >= every {
				answer, due = true, true
			}
		}
		flushed, err := p.flushed()
		if err != nil {
			return &sinkError{err}
		}
		if !due && flushed == told {
			continue
		}
		if flushed != told {
			crash.Site("capture.postgres.before_confirm")
		}
		if err := s.status(lsn(p.handed.Load()), flushed, answer); err != nil {
			return err
		}
		if flushed != told {
			crash.Site("capture.postgres.after_confirm")
		}
		told, at = flushed, time.Now()
	}
}

// sinkError is an error of the sink: no new connection mends it.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }

func (e *sinkError) Unwrap() error { return e.err }
