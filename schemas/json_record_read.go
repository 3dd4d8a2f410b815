package schemas

import (
	"encoding/hex"
	"fmt"
	"math"
	"strings"
)

// ParseJSONLine reads what AppendJSONLine writes, and what people write by
// hand. It is strict: a field that is not known (names are exact, also in
// case), that stands twice, is missing or of another type is an error that
// names it. Fields may stand in any order; columns keep the order of the text.
// Numbers and booleans of a row must be in quotes, as the server's text.
//
// Of a change, "ordinal" left out is 0; "partition", "txn", "txn_rows",
// "commit_ts_min", "stamp", "before" and "tag" may be left out; "after" must
// stand for insert, update and read, and must not for delete and truncate;
// "key" must stand but for truncate. "epoch" always must.
//
// It does not keep the line. The texts of the result share one copy of it.
func ParseJSONLine(line []byte) (*Record, error) {
	if len(line) > MaxRecordBytes {
		return nil, fmt.Errorf("%d bytes: a record has at most %d", len(line), MaxRecordBytes)
	}
	r := jsonReader{src: string(line)}
	kind := r.kind()
	record := r.record(kind)
	r.end()
	if r.problem != nil {
		if kind != "" {
			return nil, fmt.Errorf("%s: %w", kind, r.problem)
		}
		return nil, r.problem
	}
	if err := checkRecord(record); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return record, nil
}

// kind looks for the field "kind" and goes back to the start. It mostly stands
// first.
func (r *jsonReader) kind() string {
	defer func() { r.at = 0 }()
	names := nameCursor{raw: true}
	for r.named(&names) {
		if names.name != "kind" {
			r.skip(1)
			continue
		}
		kind := r.word()
		if r.problem != nil {
			r.within("kind")
		}
		return cut(kind)
	}
	if r.problem == nil {
		r.fail("is missing")
		r.within("kind")
	}
	return ""
}

var (
	changeFields = newFieldSet("kind!", "partition", "side!", "entity!", "key", "op!", "source!", "epoch!", "pos!", "ordinal",
		"txn", "txn_rows", "commit_ts!", "commit_ts_min", "stamp", "before", "after", "unavailable", "unavailable_before", "tag")
	progressFields = newFieldSet("kind!", "partition", "side!", "source!", "epoch!", "pos!", "ts!", "clock_offset_us", "clock_error_us")
	coveredFields  = newFieldSet("kind!", "partition", "side!", "entity!", "from", "to", "source!", "epoch!", "pos!", "read_from")
	controlFields  = newFieldSet("kind!", "partition", "rules", "authority", "settle_window", "baseline", "entities", "rollout", "definition")
	gapFields      = newFieldSet("kind!", "partition", "side!", "entity", "source!", "epoch!", "pos", "ordinal", "reason!", "ts")
	quarantined    = newFieldSet("kind!", "partition", "side!", "entity!", "key", "source!", "epoch!", "pos!", "ordinal", "txn", "read",
		"commit_ts!", "commit_ts_min", "stamp", "digest!", "reason!")
	endFields  = newFieldSet("kind!")
	ruleFields = newFieldSet("authority", "settle_window")
)

// record reads the record of the given kind.
func (r *jsonReader) record(kind string) *Record {
	var record Record
	switch kind {
	case "change":
		record.Change = new(Change)
		r.change(&record)
	case "progress":
		record.Progress = new(Progress)
		r.progress(&record)
	case "covered":
		record.Covered = new(Covered)
		r.covered(&record)
	case "control":
		record.Control = new(Control)
		r.control(&record)
	case "gap":
		record.Gap = new(Gap)
		r.gap(&record)
	case "quarantine":
		record.Quarantine = new(Quarantine)
		r.quarantine(&record)
	case "end":
		record.End = new(End)
		for f := (fieldCursor{set: endFields}); r.field(&f); {
			r.word()
		}
	default:
		r.fail("kind %q: want change, progress, covered, control, gap, quarantine or end", kind)
	}
	return &record
}

