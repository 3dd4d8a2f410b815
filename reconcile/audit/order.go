package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const (
	// windowEvents bounds half of the event ids kept of a source in a partition: some 2 MB.
	windowEvents = 1 << 15
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
	txns       map[txnOf]txnRows // of what was read since the last write; without the transaction that stood last
	now        txnOf             // that transaction
	nowRows    txnRows           // and what there is of it; no rows: nothing
	key        []byte            // reused
	resumed    bool              // an earlier run has read what stands before; its window is gone
	found      []Damage
	more       int64 // that are not in found
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
	young, old []event         // in order, the older ones first; number is that of the first of old, or else of young
	number     int64
	complete   string // the furthest progress
	completeTS schemas.Micros
	back       string // a progress that went back, until what it no longer covers has come again
	backAt     int64
}

// event is a first emission. Those of a line stand in order, so that one that
// comes again is found by halving.
type event struct {
	pos    string
	ord    uint32
	offset int64
}

// place is where a change stood first.
type place struct{ number, offset int64 }

// find looks for a change among those that are known.
func (l *line) find(ch *schemas.Change) (place, bool) {
	at := l.number
	for _, part := range [][]event{l.old, l.young} {
		i, ok := slices.BinarySearchFunc(part, ch, func(e event, ch *schemas.Change) int {
			return cmp.Or(cmp.Compare(e.pos, ch.Pos), cmp.Compare(e.ord, ch.Ordinal))
		})
		if ok {
			return place{at + int64(i), part[i].offset}, true
		}
		at += int64(len(part))
	}
	return place{}, false
}

// note keeps a first emission. One that is out of order, which is damage, is
// not kept.
func (l *line) note(ch *schemas.Change, offset int64) {
	pos := ch.Pos
	if n := len(l.young); n > 0 && l.young[n-1].pos == pos {
		pos = l.young[n-1].pos
	} else {
		pos = strings.Clone(pos) // the record's texts share one piece of memory
	}
	if len(l.young) >= windowEvents {
		l.number += int64(len(l.old))
		l.old, l.young = l.young, make([]event, 0, windowEvents)
	}
	l.young = append(l.young, event{pos, ch.Ordinal, offset})
	l.last.Pos, l.last.Ordinal = pos, ch.Ordinal
	l.cursor, l.count = l.count, l.count+1
}

func newOrder(number int32, partitions int, rules *schemas.Rules, rows func(int64) (*schemas.Change, error)) *order {
	return &order{number: number, partitions: partitions, rules: rules, rows: rows, lines: map[lineOf]*line{}, ended: map[string]uint32{}, txns: map[txnOf]txnRows{}}
}

// forget frees the windows: nothing more is read.
func (o *order) forget() {
	for _, l := range o.lines {
		l.young, l.old = nil, nil
	}
}

func (o *order) damaged(promise string, offset int64, format string, args ...any) {
	if len(o.found) >= maxDamage {
		o.more++
		return
	}
	o.found = append(o.found, Damage{Promise: promise, Partition: o.number, Offset: offset, Detail: fmt.Sprintf(format, args...)})
}

// line is what the partition says of an epoch; pos is that of the record that asks.
func (o *order) line(source string, epoch uint32, pos string) *line {
	at := lineOf{source, epoch}
	if o.lines[at] == nil {
		o.lines[at] = &line{first: strings.Clone(pos), cursor: -1}
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
	o.key = e.AppendPartitionKey(o.key[:0], ch.Key)
	if want := stream.Partition(o.key, o.partitions); want != o.number {
		o.damaged("I5", offset, "key %q of %s belongs in partition %d", o.rules.HideKeyOf(ch.Entity, ch.Key), ch.Entity, want)
	}
}

// change checks the order of changes (I4), that the same id is the same change
// (I3), and that nothing comes late (I17).
func (o *order) change(offset int64, ch *schemas.Change) error {
	l := o.line(ch.Source, ch.Epoch, ch.Pos)
	follows := l.count == 0 || after(l, ch)
	if !follows {
		if was, again := l.find(ch); again {
			return o.again(l, offset, ch, was)
		}
	}
	switch {
	case o.resumed && l.count == 0 && ch.Pos <= l.complete,
		!follows && (l.old != nil || o.resumed):
		o.unproven++ // it may come again from before the window
		o.row(offset, ch, true)
		return nil
	case !follows:
		o.damaged("I4", offset, "%s comes after %s/%d", o.name(ch), l.last.Pos, l.last.Ordinal)
	case l.back != "" && l.back < l.last.Pos:
		o.damaged("I17", l.backAt, "progress goes back to %s, and what it no longer covers does not come again before offset %d", l.back, offset)
	case l.count > 0 && l.cursor != l.count-1:
		o.damaged("I4", offset, "%s comes in the middle of a repetition: %d changes before it did not come again", o.name(ch), l.count-1-l.cursor)
	}
	switch {
	case ch.Pos <= l.complete:
		o.damaged("I17", offset, "%s comes after progress to %s", o.name(ch), l.complete)
	case ch.CommitTS != 0 && ch.CommitTS < l.completeTS:
		o.damaged("I17", offset, "%s committed at %s at the latest, and progress had passed %s", o.name(ch), ch.CommitTS, l.completeTS)
	}
	o.row(offset, ch, false)
	l.back = ""
	if follows {
		l.note(ch, offset)
	}
	return nil
}

func (o *order) again(l *line, offset int64, ch *schemas.Change, was place) error {
	if was.number > l.cursor+1 {
		o.damaged("I4", offset, "%s comes again, and what stands before it does not", o.name(ch))
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
		o.damaged("I3", offset, "%s is another change than under the same id at offset %d", o.name(ch), was.offset)
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
	if p.Pos > l.complete {
		l.complete = strings.Clone(p.Pos)
	}
	l.completeTS = max(l.completeTS, p.TS)
}

// after says that a change comes after the furthest one of its line.
func after(l *line, ch *schemas.Change) bool {
	return ch.Pos > l.last.Pos || ch.Pos == l.last.Pos && ch.Ordinal > l.last.Ordinal
}

// content is what every emission of a change has in common: the bounds of its
// time depend on when it was read, the number of rows on how.
func content(ch *schemas.Change) []byte {
	same := *ch
	same.CommitTS, same.CommitTSMin, same.TxnRows = 0, 0, 0
	return schemas.AppendRecord(nil, &schemas.Record{Change: &same})
}

// name is how a change is called in what is said of it: a report is handed on.
func (o *order) name(ch *schemas.Change) string {
	return fmt.Sprintf("%s of %s %q at %s", ch.Op, ch.Entity, o.rules.HideKeyOf(ch.Entity, ch.Key), ch.Pos)
}
