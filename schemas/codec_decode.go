package schemas

import (
	"slices"
	"unsafe"

	"github.com/trueup-io/trueup/schemas/pb"
)

// UnmarshalRecord reads what AppendRecord wrote. An error is a *DecodeError.
// It does not keep b. The texts of the result share one copy of it, so a
// single text that is kept for long should be cloned (strings.Clone).
func UnmarshalRecord(b []byte) (*Record, error) {
	message, bad := payload(b)
	if bad != nil {
		return nil, bad
	}
	m := pb.RecordFromVTPool()
	defer releaseRecord(m)
	// The copy is nobody else's, so that texts can point into it.
	if err := m.UnmarshalVTUnsafe(slices.Clone(message)); err != nil {
		return nil, decodeError(b, "%s", err)
	}
	r, reason := recordFromWire(m)
	if reason != "" {
		return nil, decodeError(b, "%s", reason)
	}
	if err := checkRecord(r); err != nil {
		return nil, decodeError(b, "%s", err)
	}
	return r, nil
}

// recordFromWire converts m; the reason says why it cannot.
func recordFromWire(m *pb.Record) (r *Record, reason string) {
	switch k := m.Kind.(type) {
	case *pb.Record_Change:
		return changeFromWire(k.Change)
	case *pb.Record_Progress:
		p := k.Progress
		return &Record{Progress: &Progress{
			Side: sideFromWire(p.Side), Source: p.Source, Epoch: p.Epoch, Pos: p.Pos, TS: Micros(p.Ts),
			ClockOffset: Micros(p.ClockOffsetUs), ClockError: Micros(p.ClockErrorUs),
		}}, ""
	case *pb.Record_Covered:
		c := k.Covered
		return &Record{Covered: &Covered{
			Side: sideFromWire(c.Side), Entity: c.Entity, From: textsFromWire(c.From), To: textsFromWire(c.To),
			Source: c.Source, Epoch: c.Epoch, Pos: c.Pos, ReadFrom: c.ReadFrom,
		}}, ""
	case *pb.Record_Control:
		if k.Control.Rollout != nil {
			return nil, "a control record without rollout that has one"
		}
		return controlFromWire(k.Control)
	case *pb.Record_RolloutControl:
		if k.RolloutControl.Rollout == nil {
			return nil, "a control record of a rollout that has none"
		}
		return controlFromWire(k.RolloutControl)
	case *pb.Record_Gap:
		if k.Gap.Entity != "" {
			return nil, "a gap of a side that names an entity"
		}
		return &Record{Gap: gapFromWire(k.Gap)}, ""
	case *pb.Record_EntityGap:
		if k.EntityGap.Entity == "" {
			return nil, "a gap of an entity that names none"
		}
		return &Record{Gap: gapFromWire(k.EntityGap)}, ""
	case *pb.Record_Quarantine:
		return quarantineFromWire(k.Quarantine)
	}
	return nil, "a record of no known kind; a newer Trueup may have written it"
}

func changeFromWire(m *pb.Change) (*Record, string) {
	var both struct { // one allocation for what lives together
		record Record
		change Change
	}
	both.record.Change = &both.change
	if reason := fillChange(&both.change, m); reason != "" {
		return nil, reason
	}
	var ok bool
	if both.change.Before, ok = rowFromWire(m.Before, nil); !ok {
		return nil, badBefore
	}
	if both.change.After, ok = rowFromWire(m.After, nil); !ok {
		return nil, badAfter
	}
	return &both.record, ""
}

const (
	badBefore = "before: a column with a presence that is not known"
	badAfter  = "after: a column with a presence that is not known"
)

// fillChange converts everything but the rows; c.Key is used again.
func fillChange(c *Change, m *pb.Change) (reason string) {
	c.EventID = EventID{Source: m.Source, Epoch: m.Epoch, Pos: m.Pos, Ordinal: m.Ordinal}
	c.Side, c.Entity, c.Op = sideFromWire(m.Side), m.Entity, opFromWire(m.Op)
	c.Key = slices.Grow(c.Key[:0], len(m.Key))
	for _, b := range m.Key {
		c.Key = append(c.Key, textOf(b))
	}
	c.Txn, c.TxnRows = m.Txn, m.TxnRows
	c.CommitTS, c.CommitTSMin, c.Stamp = Micros(m.CommitTs), Micros(m.CommitTsMin), Micros(m.Stamp)
	c.Mapping = m.Mapping
	if m.Tag != nil {
		c.Tag = tagFromWire(m.Tag)
	}
	for _, b := range [...][]byte{m.Digest, m.BeforeDigest} {
		if n := len(b); n != 0 && n != len(c.Digest) {
			return "a digest that is not of 16 bytes"
		}
	}
	copy(c.Digest[:], m.Digest)
	copy(c.BeforeDigest[:], m.BeforeDigest)
	return ""
}

func gapFromWire(m *pb.Gap) *Gap {
	return &Gap{Side: sideFromWire(m.Side), Entity: m.Entity, Source: m.Source, Epoch: m.Epoch, Pos: m.Pos, Reason: textOf(m.Reason), TS: Micros(m.Ts),
		Ordinal: m.Ordinal}
}

