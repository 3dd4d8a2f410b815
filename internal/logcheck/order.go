package logcheck

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// MaxDamage bounds what is kept of a partition: one mistake can break every record after it.
const MaxDamage = 1000

// Damage is a promise that the log itself does not keep, at a record.
type Damage struct {
	Promise   string // "I4", or "gap" for records that are gone, or "compensation"
	Topic     string // empty: the changes topic
	Partition int32
	Offset    int64
	Detail    string
}

// OrderConfig says what of a partition is checked.
type OrderConfig struct {
	Partition  int32
	Partitions int
	Rules      *schemas.Rules // nil: where a key belongs is not checked
	// Rows reads an earlier change again, nil for one that is gone. nil: what comes again is not compared with what it was.
	Rows func(offset int64) (*schemas.Change, error)
	// Window bounds half of the event ids kept of a source, each of some 60 bytes. 0: all are kept.
	Window int
	// Resumed says that somebody has read what stands before: what is known of it is gone.
	Resumed bool
	// First hears of a change that was not there before; unproven says that it may have been. nil: nobody does.
	First func(offset int64, ch *schemas.Change, unproven bool)
}

// Order checks the log of a partition as it is read. It holds no more than a
// window of event ids: a repetition that reaches back further is Unproven.
type Order struct {
	cfg      OrderConfig
	lines    map[Line]*line
	ended    map[string]uint32 // by source, the epoch that a gap begins
	key      []byte            // reused
	found    []Damage
	more     int64
	unproven int64
	repeated int64
}

