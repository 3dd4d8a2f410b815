package measure

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

// How long records are kept as they were written, and by the minute; behind that by the
// hour, as long as a gate's window can be.
const (
	keptWhole   = time.Hour
	keptMinutes = 24 * time.Hour
	keptHours   = schemas.MaxGateWindow + time.Hour
)

// History is what was measured of a migration, from the oldest to the newest. It is for
// one goroutine.
type History struct {
	// chains are by run, of processes that share the partitions; one without a name is of those that compare all, one
	// after the other.
	chains map[string]*chain
	// reports are by rollout, of applications.
	reports map[string]*reports
}

// maxBeside is how much older the newest record of a process may be than that of another, for both to be there.
const maxBeside = 30 * time.Second

// chainOf is the name of the chain that a record belongs to.
func chainOf(r *Record) string {
	if !r.part() {
		return ""
	}
	return r.Run
}

// Add takes the next record.
func (h *History) Add(r *Record) {
	if r.reported() {
		if h.reports == nil {
			h.reports = map[string]*reports{}
		}
		if h.reports[r.Flag] == nil {
			h.reports[r.Flag] = &reports{of: map[string]*chain{}}
		}
		h.reports[r.Flag].add(r)
		return
	}
	c := h.chains[chainOf(r)]
	if c == nil {
		if h.chains == nil {
			h.chains = map[string]*chain{}
		}
		maps.DeleteFunc(h.chains, func(_ string, of *chain) bool { return r.To.Sub(of.newest().To) > keptHours })
		c = &chain{}
		h.chains[chainOf(r)] = c
	}
	c.add(r)
}

// Has says whether the record, or a later one of its process, was added. Reports say so themselves.
func (h *History) Has(r *Record) bool {
	if r.reported() {
		return false
	}
	c := h.chains[chainOf(r)]
	return c != nil && !r.To.After(c.newest().To)
}

// ComparedTo is up to when all partitions were compared by the newest records before a moment;
// zero: that is not known.
func (h *History) ComparedTo(at time.Time) time.Time {
	if r := h.Over(at, 0, time.Time{}); r != nil && len(r.Problems) == 0 {
		return r.Frontier
	}
	return time.Time{}
}

// Over returns what was measured in a window that ends with the newest record before a
// moment, and began no sooner than since; nil: nothing was. Where records were put
// together, or since lies within one, it is of the whole records: the one in which the
// window begins belongs to it, the one in which since lies does not. Of processes that
// share the partitions it is what they measured together.
func (h *History) Over(at time.Time, window time.Duration, since time.Time) *Record {
	return h.together(at, func(c *chain, more time.Duration) *Record { return c.over(at, window+more, since) })
}

// Lately is Over from the last hole on: what a guard judges by, to whom what is missing
// before is no reason to wait. Where the newest record has a problem it is that alone.
func (h *History) Lately(at time.Time, window time.Duration, since time.Time) *Record {
	return h.together(at, func(c *chain, more time.Duration) *Record { return c.lately(at, window+more, since) })
}

// together puts together what the processes say that are there at a moment: of so much more
// than the window as the newest record of one is younger than that of another.
func (h *History) together(at time.Time, say func(c *chain, more time.Duration) *Record) *Record {
	there := h.there(at)
	if len(there) == 0 {
		return nil
	}
	end := at
	for _, c := range there {
		if r := c.before(at); r.To.Before(end) {
			end = r.To
		}
	}
	said := make([]*Record, len(there))
	for i, c := range there {
		if said[i] = say(c, c.before(at).To.Sub(end)); said[i] == nil {
			return nil
		}
	}
	if len(said) == 1 && !said[0].part() {
		return said[0]
	}
	return beside(said)
}

// there are the chains of the processes that are there at a moment, in the order of their runs.
// A process whose partitions have become all of them, or no more all, is in the later one.
func (h *History) there(at time.Time) (out []*chain) {
	var all []*chain
	for _, name := range slices.Sorted(maps.Keys(h.chains)) {
		all = append(all, h.chains[name])
	}
	var newest time.Time
	latest := map[string]time.Time{} // by run
	for _, c := range all {
		if r := c.before(at); r != nil {
			newest, latest[r.Run] = later(newest, r.To), later(latest[r.Run], r.To)
		}
	}
	for _, c := range all {
		if r := c.before(at); r != nil && newest.Sub(r.To) <= maxBeside && r.To.Equal(latest[r.Run]) {
			out = append(out, c)
		}
	}
	return out
}

// chain is what one process measured after the other, from the oldest to the newest; there is always a record.
type chain struct {
	records []Record
	fresh   int // how many were added since records were last put together
}

// thinEvery is after how many records that is done again.
const thinEvery = 1024

func (h *chain) add(r *Record) {
	h.records = append(h.records, *r)
	if h.fresh++; h.fresh == thinEvery {
		h.thin(r.To)
	}
}

// thin puts records together that are old enough, and forgets the oldest.
func (h *chain) thin(now time.Time) {
	h.fresh = 0
	out := make([]Record, 0, len(h.records))
	for i := range h.records {
		r := &h.records[i]
		age := now.Sub(r.To)
		step := time.Hour
		switch {
		case age > keptHours:
			continue
		case age <= keptWhole:
			step = 0
		case age <= keptMinutes:
			step = time.Minute
		}
		if last := len(out) - 1; last >= 0 && step > 0 && out[last].From.Truncate(step).Equal(r.From.Truncate(step)) {
			out[last] = out[last].then(r)
			continue
		}
		out = append(out, *r)
	}
	h.records = out
}

