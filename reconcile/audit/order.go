package audit

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const (
	// windowEvents bounds half of the event ids kept of a source in a partition: some megabytes.
	windowEvents = 1 << 16
	// maxDamage bounds what is kept of a partition: one mistake can break every record after it.
	maxDamage = 1000
)

// Damage is a promise that the log itself does not keep, at a record.
type Damage struct {
	Promise   string // "I4", or "gap" for records that are gone, or "compensation"
	Topic     string // empty: the changes topic
	Partition int32
	Offset    int64
	Detail    string
}

// order checks the log of a partition as it is read. It holds no more than a
// window of event ids: a repetition that reaches back further is Unproven.
type order struct {
	number     int32
	partitions int
	rules      *schemas.Rules
	rows       func(offset int64) (*schemas.Change, error) // reads an earlier change again
	lines      map[lineOf]*line
	ended      map[string]uint32 // by source, the epoch that a gap begins
	txns       map[txnOf]txnRows // read since what was read last was written
	resumed    bool              // an earlier run has read what stands before; its window is gone
	found      []Damage
	unproven   int64
}

type lineOf struct {
	source string
	epoch  uint32
}

// line is what the partition says of one epoch of a source.
type line struct {
	first      string          // the first position that stands here
	last       schemas.EventID // the furthest change
	count      int64           // different changes so far
	cursor     int64           // number of the change that stood last
	young, old map[schemas.EventID]place
	complete   string // the furthest progress
	completeTS schemas.Micros
	back       string // a progress that went back, until what it no longer covers has come again
	backAt     int64
}

type place struct{ number, offset int64 }

func newOrder(number int32, partitions int, rules *schemas.Rules, rows func(int64) (*schemas.Change, error)) *order {
	return &order{number: number, partitions: partitions, rules: rules, rows: rows, lines: map[lineOf]*line{}, ended: map[string]uint32{}, txns: map[txnOf]txnRows{}}
}

func (o *order) damaged(promise string, offset int64, format string, args ...any) {
	if len(o.found) < maxDamage {
		o.found = append(o.found, Damage{Promise: promise, Partition: o.number, Offset: offset, Detail: fmt.Sprintf(format, args...)})
	}
}

// line is what the partition says of an epoch; pos is that of the record that asks.
func (o *order) line(source string, epoch uint32, pos string) *line {
	at := lineOf{source, epoch}
	if o.lines[at] == nil {
		o.lines[at] = &line{first: pos, cursor: -1, young: map[schemas.EventID]place{}}
	}
	return o.lines[at]
}

// take checks the next record. hole is how many offsets before it hold nothing.
func (o *order) take(offset, hole int64, rec *schemas.Record) error {
	if hole > 0 {
		o.damaged("gap", offset, "the %d offsets before it hold no record and no end of a transaction", hole)
	}
	switch {
	case rec.Change != nil && rec.Change.Op == schemas.OpRead:
		o.epoch(offset, rec.Change.Source, rec.Change.Epoch)
		o.partition(offset, rec.Change)
	case rec.Change != nil:
		o.epoch(offset, rec.Change.Source, rec.Change.Epoch)
		o.partition(offset, rec.Change)
		return o.change(offset, rec.Change)
	case rec.Progress != nil:
		o.epoch(offset, rec.Progress.Source, rec.Progress.Epoch)
		o.progress(offset, rec.Progress)
	case rec.Gap != nil && rec.Gap.Entity == "":
		o.ended[rec.Gap.Source] = max(o.ended[rec.Gap.Source], rec.Gap.Epoch)
	}
	return nil
}

// epoch checks that no gap has ended the epoch of a record (I7).
func (o *order) epoch(offset int64, source string, epoch uint32) {
	if ended := o.ended[source]; epoch < ended {
		o.damaged("I7", offset, "%s goes on in epoch %d, which a gap to epoch %d has ended", source, epoch, ended)
	}
}

// partition checks that a key stands where its hash says, and so in one partition only (I5).
func (o *order) partition(offset int64, ch *schemas.Change) {
	e, ok := o.rules.Entity(ch.Entity)
	if !ok || ch.Op == schemas.OpTruncate { // which stands in every partition
		return
	}
	if want := stream.Partition(e.PartitionKey(ch.Key), o.partitions); want != o.number {
		o.damaged("I5", offset, "key %q of %s belongs in partition %d", o.rules.HideKeyOf(ch.Entity, ch.Key), ch.Entity, want)
	}
}

