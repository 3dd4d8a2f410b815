package measure

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/trueup-io/trueup/internal/lengths"
)

// Version of the records that this package understands. It writes the least that has what a record
// says: 2 has records of some partitions alone; 3 is what an application reports.
const Version = 3

const (
	// maxOpened is how many keys a record names: a spread over more is no matter of a few keys.
	maxOpened = 50
	// maxProblems bounds what is said to be wrong; the first ones say enough.
	maxProblems = 5
)

// Record is what one process measured between two moments.
type Record struct {
	Version int       `json:"v"`
	Run     string    `json:"run"` // no two starts of a process have one
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	// Frontier is that of the side which is further behind, over all partitions; zero: not known.
	Frontier time.Time `json:"frontier"`
	// CoveredAt is up to when every key is compared; zero: some are not.
	CoveredAt time.Time `json:"covered_at"`

	Looks        uint64 `json:"looks"`         // how often was looked at what stands
	LegacyWrites uint64 `json:"legacy_writes"` // writes of a side that were compared
	TargetWrites uint64 `json:"target_writes"`
	Diverged     uint64 `json:"diverged"` // divergences that were opened
	Failed       uint64 `json:"failed"`   // repairs that were refused, or that the store refused

	// Of what stands, the worst that was seen.
	Unknown   Share   `json:"unknown"`
	Uncovered Share   `json:"uncovered"`
	Open      uint64  `json:"open"`
	Schema    uint64  `json:"schema"`
	Backlog   *uint64 `json:"backlog,omitempty"` // nil: this process repairs nothing, and does not know
	LegacyLag uint64  `json:"legacy_lag_ms"`
	TargetLag uint64  `json:"target_lag_ms"`

	Consistency Lengths `json:"consistency,omitempty"`
	Detection   Lengths `json:"detection,omitempty"`

	// Opened are the keys whose divergences were opened, as rollouts ask for them, each once; OpenedMore is 0 if these are
	// all, and otherwise the most divergences at a time whose keys are not named.
	Opened     [][]string `json:"opened,omitempty"`
	OpenedMore uint64     `json:"opened_more,omitempty"`
	// Problems say why this is not all there is; none: it is.
	Problems []string `json:"problems,omitempty"`

	// Of is how many partitions there are, where the process compares some of them, and Partitions are which; 0: it
	// compares all.
	Of         int     `json:"of,omitempty"`
	Partitions []int32 `json:"partitions,omitempty"`

	// Reporter is the process of an application that wrote it, Flag the rollout that it is of, and Leaves that it
	// reports no more; empty: a pipeline did. Reads and Writes are what it saw, and nothing else is.
	Reporter string `json:"reporter,omitempty"`
	Flag     string `json:"flag,omitempty"`
	Reads    *Share `json:"reads,omitempty"`
	Writes   *Share `json:"writes,omitempty"`
	Leaves   bool   `json:"leaves,omitempty"`

	first string // the run that began it, where records of several were put together; empty: Run
}

// began is the run that began it.
func (r *Record) began() string {
	if r.first != "" {
		return r.first
	}
	return r.Run
}

// part says whether it is of some partitions alone.
func (r *Record) part() bool { return r.Of > 0 }

// Share is how many of many.
type Share struct {
	Count uint64 `json:"count"`
	Of    uint64 `json:"of"`
}

// worse returns the larger of two shares; of equal ones that of more.
func (s Share) worse(o Share) Share {
	switch a, b := float64(s.Count)*float64(o.Of), float64(o.Count)*float64(s.Of); {
	case o.Of == 0 || s.Of > 0 && a > b:
		return s
	case s.Of == 0 || a < b || o.Of > s.Of:
		return o
	}
	return s
}

// Lengths counts lengths of time by lengths.Step.
type Lengths map[int]uint64

func (l *Lengths) add(d time.Duration) {
	if *l == nil {
		*l = Lengths{}
	}
	(*l)[lengths.Step(d)]++
}

// plus adds up two counts, and changes neither.
func (l Lengths) plus(o Lengths) Lengths {
	if len(o) == 0 {
		return l
	}
	out := maps.Clone(o)
	for step, n := range l {
		out[step] += n
	}
	return out
}

func (l Lengths) count() (n uint64) {
	for _, of := range l {
		n += of
	}
	return n
}

// within is a length that so large a share did not exceed.
func (l Lengths) within(share float64) time.Duration {
	return lengths.Within(share, l.count(), func(step int) uint64 { return l[step] })
}