// Line names one epoch of a source.
type Line struct {
	Source string
	Epoch  uint32
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
func (l *line) note(ch *schemas.Change, offset int64, window int) {
	pos := ch.Pos
	if n := len(l.young); n > 0 && l.young[n-1].pos == pos {
		pos = l.young[n-1].pos
	} else {
		pos = strings.Clone(pos) // the record's texts share one piece of memory
	}
	if window > 0 && len(l.young) >= window {
		l.number += int64(len(l.old))
		l.old, l.young = l.young, make([]event, 0, window)
	}
	l.young = append(l.young, event{pos, ch.Ordinal, offset})
	l.last.Pos, l.last.Ordinal = pos, ch.Ordinal
	l.cursor, l.count = l.count, l.count+1
}

// NewOrder returns the checker of a partition.
func NewOrder(cfg OrderConfig) *Order {
	return &Order{cfg: cfg, lines: map[Line]*line{}, ended: map[string]uint32{}}
}

// Found returns the damage, in the order of the log, and how much more there is
// than is kept.
func (o *Order) Found() (found []Damage, more int64) { return o.found, o.more }

// Recall takes what an earlier run has found.
func (o *Order) Recall(found []Damage, more int64) { o.found, o.more = found, more }

// Unproven counts changes that may repeat some from before what is known.
func (o *Order) Unproven() int64 { return o.unproven }

// Repeated counts changes that came again.
func (o *Order) Repeated() int64 { return o.repeated }

// Lines gives fn, of each epoch of each source, the first position that stands in
// it and the furthest that a progress gave, in no order.
func (o *Order) Lines(fn func(at Line, first, complete string)) {
	for at, l := range o.lines {
		fn(at, l.first, l.complete)
	}
}

// Complete is the furthest position that a progress gave, empty where none did.
func (o *Order) Complete(at Line) string {
	if l := o.lines[at]; l != nil {
		return l.complete
	}
	return ""
}

// Forget frees the windows: nothing more is read.
func (o *Order) Forget() {
	for _, l := range o.lines {
		l.young, l.old = nil, nil
	}
}

// Damaged notes damage that somebody else has found.
func (o *Order) Damaged(promise string, offset int64, format string, args ...any) {
	if len(o.found) >= MaxDamage {
		o.more++
		return
	}
	o.found = append(o.found, Damage{Promise: promise, Partition: o.cfg.Partition, Offset: offset, Detail: fmt.Sprintf(format, args...)})
}

// line is what the partition says of an epoch; pos is that of the record that asks.
func (o *Order) line(source string, epoch uint32, pos string) *line {
	at := Line{source, epoch}
	if o.lines[at] == nil {
		o.lines[at] = &line{first: strings.Clone(pos), cursor: -1}
	}
	return o.lines[at]
}

// Take checks the next record. hole is how many offsets before it hold nothing.
func (o *Order) Take(offset, hole int64, rec *schemas.Record) error {
	if hole > 0 {
		o.Damaged("gap", offset, "the %d offsets before it hold no record and no end of a transaction", hole)
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
func (o *Order) epoch(offset int64, source string, epoch uint32) {
	if ended := o.ended[source]; epoch < ended {
		o.Damaged("I7", offset, "%s goes on in epoch %d, which a gap to epoch %d has ended", source, epoch, ended)
	}
}

// partition checks that a key stands where its hash says, and so in one partition only (I5).
func (o *Order) partition(offset int64, ch *schemas.Change) {
	if o.cfg.Rules == nil {
		return
	}
	e, ok := o.cfg.Rules.Entity(ch.Entity)
	if !ok || ch.Op == schemas.OpTruncate { // which stands in every partition
		return
	}
	o.key = e.AppendPartitionKey(o.key[:0], ch.Key)
	if want := stream.Partition(o.key, o.cfg.Partitions); want != o.cfg.Partition {
		o.Damaged("I5", offset, "key %q of %s belongs in partition %d", shown(o.cfg.Rules, ch), ch.Entity, want)
	}
}

// change checks the order of changes (I4), that the same id is the same change
// (I3), and that nothing comes late (I17).
func (o *Order) change(offset int64, ch *schemas.Change) error {
	l := o.line(ch.Source, ch.Epoch, ch.Pos)
	follows := l.count == 0 || after(l, ch)
	if !follows {
		if was, again := l.find(ch); again {
			return o.again(l, offset, ch, was)
		}
	}
	switch {
	case o.cfg.Resumed && l.count == 0 && ch.Pos <= l.complete,
		!follows && (l.old != nil || o.cfg.Resumed):
		o.unproven++ // it may come again from before the window
		o.first(offset, ch, true)
		return nil
	case !follows:
		o.Damaged("I4", offset, "%s comes after %s/%d", o.Name(ch), l.last.Pos, l.last.Ordinal)
	case l.back != "" && l.back < l.last.Pos:
		o.Damaged("I17", l.backAt, "progress goes back to %s, and what it no longer covers does not come again before offset %d", l.back, offset)
	case l.count > 0 && l.cursor != l.count-1:
		o.Damaged("I4", offset, "%s comes in the middle of a repetition: %d changes before it did not come again", o.Name(ch), l.count-1-l.cursor)
	}
	o.late(l, offset, ch)
	o.first(offset, ch, false)
	l.back = ""
	if follows {
		l.note(ch, offset, o.cfg.Window)
	}
	return nil
}

// late checks a change against what progress has said.
func (o *Order) late(l *line, offset int64, ch *schemas.Change) {
	switch {
	case ch.Pos <= l.complete:
		o.Damaged("I17", offset, "%s comes after progress to %s", o.Name(ch), l.complete)
	case ch.CommitTS != 0 && ch.CommitTS < l.completeTS:
		o.Damaged("I17", offset, "%s committed at %s at the latest, and progress had passed %s", o.Name(ch), ch.CommitTS, l.completeTS)
	}
}

func (o *Order) first(offset int64, ch *schemas.Change, unproven bool) {
	if o.cfg.First != nil {
		o.cfg.First(offset, ch, unproven)
	}
}

func (o *Order) again(l *line, offset int64, ch *schemas.Change, was place) error {
	o.repeated++
	if was.number > l.cursor+1 {
		o.Damaged("I4", offset, "%s comes again, and what stands before it does not", o.Name(ch))
	}
	l.cursor = was.number
	if l.cursor == l.count-1 {
		l.back = ""
	}
	if zooZ10 {
		o.late(l, offset, ch)
	}
	if o.cfg.Rows == nil {
		return nil
	}
	first, err := o.cfg.Rows(was.offset)
	if err != nil {
		return err
	}
	if first != nil && !bytes.Equal(same(first), same(ch)) {
		o.Damaged("I3", offset, "%s is another change than under the same id at offset %d", o.Name(ch), was.offset)
	}
	return nil
}

// progress checks that what a restart takes back comes again.
func (o *Order) progress(offset int64, p *schemas.Progress) {
	l := o.line(p.Source, p.Epoch, p.Pos)
	switch {
	case p.Pos < l.complete && l.back == "" && l.cursor == l.count-1:
		l.back, l.backAt = p.Pos, offset
	case l.back != "" && l.back < l.last.Pos && p.Pos >= l.last.Pos:
		o.Damaged("I17", l.backAt, "progress goes back to %s, and what it no longer covers does not come again before offset %d", l.back, offset)
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

// same is what every emission of a change has in common: the bounds of its
// time depend on when it was read, the number of rows on how, and the digests on
// the rules and the program by which.
func same(ch *schemas.Change) []byte {
	c := *ch
	c.CommitTS, c.CommitTSMin, c.TxnRows = 0, 0, 0
	c.Digest, c.BeforeDigest, c.Mapping = schemas.Digest{}, schemas.Digest{}, ""
	return schemas.AppendRecord(nil, &schemas.Record{Change: &c})
}

// Name is how a change is called in what is said of it: a report is handed on.
func (o *Order) Name(ch *schemas.Change) string {
	return fmt.Sprintf("%s of %s %q at %s", ch.Op, ch.Entity, shown(o.cfg.Rules, ch), ch.Pos)
}

// shown is a change's key as it may be printed.
func shown(rules *schemas.Rules, ch *schemas.Change) []string {
	if rules == nil {
		return ch.Key
	}
	return rules.HideKeyOf(ch.Entity, ch.Key)
}