// change checks the order of changes (I4), that the same id is the same change
// (I3), and that nothing comes late (I17).
func (o *order) change(offset int64, ch *schemas.Change) error {
	l := o.line(ch.Source, ch.Epoch, ch.Pos)
	was, again := l.young[ch.EventID]
	if !again {
		was, again = l.old[ch.EventID]
	}
	switch {
	case again:
		return o.again(l, offset, ch, was)
	case o.resumed && l.count == 0 && ch.Pos <= l.complete,
		l.count > 0 && compareIDs(l.last, ch.EventID) >= 0 && (l.old != nil || o.resumed):
		o.unproven++ // it may come again from before the window
		o.row(offset, ch, true)
		return nil
	case l.count > 0 && compareIDs(l.last, ch.EventID) >= 0:
		o.damaged("I4", offset, "%s comes after %s/%d", name(ch), l.last.Pos, l.last.Ordinal)
	case l.back != "" && l.back < l.last.Pos:
		o.damaged("I17", l.backAt, "progress goes back to %s, and what it no longer covers does not come again before offset %d", l.back, offset)
	case l.count > 0 && l.cursor != l.count-1:
		o.damaged("I4", offset, "%s comes in the middle of a repetition: %d changes before it did not come again", name(ch), l.count-1-l.cursor)
	}
	switch {
	case ch.Pos <= l.complete:
		o.damaged("I17", offset, "%s comes after progress to %s", name(ch), l.complete)
	case ch.CommitTS != 0 && ch.CommitTS < l.completeTS:
		o.damaged("I17", offset, "%s committed at %s at the latest, and progress had passed %s", name(ch), ch.CommitTS, l.completeTS)
	}
	if len(l.young) >= windowEvents {
		l.old, l.young = l.young, map[schemas.EventID]place{}
	}
	l.young[ch.EventID] = place{l.count, offset}
	o.row(offset, ch, false)
	l.cursor, l.back = l.count, ""
	l.count++
	if compareIDs(l.last, ch.EventID) < 0 {
		l.last = ch.EventID
	}
	return nil
}

func (o *order) again(l *line, offset int64, ch *schemas.Change, was place) error {
	if was.number > l.cursor+1 {
		o.damaged("I4", offset, "%s comes again, and what stands before it does not", name(ch))
	}
	l.cursor = was.number
	if l.cursor == l.count-1 {
		l.back = ""
	}
	first, err := o.rows(was.offset)
	if err != nil {
		return err
	}
	if first != nil && !bytes.Equal(content(first), content(ch)) {
		o.damaged("I3", offset, "%s is another change than under the same id at offset %d", name(ch), was.offset)
	}
	return nil
}

// progress checks that what a restart takes back comes again.
func (o *order) progress(offset int64, p *schemas.Progress) {
	l := o.line(p.Source, p.Epoch, p.Pos)
	switch {
	case p.Pos < l.complete && l.back == "" && l.cursor == l.count-1:
		l.back, l.backAt = p.Pos, offset
	case l.back != "" && l.back < l.last.Pos && p.Pos >= l.last.Pos:
		o.damaged("I17", l.backAt, "progress goes back to %s, and what it no longer covers does not come again before offset %d", l.back, offset)
		l.back = ""
	case p.Pos >= l.complete:
		l.back = ""
	}
	l.complete, l.completeTS = max(l.complete, p.Pos), max(l.completeTS, p.TS)
}

func compareIDs(a, b schemas.EventID) int {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Pos, b.Pos), cmp.Compare(a.Ordinal, b.Ordinal))
}

// content is what every emission of a change has in common: the bounds of its
// time depend on when it was read, the number of rows on how.
func content(ch *schemas.Change) []byte {
	same := *ch
	same.CommitTS, same.CommitTSMin, same.TxnRows = 0, 0, 0
	return schemas.AppendRecord(nil, &schemas.Record{Change: &same})
}

func name(ch *schemas.Change) string {
	return fmt.Sprintf("%s of %s %q at %s", ch.Op, ch.Entity, ch.Key, ch.Pos)
}
