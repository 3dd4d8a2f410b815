package compensate

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Status is what a Runner is at.
type Status struct {
	Paused      bool
	Live        int                      // compensations that wait for a person or to be written
	Waiting     int                      // those of them that wait for a person
	Unconfirmed int                      // divergences that were written for and are not closed yet
	Results     map[schemas.Result]int64 // outcomes published since the start
	Quarantined int64                    // records that are no events
	Problem     string                   // what keeps it from going on, "" if nothing does
}

// Status returns a snapshot; it may be called at any time.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Results = maps.Clone(s.Results)
	s.Paused = r.paused.Load()
	return s
}

// report takes the snapshot that Status gives.
func (r *Runner) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.status
	s.Live, s.Unconfirmed, s.Results = len(r.book.live), len(r.book.written), maps.Clone(r.book.results)
	s.Waiting = 0
	if s.Live == 0 {
		s.Problem = "" // nothing is left that it could keep from being written
	}
	for _, en := range r.book.live {
		if en.state == waiting {
			s.Waiting++
		}
	}
}

// problem is said once when it begins, and once when it is over.
func (r *Runner) problem(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	r.mu.Lock()
	before := r.status.Problem
	r.status.Problem = text
	r.mu.Unlock()
	switch {
	case text != "" && before == "":
		r.log.Warn("store does not answer; waiting", "err", err)
	case text == "" && before != "":
		r.log.Info("store answers again")
	}
}

// wait lets some time pass before a store is asked again.
func (r *Runner) wait(ctx context.Context) error {
	timer := time.NewTimer(r.cfg.RetryEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for the store: %w", ctx.Err())
	case <-timer.C:
		return nil
	}
}