func (h *chain) newest() *Record { return &h.records[len(h.records)-1] }

// end is behind the newest record that ends before a moment.
func (h *chain) end(at time.Time) int {
	end := len(h.records)
	for end > 0 && h.records[end-1].To.After(at) {
		end--
	}
	return end
}

// before is the newest record that ends before a moment; nil: there is none.
func (h *chain) before(at time.Time) *Record {
	if end := h.end(at); end > 0 {
		return &h.records[end-1]
	}
	return nil
}

func (h *chain) over(at time.Time, window time.Duration, since time.Time) *Record {
	end := h.end(at)
	begin := end
	for begin > 0 && !h.records[begin-1].From.Before(since) && (begin == end || h.records[end-1].To.Sub(h.records[begin].From) < window) {
		begin--
	}
	if begin == end {
		return nil
	}
	sum := h.records[begin]
	for i := begin + 1; i < end; i++ {
		sum = sum.then(&h.records[i])
	}
	return &sum
}

func (h *chain) lately(at time.Time, window time.Duration, since time.Time) *Record {
	end := h.end(at)
	for begin := end - 1; begin >= 0; begin-- {
		r := &h.records[begin]
		if begin+1 < end && (len(r.Problems) > 0 || len(h.records[begin+1].Problems) > 0 || r.hole(&h.records[begin+1]) != "") {
			since = later(since, h.records[begin+1].From)
			break
		}
		if h.records[end-1].To.Sub(r.From) >= window {
			break
		}
	}
	return h.over(at, window, since)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Measured is what criteria of a rollout judge by at a moment: a sample of each of their values for
// each of their windows, and of the longest window also by the value's name alone.
func (h *History) Measured(flag string, criteria []schemas.Criterion, at, since time.Time) rollout.Measured {
	return h.measuredBy(h.Over, flag, criteria, at, since, false)
}

// MeasuredLately is Measured from the last hole on.
func (h *History) MeasuredLately(flag string, criteria []schemas.Criterion, at, since time.Time) rollout.Measured {
	return h.measuredBy(h.Lately, flag, criteria, at, since, true)
}

func (h *History) measuredBy(over func(time.Time, time.Duration, time.Time) *Record, flag string, criteria []schemas.Criterion, at, since time.Time, lately bool) rollout.Measured {
	m := rollout.Measured{At: at.UTC(), Samples: map[string]rollout.Sample{}}
	longest := map[string]time.Duration{}
	for _, c := range criteria {
		sum := over(at, c.Window, since)
		if sum == nil {
			continue
		}
		m.Frontier, m.CoveredAt = sum.Frontier, sum.CoveredAt
		var said *Record
		if p := h.reports[flag]; p != nil {
			said = p.over(at, c.Window, since, lately)
		}
		for _, name := range c.Condition.Names() {
			s, ok := sum.sample(name)
			if !ok && said != nil {
				s, ok = said.reportSample(name)
			}
			if !ok {
				continue
			}
			m.Samples[rollout.SampleOver(name, c.Window)] = s
			if c.Window >= longest[name] {
				m.Samples[name], longest[name] = s, c.Window
			}
		}
	}
	return m
}

// sample is a value of schemas.Measures; false: a pipeline does not measure it.
func (r *Record) sample(name string) (rollout.Sample, bool) {
	s := rollout.Sample{Of: r.Looks, From: r.From, To: r.To, Problem: strings.Join(r.Problems, "; ")}
	share := func(of Share) { s.Count, s.Of = of.Count, of.Of }
	length := func(l Lengths) {
		s.Value, s.Of = rollout.Number(float64(l.within(0.99))/float64(time.Millisecond)), l.count()
	}
	switch name {
	case "divergence":
		of := max(r.LegacyWrites, r.TargetWrites)
		share(Share{min(r.Diverged, of), of})
	case "unknown":
		share(r.Unknown)
	case "uncovered":
		share(r.Uncovered)
	case "open_divergences":
		s.Value = rollout.Number(r.Open)
	case "schema_mismatches":
		s.Value = rollout.Number(r.Schema)
	case "repair_failures":
		s.Value = rollout.Number(r.Failed)
	case "repair_backlog":
		if r.Backlog == nil {
			return s, false
		}
		s.Value = rollout.Number(*r.Backlog)
	case "time_to_consistency_p99_ms":
		length(r.Consistency)
	case "detection_delay_p99_ms":
		length(r.Detection)
	case "legacy_lag_ms":
		s.Value = rollout.Number(r.LegacyLag)
	case "target_lag_ms":
		s.Value = rollout.Number(r.TargetLag)
	default:
		return s, false
	}
	return s, true
}

// Windows returns the longest window of criteria.
func Windows(criteria []schemas.Criterion) (longest time.Duration) {
	if len(criteria) == 0 {
		return 0
	}
	return slices.MaxFunc(criteria, func(a, b schemas.Criterion) int { return int(a.Window - b.Window) }).Window
}