// head reads the fields that every record of the log has.
func (r *jsonReader) head(name string, record *Record) {
	switch name {
	case "kind":
		r.word()
	case "partition":
		record.Partition = int32(r.integer(0, math.MaxInt32))
	}
}

func (r *jsonReader) change(record *Record) {
	c := record.Change
	var unavailable, unavailableBefore []string
	fields := fieldCursor{set: changeFields}
	for r.field(&fields) {
		switch fields.name {
		case "side":
			c.Side = r.side()
		case "entity":
			c.Entity = r.text()
		case "key":
			c.Key = r.texts()
		case "op":
			c.Op = r.op()
		case "source":
			c.Source = r.text()
		case "epoch":
			c.Epoch = r.uint32()
		case "pos":
			c.Pos = r.text()
		case "ordinal":
			c.Ordinal = r.uint32()
		case "txn":
			c.Txn = r.text()
		case "txn_rows":
			c.TxnRows = r.uint32()
		case "commit_ts":
			c.CommitTS = r.time()
		case "commit_ts_min":
			c.CommitTSMin = r.time()
		case "stamp":
			c.Stamp = r.time()
		case "before":
			c.Before = r.row(false)
		case "after":
			c.After = r.row(false)
		case "unavailable":
			unavailable = r.texts()
		case "unavailable_before":
			unavailableBefore = r.texts()
		case "tag":
			c.Tag = r.tag()
		default:
			r.head(fields.name, record)
		}
	}
	if c.After != nil {
		c.After = r.withUnavailable(c.After, "unavailable", unavailable)
		c.Before = r.withUnavailable(c.Before, "unavailable_before", unavailableBefore)
		return
	}
	c.Before = r.withUnavailable(c.Before, "unavailable", unavailable)
	if unavailableBefore != nil {
		r.fail(`want it only beside "after"; without, "unavailable" names the columns of "before"`)
		r.within("unavailable_before")
	}
}

// withUnavailable appends the columns that the log does not carry.
func (r *jsonReader) withUnavailable(row Row, field string, names []string) Row {
	if r.problem != nil || len(names) == 0 {
		return row
	}
	if row == nil {
		r.fail("names columns of a row that does not stand here")
		r.within(field)
		return nil
	}
	var seen nameCursor
	for i := range row {
		seen.add(row[i].Name)
	}
	for _, name := range names {
		if !seen.add(name) {
			r.fail("column %q stands twice, or has a value beside it", name)
			r.within(field)
			return nil
		}
		row = append(row, Column{Name: name, Presence: Unavailable})
	}
	return row
}

func (r *jsonReader) progress(record *Record) {
	p := record.Progress
	fields := fieldCursor{set: progressFields}
	for r.field(&fields) {
		switch fields.name {
		case "side":
			p.Side = r.side()
		case "source":
			p.Source = r.text()
		case "epoch":
			p.Epoch = r.uint32()
		case "pos":
			p.Pos = r.text()
		case "ts":
			p.TS = r.time()
		case "clock_offset_us":
			p.ClockOffset = r.micros()
		case "clock_error_us":
			p.ClockError = r.micros()
		default:
			r.head(fields.name, record)
		}
	}
}

func (r *jsonReader) covered(record *Record) {
	c := record.Covered
	fields := fieldCursor{set: coveredFields}
	for r.field(&fields) {
		switch fields.name {
		case "side":
			c.Side = r.side()
		case "entity":
			c.Entity = r.text()
		case "from":
			c.From = r.bound()
		case "to":
			c.To = r.bound()
		case "source":
			c.Source = r.text()
		case "epoch":
			c.Epoch = r.uint32()
		case "pos":
			c.Pos = r.text()
		case "read_from":
			c.ReadFrom = r.text()
		default:
			r.head(fields.name, record)
		}
	}
}

// bound reads a key that bounds a range.
func (r *jsonReader) bound() []string {
	key := r.texts()
	if key == nil {
		r.fail("want a key: leave it out where the range has no bound")
	}
	return key
}

