// Package logcheck reads a changes topic, or any slice of its records, and
// says which promises of capture it does not keep.
//
// Order checks a partition by itself, in little memory; an audit has one for each.
// Checker has one for each too, and holds the whole log in memory to check what
// only that shows.
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

	events map[schemas.EventID]*written
	keys   map[keyOf]int32 // the partition of each key
	orders map[int32]*Order
	noted  map[int32]int // of what the order of a partition has found, how much is in violations

	violations []Violation
	reads      int
}

// written is a change, as it was first.
type written struct {
	id        schemas.EventID
	write     Write
	content   [32]byte
	partition int32
	rows      uint32 // of its transaction, where that was known
}

type keyOf struct{ entity, key string }

// New returns a checker of a log with that many partitions.
func New(partitions int, rules *schemas.Rules) *Checker {
	return &Checker{partitions: partitions, rules: rules, events: map[schemas.EventID]*written{}, keys: map[keyOf]int32{},
		orders: map[int32]*Order{}, noted: map[int32]int{}}
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
func (c *Checker) Repeated() (n int) {
	for _, o := range c.orders {
		n += int(o.Repeated())
	}
	return n
}

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

// Add takes the next record of a partition.
func (c *Checker) Add(partition int32, offset int64, rec *schemas.Record) {
	where := fmt.Sprintf("partition %d offset %d", partition, offset)
	o := c.orders[partition]
	if o == nil {
		o = NewOrder(OrderConfig{Partition: partition, Partitions: c.partitions, Rules: c.rules})
		c.orders[partition] = o
	}
	if err := o.Take(offset, 0, rec); err != nil {
		panic(err) // it reads nothing
	}
	found, _ := o.Found()
	for _, d := range found[c.noted[partition]:] {
		c.violates(d.Promise, where, "%s", d.Detail)
	}
	c.noted[partition] = len(found)
	if rec.Change != nil {
		c.change(partition, where, rec.Change)
	}
}
