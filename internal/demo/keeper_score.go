package demo

import (
	"slices"
	"time"
)

// score fills in what the keeper knows.
func (k *keeper) score(s *Scorecard) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.Changes = k.changes
	s.Planted, s.Found = ByKind{}, ByKind{}
	s.Healed = 0
	for _, p := range k.faults {
		if !p.done {
			continue
		}
		*s.Planted.of(p.Kind)++
		if p.found() {
			*s.Found.of(p.Kind)++
		}
		if p.healed() {
			s.Healed++
		}
	}
	s.False = k.falseOnes
	s.Missed = s.Planted.total() - s.Found.total()
	s.LagSpell = LagSpell{Seconds: secondsOf(k.lag.held), False: k.lag.falseOnes}
	s.TimeToConsistency, s.DetectDelay = k.between.quantiles(), k.delay.quantiles()
}

func (p *planted) found() bool {
	return !slices.ContainsFunc(p.places, func(e *expectation) bool { return e.openedAt.IsZero() })
}

func (p *planted) healed() bool {
	return !slices.ContainsFunc(p.places, func(e *expectation) bool { return e.closedAt.IsZero() })
}

// healed counts the faults that were found and healed, per kind.
func (k *keeper) healed() ByKind {
	k.mu.Lock()
	defer k.mu.Unlock()
	var n ByKind
	for _, p := range k.faults {
		if p.done && p.healed() {
			*n.of(p.Kind)++
		}
	}
	return n
}

// settled says whether everything planted was found and healed and nothing else
// is open, and when the last event was heard.
func (k *keeper) settled() (bool, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.faults {
		if !p.healed() {
			return false, k.lastEvent
		}
	}
	for _, f := range k.findings {
		if !f.healed() {
			return false, k.lastEvent
		}
	}
	return true, k.lastEvent
}
