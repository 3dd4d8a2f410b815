// Package story tells the whole life of one divergence: the two histories of its
// key side by side in time, what differs, which transactions, writers and traces
// wrote it, the events of the divergence, and what was done about it.
//
// It promises that everything comes from the log: the histories are read back
// from the changes topic around the positions of the events, never from a store.
// What the log no longer has is said to be missing, and the evidence of the
// events stands in for it. A value of a row, or of a tag, is inert in every form
// that is written here: no terminal obeys it and no browser runs it.
//
//	Read → Story → Text, JSON or HTML
package story

import (
	"cmp"
	"slices"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Story is one divergence and everything that the log says of its key around it.
type Story struct {
	Migration string
	Owner     string        // who reconciles; may be empty
	Window    time.Duration // the entity's settle window
	Fields    []string      // the entity's fields in their order, keys included

	Divergence schemas.Divergence // as its latest event leaves it
	Events     []Event            // in order
	Versions   []Version          // of both sides, in order of time
	Repairs    []Repair           // in order
	Marks      []Mark             // what else happened to the sides meanwhile
	Equal      []Equal            // of one that was closed: what the stores hold otherwise, and is the same
	Range      Range
}

// Event is an event of the divergence and when it was published.
type Event struct {
	schemas.Divergence
	Published time.Time
}

// Version is one version of the key on one side.
type Version struct {
	*schemas.Change
	Offset  int64          // in the partition; -1: it is known from an event's evidence alone
	Written time.Time      // when it came to the log; zero where Offset is -1
	At      schemas.Micros // CommitTS on our clock, as far as the clock's offset is known
	Values  map[string]*string
	Changed []Difference // against the side's version before; of the first one nothing
	First   bool         // no earlier version of its side is known here
	Roles   []Role
	// Same is the index of the other side's version with the same compared values, -1 if there is none; it is set of the
	// follower's versions.
	Same int
}

// absent says that the row is not there any more.
func (v *Version) absent() bool { return v.Op == schemas.OpDelete }

// valuesLost says that the version is known from evidence that carries no values,
// and the log no longer has it.
func (v *Version) valuesLost() bool { return v.Values == nil && !v.absent() }

// Difference is a field that two versions have differently. A nil text is NULL if
// the value is known, which HadValue and HasValue say.
type Difference struct {
	Field              string
	Was, Is            *string
	HadValue, HasValue bool
}

// Role is what a version is to the divergence.
type Role string

// The roles.
const (
	Cause  Role = "cause"  // the divergence began with it
	Judged Role = "judged" // the latest event that found a difference rests on it
	Closer Role = "closer" // it made the sides equal
	Echo   Role = "echo"   // it is a repair, seen coming back
	Paired Role = "paired" // of a Key: its verdict rests on it
)

// Repair is a compensation and what became of it.
type Repair struct {
	schemas.Compensation
	Outcomes  []schemas.Outcome
	Decisions []schemas.Decision
}

// Mark is something of a side, or of the rules, that happened meanwhile.
type Mark struct {
	At     schemas.Micros
	Side   schemas.Side // 0: both
	Offset int64
	What   string
}

// Range is what was read of the changes topic.
type Range struct {
	Partition int32
	From, To  int64 // offsets; To excluded
	// Cut says that the log begins later than was wanted: earlier versions are gone from it.
	Cut bool
}

// merge puts the versions of both sides in order of time. Each side's own order
// is the log's.
func merge(sides [3][]Version) []Version {
	out := make([]Version, 0, len(sides[schemas.Legacy])+len(sides[schemas.Target]))
	a, b := sides[schemas.Legacy], sides[schemas.Target]
	for len(a) > 0 && len(b) > 0 {
		if cmp.Or(cmp.Compare(a[0].At, b[0].At), cmp.Compare(a[0].Offset, b[0].Offset)) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// explain says of each version what it changed, what it is to the divergence,
// and which version of the authority it equals.
func (s *Story) explain(e *schemas.Entity) {
	d := &s.Divergence
	repairs := map[string]bool{}
	for i := range s.Repairs {
		repairs[s.Repairs[i].ID] = true
	}
	var before [3]*Version
	for i := range s.Versions {
		v := &s.Versions[i]
		v.Same = -1
		if was := before[v.Side]; was != nil {
			v.Changed = changed(e, was.Values, v.Values)
		} else {
			v.First = true
		}
		before[v.Side] = v
		is := func(evidence *schemas.Evidence) bool { return evidence != nil && evidence.EventID == v.EventID }
		if is(d.Cause) {
			v.Roles = append(v.Roles, Cause)
		}
		if is(d.Authority) || is(d.Follower) {
			v.Roles = append(v.Roles, Judged)
		}
		if repairs[v.Tag.CompensationID] {
			v.Roles = append(v.Roles, Echo)
		}
		if is(d.ClosedBy) {
			v.Roles = append(v.Roles, Closer)
		}
	}
	for i := range s.Versions {
		if v := &s.Versions[i]; v.Side == d.Side.Other() {
			v.Same = s.partner(e, v)
		}
	}
}

// partner is the authority's version that a follower's version is: the one with
// the same write id, else the latest that was there, else the first after it.
func (s *Story) partner(e *schemas.Entity, v *Version) int {
	found := -1
	for i := range s.Versions {
		a := &s.Versions[i]
		if a.Side == v.Side || a.valuesLost() || v.valuesLost() || a.absent() != v.absent() || len(e.Diff(a.Values, v.Values)) > 0 {
			continue
		}
		if v.Tag.WriteID != "" && a.Tag.WriteID == v.Tag.WriteID {
			return i
		}
		if found < 0 || a.At <= v.At {
			found = i
		}
	}
	return found
}

// changed lists the fields that a version has otherwise than the one before,
// ignored ones too.
func changed(e *schemas.Entity, was, is map[string]*string) []Difference {
	if was == nil || is == nil {
		return nil
	}
	var out []Difference
	for i := range e.Fields {
		name := e.Fields[i].Name
		x, had := was[name]
		y, has := is[name]
		if had != has || had && !sameText(x, y) {
			out = append(out, Difference{Field: name, Was: x, Is: y, HadValue: had, HasValue: has})
		}
	}
	return out
}

func sameText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Traces lists the trace ids that writers typed, each once, in order of time.
func (s *Story) Traces() []string {
	var out []string
	for i := range s.Versions {
		if id := traceID(s.Versions[i].Tag.Traceparent); id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// traceID is the trace id of a W3C traceparent; what has another form is
// returned as it is.
func traceID(traceparent string) string {
	if len(traceparent) == 55 && traceparent[2] == '-' && traceparent[35] == '-' {
		return traceparent[3:35]
	}
	return traceparent
}
