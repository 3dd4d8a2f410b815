package baseline

import (
	"time"
)

// EntityStatus is how the baseline of an entity stands on a side.
type EntityStatus struct {
	Entity string
	// Covered: every row was read, and what was read is durable in the log.
	Covered bool
	Reading bool
	Rows    int64 // read, before an interruption too
	Total   int64 // an estimate; 0: not known
	After   []string
	Rate    float64       // rows/s
	Left    time.Duration // an estimate; 0: not known
	Problem string        // why it does not go on; empty: nothing is wrong
	// Unordered says why it is not read in step with the other side, nor covered range by range, once that is known;
	// empty: it is.
	Unordered string
}

// progress is what a Runner knows of an entity; under its mu.
type progress struct {
	covered bool
	reading bool
	rows    int64
	total   int64
	after   []string
	problem string

	unordered string

	began     time.Time
	rowsBegan int64
}

// Status returns how each entity of the side stands, in the order of the rules.
func (r *Runner) Status() []EntityStatus {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []EntityStatus
	for _, e := range r.entities() {
		p := r.status[e.Name]
		s := EntityStatus{Entity: e.Name, Covered: p.covered, Reading: p.reading, Rows: p.rows, Total: p.total, After: p.after, Problem: p.problem, Unordered: p.unordered}
		if p.covered || s.Total < s.Rows {
			s.Total = s.Rows
		}
		if seconds := now.Sub(p.began).Seconds(); p.reading && seconds > 0 {
			s.Rate = float64(p.rows-p.rowsBegan) / seconds
			if s.Rate > 0 && s.Total > s.Rows {
				s.Left = time.Duration(float64(s.Total-s.Rows) / s.Rate * float64(time.Second)).Round(time.Second)
			}
		}
		all = append(all, s)
	}
	return all
}

// Idle says that nothing that is wanted is left to read: it is covered, or has
// a problem.
func (r *Runner) Idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.want {
		if p := r.status[name]; p != nil && !p.covered && p.problem == "" {
			return false
		}
	}
	return true
}