// Encode returns the record as a message's value.
func (r *Record) Encode() ([]byte, error) { return json.Marshal(r) }

// ErrNewer is a record that a newer Trueup wrote.
var ErrNewer = errors.New("written by a newer Trueup")

// Decode reads a message's value. Fields that are not known are left alone: whoever adds
// one that changes what the others mean gives records a new version.
func Decode(value []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, fmt.Errorf("no record of what was measured: %w", err)
	}
	switch {
	case r.Version > Version:
		return nil, fmt.Errorf("version %d: %w", r.Version, ErrNewer)
	case r.Version < 1 || r.Run == "" || r.From.IsZero() || r.To.Before(r.From):
		return nil, errors.New("no record of what was measured: it needs a version, a run and a time")
	case r.reported() && (r.Version < 3 || r.Flag == "" || r.Reads == nil || r.Writes == nil || r.Run != r.Reporter):
		return nil, errors.New("no report: it needs a rollout, reads and writes")
	}
	return &r, nil
}

// opened names a key whose divergence was opened, once; false: there is no room.
func (r *Record) opened(key []string) bool {
	switch {
	case slices.ContainsFunc(r.Opened, func(named []string) bool { return slices.Equal(named, key) }):
	case len(r.Opened) < maxOpened:
		r.Opened = append(r.Opened, key)
	default:
		return false
	}
	return true
}

// problem notes what is wrong, once.
func (r *Record) problem(text string) {
	if len(r.Problems) < maxProblems && !slices.Contains(r.Problems, text) {
		r.Problems = append(slices.Clip(r.Problems), text)
	}
}

// hole says what lies between a record and the next one; empty: nothing.
func (r *Record) hole(next *Record) string {
	switch {
	case next.From.Before(r.To):
		return fmt.Sprintf("two processes measured at %s", next.From.Format(time.RFC3339))
	case next.From.After(r.To) && r.Leaves: // and has come back
		return ""
	case next.From.After(r.To):
		return fmt.Sprintf("not measured from %s to %s", r.To.Format(time.RFC3339), next.From.Format(time.RFC3339))
	case next.began() != r.Run:
		return fmt.Sprintf("started anew at %s", next.From.Format(time.RFC3339))
	case r.Of != next.Of || !slices.Equal(r.Partitions, next.Partitions):
		return fmt.Sprintf("other partitions were compared from %s on", next.From.Format(time.RFC3339))
	}
	return ""
}

// then returns what was measured over both times, of which next is the later; neither is
// changed.
func (r Record) then(next *Record) Record {
	r.Problems = slices.Clip(r.Problems)
	if text := r.hole(next); text != "" {
		r.problem(text)
	}
	for _, text := range next.Problems {
		r.problem(text)
	}
	r.first = r.began()
	r.Run, r.Frontier, r.CoveredAt = next.Run, next.Frontier, next.CoveredAt
	r.Of, r.Partitions = next.Of, next.Partitions
	if next.To.After(r.To) {
		r.To = next.To
	}
	r.Looks += next.Looks
	r.LegacyWrites, r.TargetWrites = r.LegacyWrites+next.LegacyWrites, r.TargetWrites+next.TargetWrites
	r.Diverged, r.Failed = r.Diverged+next.Diverged, r.Failed+next.Failed
	r.Unknown, r.Uncovered = r.Unknown.worse(next.Unknown), r.Uncovered.worse(next.Uncovered)
	r.Open, r.Schema = max(r.Open, next.Open), max(r.Schema, next.Schema)
	r.LegacyLag, r.TargetLag = max(r.LegacyLag, next.LegacyLag), max(r.TargetLag, next.TargetLag)
	if r.Backlog == nil || next.Backlog == nil { // what is not known once is not known
		r.Backlog = nil
	} else if *next.Backlog > *r.Backlog {
		r.Backlog = next.Backlog
	}
	r.Reads, r.Writes, r.Leaves = r.Reads.plus(next.Reads), r.Writes.plus(next.Writes), next.Leaves
	r.Consistency, r.Detection = next.Consistency.plus(r.Consistency), next.Detection.plus(r.Detection)
	r.Opened, r.OpenedMore = slices.Clip(r.Opened), max(r.OpenedMore, next.OpenedMore)
	for _, key := range next.Opened {
		if !r.opened(key) {
			r.OpenedMore = max(r.OpenedMore, 1)
		}
	}
	return r
}
