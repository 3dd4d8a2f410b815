// Package logcheck reads a changes topic, or any slice of its records, and
// says which promises of capture it does not keep.
//
// It promises to accept every log that kills, restarts and lost connections
// may leave, and to refuse every other one that it can tell from the records:
//
//	I3   the same event id is the same change, wherever it stands
//	I4   first emissions stand in commit order; what comes again is a run that
//	     goes on to the end of what was there
//	I5   a key stands in one partition, the one of its hash
//	I7   after a gap nothing of an older epoch comes
//	I13  behind a progress stands every row of the transactions it completes
//	I17  no change that is not a repetition stands behind a progress that
//	     covers its position, or its time
//
// What has to be in a log only its writer knows: Expect compares it with a
// ledger that the workload filled in its own transactions (I2, I6).
//
// It assumes that records of a partition are added in offset order. Baseline
// rows are held to their partition only: their order is not the stream's.
package logcheck

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// Violation is a promise that a log does not keep.
type Violation struct {
	Promise string // "I3"
	Where   string // partition and offset; empty where it is not one record
	Detail  string
}

func (v Violation) String() string {
	if v.Where == "" {
		return v.Promise + ": " + v.Detail
	}
	return v.Promise + ": " + v.Where + ": " + v.Detail
}

// maxViolations bounds what is kept: one mistake breaks every record after it.
const maxViolations = 100

// Checker takes the records of a log. It is for one goroutine.
type Checker struct {
	partitions int
	rules      *schemas.Rules // nil: where a key belongs, and its digest, are not checked

	events map[schemas.EventID]*event
	keys   map[keyOf]int32 // the partition of each key
	lines  map[lineOf]*line
	ended  map[lineOf]uint32 // by partition and source (its epoch is 0): the epoch that a gap begins

	violations []Violation
	repeated   int
	reads      int
}

// event is a change, as it was written first.
type event struct {
	id        schemas.EventID
	write     Write
	content   [32]byte
	partition int32
	rows      uint32 // of its transaction, where that was known
}

type keyOf struct{ entity, key string }

type lineOf struct {
	partition int32
	source    string
	epoch     uint32
}

// line is what a partition says of one epoch of a source.
type line struct {
	order  []schemas.EventID // first emissions
	index  map[schemas.EventID]int
	cursor int // of order, the record that stood last; -1 before the first

	complete   string         // the furthest position that a progress gave
	completeTS schemas.Micros // and the latest time
}

// New returns a checker of a log with that many partitions.
func New(partitions int, rules *schemas.Rules) *Checker {
	return &Checker{partitions: partitions, rules: rules, events: map[schemas.EventID]*event{}, keys: map[keyOf]int32{},
		lines: map[lineOf]*line{}, ended: map[lineOf]uint32{}}
}

func (c *Checker) violates(promise, where, format string, args ...any) {
	if len(c.violations) < maxViolations {
		c.violations = append(c.violations, Violation{promise, where, fmt.Sprintf(format, args...)})
	}
}

// Violations returns what was found so far, with what only the whole log shows.
func (c *Checker) Violations() []Violation {
	return append(slices.Clone(c.violations), c.torn()...)
}

// Repeated returns how many records repeat an earlier one.
func (c *Checker) Repeated() int { return c.repeated }

// Changes returns how many different changes the log has, baseline rows apart.
func (c *Checker) Changes() int { return len(c.events) }

// Has says whether the log has a change.
func (c *Checker) Has(id schemas.EventID) bool { return c.events[id] != nil }

// IDs returns the event ids of all changes, in the order of their source.
func (c *Checker) IDs() []schemas.EventID {
	return slices.SortedFunc(maps.Keys(c.events), func(a, b schemas.EventID) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), compareIDs(a, b))
	})
}

// compareIDs is the order of one source's changes.
func compareIDs(a, b schemas.EventID) int {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Pos, b.Pos), cmp.Compare(a.Ordinal, b.Ordinal))
}

func (c *Checker) line(partition int32, source string, epoch uint32) *line {
	at := lineOf{partition, source, epoch}
	l := c.lines[at]
	if l == nil {
		l = &line{index: map[schemas.EventID]int{}, cursor: -1}
		c.lines[at] = l
	}
	return l
}

// Add takes the next record of a partition.
func (c *Checker) Add(partition int32, offset int64, rec *schemas.Record) {
	where := fmt.Sprintf("partition %d offset %d", partition, offset)
	switch {
	case rec.Change != nil:
		c.change(partition, where, rec.Change)
	case rec.Progress != nil:
		p := rec.Progress
		c.epoch(partition, where, p.Source, p.Epoch)
		l := c.line(partition, p.Source, p.Epoch)
		l.complete, l.completeTS = max(l.complete, p.Pos), max(l.completeTS, p.TS)
	case rec.Gap != nil:
		at := lineOf{partition, rec.Gap.Source, 0}
		c.ended[at] = max(c.ended[at], rec.Gap.Epoch)
	}
}

// epoch checks that no gap has ended the epoch of a record (I7).
func (c *Checker) epoch(partition int32, where, source string, epoch uint32) {
	if ended := c.ended[lineOf{partition, source, 0}]; epoch < ended {
		c.violates("I7", where, "%s goes on in epoch %d, which a gap to epoch %d has ended", source, epoch, ended)
	}
}
