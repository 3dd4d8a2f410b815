package compensate

import (
	"context"
	"fmt"
	"maps"
	"strings"
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
	Breakers    []Breaker                // open ones, by id
	Held        map[string]int           // ready to be written but for a guard, by reason
	Rules       []RuleStatus             // in the order of the file
	// Overdue counts repairs that were written and whose echo should have come back; OldestOverdue is one of them.
	Overdue       int
	OldestOverdue string
	Forged        int64  // records on the compensations topic that Trueup did not put there
	Quarantined   int64  // records that are no events
	Problem       string // what keeps it from going on, "" if nothing does
}

// Status returns a snapshot; it may be called at any time.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Results, s.Held = maps.Clone(s.Results), maps.Clone(s.Held)
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
	r.book.guardStatus(s)
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

// RuleStatus is what a rule has had to do.
type RuleStatus struct {
	Entity string
	Rule   string // its version
	Policy string
	Mode   string
	Hits   int64 // divergence events that it was chosen for, restarts included
}

// guardStatus is the part of a Status that guards and rules have.
func (b *book) guardStatus(s *Status) {
	s.Breakers, s.Held, s.Rules = b.breakers.sorted(), maps.Clone(b.holds), nil
	for _, e := range b.rules.Entities() {
		for _, rule := range e.Compensate.All() {
			key := ruleKey(e.Name, rule)
			_, version, _ := strings.Cut(key, "/")
			s.Rules = append(s.Rules, RuleStatus{e.Name, version, rule.Policy, rule.Mode, b.hits[key]})
		}
	}
	s.Overdue, s.OldestOverdue = 0, ""
	var oldest time.Time
	for _, w := range b.written {
		e, ok := b.rules.Entity(w.last.Entity)
		if !ok || b.now().Sub(w.at) < e.Compensate.Guards.EchoWithin+e.SettleWindow {
			continue
		}
		s.Overdue++
		if oldest.IsZero() || w.at.Before(oldest) {
			oldest, s.OldestOverdue = w.at, w.last.ID
		}
	}
}
