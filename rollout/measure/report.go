package measure

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/rollout"
)

// The bounds of what an application reports.
const (
	MaxReporterName = 64
	// MaxReportTime is how long a time one report can be of, MaxReportAge how old it can be.
	MaxReportTime = time.Minute
	MaxReportAge  = 10 * time.Minute
	// maxSilence is how much older a reporter's newest report may be than that of another.
	maxSilence = MaxReportTime + 30*time.Second
	// maxAhead is how far a reporter's clock may be ahead.
	maxAhead = 5 * time.Second
	// maxReported bounds the reads and the writes of one report.
	maxReported = 1e12
	// maxReporters bounds the reporters of one rollout that are told apart.
	maxReporters = 1000
)

// Report is what an application saw between two moments, of a rollout that it reads and
// writes by. A reporter's next report begins where this one ended.
type Report struct {
	Flag     string    `json:"flag"`
	Reporter string    `json:"reporter"` // a process; no two of those that share a token have one name
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Reads    Share     `json:"reads"`  // that the sides answered differently, of those that were compared
	Writes   Share     `json:"writes"` // that failed on the follower, of those that were made there
	// Leaves says that the reporter has nothing more to report: that nothing comes after is no hole.
	Leaves bool `json:"leaves,omitempty"`
}

// Validate says what makes a report none, by a clock.
func (r *Report) Validate(now time.Time) error {
	share := func(name string, s Share) error {
		switch {
		case s.Count > s.Of:
			return fmt.Errorf("%s: %d of %d: want no more than all", name, s.Count, s.Of)
		case s.Of > maxReported:
			return fmt.Errorf("%s: of %d: want at most %.0f", name, s.Of, float64(maxReported))
		}
		return nil
	}
	switch {
	case r.Flag == "":
		return errors.New("flag: want the rollout that it is of")
	case r.Reporter == "" || len(r.Reporter) > MaxReporterName || strings.ContainsFunc(r.Reporter, func(c rune) bool { return c < 0x21 || c > 0x7e }):
		return fmt.Errorf("reporter: want 1 to %d visible characters of ASCII, the process and where it runs", MaxReporterName)
	case r.From.IsZero() || !r.From.Before(r.To):
		return errors.New("from and to: want the time that it is of, like 2026-11-23T10:00:00Z, from before to")
	case r.To.Sub(r.From) > MaxReportTime:
		return fmt.Errorf("from %s to %s: want at most %s in one report", r.From.Format(time.RFC3339), r.To.Format(time.RFC3339), MaxReportTime)
	case r.To.After(now.Add(maxAhead)):
		return fmt.Errorf("to %s: that is still to come: it is %s here; see to the clocks", r.To.Format(time.RFC3339Nano), now.UTC().Format(time.RFC3339Nano))
	case now.Sub(r.From) > MaxReportAge:
		return fmt.Errorf("from %s: want at most %s ago: leave it out, and the hole shows", r.From.Format(time.RFC3339), MaxReportAge)
	}
	return errors.Join(share("reads", r.Reads), share("writes", r.Writes))
}

// Record is the report as it stands on the topic.
func (r *Report) Record() *Record {
	return &Record{Version: 3, Run: r.Reporter, From: r.From.UTC().Round(0), To: r.To.UTC().Round(0),
		Reporter: r.Reporter, Flag: r.Flag, Reads: &r.Reads, Writes: &r.Writes, Leaves: r.Leaves}
}

// reported says whether an application wrote it.
func (r *Record) reported() bool { return r.Reporter != "" }

// plus is the share of both times.
func (s *Share) plus(o *Share) *Share {
	if s == nil || o == nil {
		return nil
	}
	sum := s.and(*o)
	return &sum
}

// reports are what applications reported of one rollout, by reporter.
type reports struct {
	of   map[string]*chain
	more bool // reporters than are told apart
}

// add takes the next report. One that was told before, or overlaps what was, is left out: the first
// in the log counts, so that who tries again does not count twice.
func (p *reports) add(r *Record) {
	c := p.of[r.Reporter]
	switch {
	case c != nil && r.From.Before(c.newest().To):
		return
	case c == nil:
		maps.DeleteFunc(p.of, func(_ string, of *chain) bool { return r.To.Sub(of.newest().To) > keptHours })
		if len(p.of) >= maxReporters {
			p.more = true
			return
		}
		c = &chain{}
		p.of[r.Reporter] = c
	}
	c.add(r)
}

// over returns what all reporters said together of a window that ends with the newest report before
// a moment, and began no sooner than since; nil: nobody said anything. What one of them
// did not say is a problem. Lately, it is of what each said since its last hole.
func (p *reports) over(at time.Time, window time.Duration, since time.Time, lately bool) *Record {
	var end time.Time
	for _, c := range p.of {
		if r := c.before(at); r != nil {
			end = later(end, r.To)
		}
	}
	begin := later(end.Add(-window), since)
	var sum *Record
	var silent []string
	for _, name := range slices.Sorted(maps.Keys(p.of)) {
		c := p.of[name]
		if last := c.before(at); last != nil && !last.Leaves && last.To.After(end.Add(-window)) && end.Sub(last.To) > maxSilence {
			silent = append(silent, fmt.Sprintf("%s has reported nothing since %s", name, last.To.Format(time.RFC3339)))
		}
		one := c.reported(at, begin, since, lately)
		switch {
		case one == nil:
			continue
		case sum == nil:
			sum = one
			continue
		}
		sum.Reads, sum.Writes = sum.Reads.plus(one.Reads), sum.Writes.plus(one.Writes)
		sum.To = later(sum.To, one.To)
		if one.From.Before(sum.From) {
			sum.From = one.From
		}
		for _, text := range one.Problems {
			sum.problem(text)
		}
	}
	if sum == nil || lately {
		return sum
	}
	for _, text := range silent {
		sum.problem(text)
	}
	if p.more {
		sum.problem(fmt.Sprintf("more than %d processes report", maxReporters))
	}
	return sum
}

// reported is what one reporter said from a moment on, lately from its last hole on; nil: nothing.
func (h *chain) reported(at, begin, since time.Time, lately bool) (sum *Record) {
	for i := range h.end(at) {
		r, hole := &h.records[i], ""
		if !r.To.After(begin) || r.From.Before(since) {
			continue
		}
		if i > 0 && r.From.After(begin) {
			hole = h.records[i-1].hole(r)
		}
		switch {
		case lately && len(r.Problems) > 0: // there is a hole in what was put together
			sum = nil
		case sum == nil || lately && hole != "":
			first := *r
			if sum = &first; hole != "" && !lately {
				sum.problem(hole)
			}
		default:
			next := sum.then(r)
			sum = &next
		}
	}
	return sum
}

// reportSample is a value that applications report; false: none does.
func (r *Record) reportSample(name string) (s rollout.Sample, ok bool) {
	of := map[string]*Share{"read_mismatch": r.Reads, "write_errors": r.Writes}[name]
	if of == nil {
		return s, false
	}
	return rollout.Sample{Count: of.Count, Of: of.Of, From: r.From, To: r.To, Problem: strings.Join(r.Problems, "; ")}, true
}