func (r *jsonReader) gap(record *Record) {
	g := record.Gap
	fields := fieldCursor{set: gapFields}
	for r.field(&fields) {
		switch fields.name {
		case "side":
			g.Side = r.side()
		case "entity":
			if g.Entity = r.text(); g.Entity == "" && r.problem == nil {
				r.fail("want a name: leave it out where the whole side is meant")
			}
		case "source":
			g.Source = r.text()
		case "epoch":
			g.Epoch = r.uint32()
		case "pos":
			g.Pos = r.text()
		case "ordinal":
			g.Ordinal = r.uint32()
		case "reason":
			g.Reason = r.text()
		case "ts":
			g.TS = r.time()
		default:
			r.head(fields.name, record)
		}
	}
}

func (r *jsonReader) quarantine(record *Record) {
	q := record.Quarantine
	fields := fieldCursor{set: quarantined}
	for r.field(&fields) {
		switch fields.name {
		case "side":
			q.Side = r.side()
		case "entity":
			q.Entity = r.text()
		case "key":
			if q.Key = r.texts(); q.Key == nil {
				r.fail("want a key: leave it out where it is not known")
			}
		case "source":
			q.Source = r.text()
		case "epoch":
			q.Epoch = r.uint32()
		case "pos":
			q.Pos = r.text()
		case "ordinal":
			q.Ordinal = r.uint32()
		case "txn":
			q.Txn = r.text()
		case "read":
			q.Read = r.bool()
		case "commit_ts":
			q.CommitTS = r.time()
		case "commit_ts_min":
			q.CommitTSMin = r.time()
		case "stamp":
			q.Stamp = r.time()
		case "digest":
			q.Digest = r.digest()
		case "reason":
			q.Reason = r.text()
		default:
			r.head(fields.name, record)
		}
	}
}

// digest reads 16 bytes as 32 hexadecimal digits, in lower case as they are written.
func (r *jsonReader) digest() (d Digest) {
	text := r.word()
	if r.problem != nil {
		return d
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(d) || hex.EncodeToString(b) != text {
		r.fail("want %d hexadecimal digits in lower case", 2*len(d))
		return d
	}
	copy(d[:], b)
	return d
}

func (r *jsonReader) control(record *Record) {
	c := record.Control
	fields := fieldCursor{set: controlFields}
	for r.field(&fields) {
		switch fields.name {
		case "rules":
			c.Rules = r.text()
		case "authority":
			c.Authority = r.side()
		case "settle_window":
			c.SettleWindow = r.window()
		case "baseline":
			c.Baseline = r.word()
		case "entities":
			c.Entities = r.entities()
		case "rollout":
			c.Rollout = r.rollout()
		case "definition":
			c.Definition = r.definition()
		default:
			r.head(fields.name, record)
		}
	}
}

func (r *jsonReader) entities() map[string]EntityControl {
	var entities map[string]EntityControl
	var names nameCursor
	for r.named(&names) {
		if entities == nil {
			entities = map[string]EntityControl{}
		}
		var e EntityControl
		fields := fieldCursor{set: ruleFields}
		for r.field(&fields) {
			switch fields.name {
			case "authority":
				e.Authority = r.side()
			case "settle_window":
				e.SettleWindow = r.window()
			}
		}
		entities[names.name] = e
	}
	return entities
}

// window reads a settle window: whole microseconds, and some.
func (r *jsonReader) window() Micros {
	d := r.duration()
	m := Micros(d.Microseconds())
	if r.problem == nil && (m <= 0 || m.Sub(0) != d) {
		r.fail("settle window %s: want whole microseconds, and more than none", d)
	}
	return m
}

// definition reads a JSON object, which is kept as it is written, or a text.
func (r *jsonReader) definition() string {
	if r.problem != nil {
		return ""
	}
	if r.peek() != '{' || strings.HasPrefix(r.src[r.at:], base64Definition) {
		return r.text()
	}
	from := r.at
	r.skip(1)
	return r.src[from:r.at]
}
