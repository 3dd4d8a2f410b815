package runner

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/stream/streamtest"
)

const day = 24 * time.Hour

// headroom looks at the log as a runner does that stands there, so long after now.
func (b *bench) headroom(s Status, later time.Duration) Headroom {
	b.t.Helper()
	r := &Runner{cfg: Config{Log: b.log}, status: s}
	h, err := r.Headroom(b.t.Context(), time.Now().Add(later))
	must(b.t, err)
	return h
}

// near says whether a time is what it should be: the log was written in the last minutes.
func near(got, want time.Duration) bool { return got <= want && got > want-time.Hour }

// baseline has every row of both sides read again, in two ranges.
func (b *bench) baseline() []stream.Record {
	var out []stream.Record
	every := func(rec schemas.Record) {
		for p := range int32(partitions) {
			rec.Partition = p
			out = append(out, b.record(rec))
		}
	}
	e, _ := b.rules.Entity("order")
	for _, s := range schemas.Sides {
		id := schemas.EventID{Source: s.String(), Epoch: 1, Pos: "00000000FFFFFFFF"}
		for i, key := range []string{"1", "2"} {
			id.Ordinal = uint32(i)
			out = append(out, b.record(schemas.Record{Partition: stream.Partition(e.PartitionKey([]string{key}), partitions), Change: &schemas.Change{
				EventID: id, Side: s, Entity: "order", Key: []string{key}, Op: schemas.OpRead, CommitTS: start,
				After: schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: "1"}}}}))
		}
		every(schemas.Record{Covered: &schemas.Covered{Side: s, Entity: "order", To: []string{"1"}, Source: s.String(), Epoch: 1, Pos: id.Pos}})
		every(schemas.Record{Covered: &schemas.Covered{Side: s, Entity: "order", Source: s.String(), Epoch: 1, Pos: id.Pos}})
	}
	return out
}

// "Retention running out announced long before it does": the time is known until it
// takes what was not compared yet, and what state that is lost would be made anew
// from. A baseline that was read again gives that time back.
func TestRetentionRunningOutIsKnownBefore(t *testing.T) {
	b := newBenchOn(t, stream.Config{DataDir: t.TempDir(), Retention: 10 * day})
	b.write(b.history(3, 100)...)
	dir := t.TempDir()
	s := b.run(dir, 0, 0)
	for p, offset := range s.Needed {
		if offset != 0 {
			t.Errorf("partition %d is needed from offset %d on: both sides were empty at 0", p, offset)
		}
	}
	if h := b.headroom(s, 4*day); h.Kept != 10*day || h.Reading != 10*day || !near(h.Rebuild, 6*day) || h.Lost != nil {
		t.Errorf("4 days later: %+v", h)
	}
	b.write(b.history(4, 100)[partitions:]...) // without the word that tables are empty
	if h := b.headroom(s, 9*day); !near(h.Reading, day) || !near(h.Rebuild, day) {
		t.Errorf("9 days later, with records that were not compared: %+v", h)
	}
	if h := b.headroom(s, 11*day); h.Reading != 0 || h.Rebuild != 0 {
		t.Errorf("11 days later: %+v", h)
	}
	s = b.run(dir, 0, 0)
	streamtest.Trim(t, b.log, 1, 5)
	if h := b.headroom(s, 0); h.Rebuild != 0 || !slices.Equal(h.Lost, []int32{1}) || h.Reading != 10*day {
		t.Errorf("with the beginning of partition 1 gone: %+v", h)
	}

	rows := b.baseline()
	b.write(rows[:len(rows)-partitions]...) // all but the last word of it
	if s = b.run(dir, 0, 0); s.Needed[1] != 0 {
		t.Errorf("needed from %d on, in the middle of a baseline", s.Needed[1])
	}
	ends := s.Next
	b.write(rows[len(rows)-partitions:]...)
	s = b.run(dir, 0, 0)
	for p, offset := range s.Needed {
		if offset <= 5 || offset >= ends[p] {
			t.Errorf("partition %d is needed from %d on, the baseline lies before %d", p, offset, ends[p])
		}
	}
	if h := b.headroom(s, 4*day); h.Lost != nil || !near(h.Rebuild, 6*day) {
		t.Errorf("after a baseline: %+v", h)
	}
}

// A log that is kept for ever has no such time; a gap takes rows out of what is needed.
func TestNeedsOfALogKeptForEver(t *testing.T) {
	b := newBenchOn(t, stream.Config{DataDir: t.TempDir(), Retention: -1})
	b.write(b.history(3, 20)...)
	s := b.run(t.TempDir(), 0, 0)
	if h := b.headroom(s, 1000*day); h.Kept != 0 || h.Lost != nil {
		t.Errorf("%+v", h)
	}
	n := newNeeds()
	at := int64(0)
	take := func(r schemas.Record) { n.take(at, &r, b.rules); at++ }
	want := func(offset int64) {
		t.Helper()
		if got := n.oldest(); got != offset {
			t.Errorf("after %d records: needed from %d on, want %d", at, got, offset)
		}
	}
	want(-1)
	take(schemas.Record{Progress: &schemas.Progress{}})
	want(-1)
	take(schemas.Record{Control: &schemas.Control{Baseline: schemas.BaselineEmpty}})
	want(1)
	take(schemas.Record{Gap: &schemas.Gap{Side: schemas.Legacy, Reason: "a test"}})
	want(1) // the target's
	take(schemas.Record{Covered: &schemas.Covered{Side: schemas.Target, Entity: "order"}})
	want(3)
	take(schemas.Record{Gap: &schemas.Gap{Side: schemas.Target, Entity: "order", Reason: "a test"}})
	want(-1)
	if fmt.Sprint(n.Reading) != "map[]" {
		t.Errorf("still reading: %v", n.Reading)
	}
}