func quarantineFromWire(m *pb.Quarantine) (*Record, string) {
	q := &Quarantine{
		EventID: EventID{Source: m.Source, Epoch: m.Epoch, Pos: m.Pos, Ordinal: m.Ordinal},
		Side:    sideFromWire(m.Side), Entity: m.Entity, Key: textsFromWire(m.Key), Txn: m.Txn, Read: m.Read,
		CommitTS: Micros(m.CommitTs), CommitTSMin: Micros(m.CommitTsMin), Stamp: Micros(m.Stamp), Reason: textOf(m.Reason),
	}
	if len(m.Digest) != len(q.Digest) {
		return nil, "a digest that is not of 16 bytes"
	}
	copy(q.Digest[:], m.Digest)
	return &Record{Quarantine: q}, ""
}

func controlFromWire(m *pb.Control) (*Record, string) {
	c := &Control{
		Rules: m.Rules, Authority: sideFromWire(m.Authority), SettleWindow: Micros(m.SettleWindowUs),
		Baseline: m.Baseline, Definition: m.Definition,
	}
	if len(m.Entities) > 0 {
		c.Entities = make(map[string]EntityControl, len(m.Entities))
	}
	for _, e := range m.Entities {
		if _, twice := c.Entities[e.Name]; twice {
			return nil, "an entity that stands twice in a control record"
		}
		c.Entities[e.Name] = EntityControl{Authority: sideFromWire(e.Authority), SettleWindow: Micros(e.SettleWindowUs)}
	}
	if m.Rollout != nil {
		var err error
		if c.Rollout, err = rolloutFromWire(m.Rollout); err != nil {
			return nil, err.Error()
		}
	}
	return &Record{Control: c}, ""
}

func rolloutFromWire(m *pb.Rollout) (*RolloutControl, error) {
	stage, err := ParseRolloutStage(m.Stage)
	if err != nil {
		return nil, err
	}
	r := &RolloutControl{Name: m.Name, Revision: m.Revision, Epoch: m.Epoch, Stage: stage, Ramp: RampShare(m.Ramp), Salt: textOf(m.Salt), Fence: Micros(m.FenceTs)}
	for _, p := range m.Pins {
		r.Pins = append(r.Pins, Pin{Key: textsFromWire(p.Key), Side: sideFromWire(p.Side)})
	}
	return r, nil
}

func tagFromWire(m *pb.Tag) Tag {
	return Tag{
		WriteID: textOf(m.WriteId), Traceparent: textOf(m.Traceparent), FlagEpoch: textOf(m.FlagEpoch),
		CompensationID: textOf(m.CompensationId), Service: textOf(m.Service),
	}
}

// rowFromWire converts an image into the memory of a row that is done with; no
// image is a nil row. It is false where a presence is not known, or not of the log.
func rowFromWire(m *pb.Image, done Row) (Row, bool) {
	return imageFromWire(m, done, pb.Presence_PRESENCE_UNAVAILABLE)
}

// eventRowFromWire is rowFromWire for a derived event.
func eventRowFromWire(m *pb.Image) (Row, bool) {
	return imageFromWire(m, nil, pb.Presence_PRESENCE_MASKED)
}

func imageFromWire(m *pb.Image, done Row, last pb.Presence) (Row, bool) {
	if m == nil {
		return nil, true
	}
	row := done[:0]
	if cap(row) < len(m.Columns) || row == nil {
		row = make(Row, 0, len(m.Columns))
	}
	row = row[:len(m.Columns)]
	for i, c := range m.Columns {
		if c.Presence < 0 || c.Presence > last {
			return nil, false
		}
		row[i] = Column{Name: c.Name, Presence: Presence(c.Presence)}
		if row[i].Presence == Value || row[i].Presence == Masked {
			row[i].Text = textOf(c.Text)
		}
	}
	return row, true
}

// textsFromWire converts a list of texts; an empty one is nil.
func textsFromWire(m [][]byte) []string {
	if len(m) == 0 {
		return nil
	}
	texts := make([]string, len(m))
	for i, b := range m {
		texts[i] = textOf(b)
	}
	return texts
}

// sideFromWire keeps 0 and makes anything that is no side one that no check
// accepts.
func sideFromWire(s pb.Side) Side {
	if s < 0 || s > 255 {
		return 255
	}
	return Side(s)
}

// opFromWire does the same for ops.
func opFromWire(o pb.Op) Op {
	if o < 0 || o > 255 {
		return 255
	}
	return Op(o)
}

// textOf returns b as text without copying: b must not be written any more.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// releaseRecord gives m back to the pools of pb, without anything in it that
// points into the bytes it was read from.
func releaseRecord(m *pb.Record) {
	if k, ok := m.Kind.(*pb.Record_Change); ok {
		c := k.Change
		if columnsOf(c.Before)+columnsOf(c.After) > maxScratchColumns {
			return
		}
		forgetTexts(c.Before)
		forgetTexts(c.After)
		clear(c.Key)
		c.Digest, c.BeforeDigest = nil, nil
		if c.Tag != nil {
			c.Tag.Reset()
		}
	}
	m.ReturnToVTPool()
}

func columnsOf(m *pb.Image) int {
	if m == nil {
		return 0
	}
	return len(m.Columns)
}

func forgetTexts(m *pb.Image) {
	if m == nil {
		return
	}
	for _, c := range m.Columns {
		c.Text = nil
	}
}
