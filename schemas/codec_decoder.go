package schemas

import "github.com/trueup-io/trueup/schemas/pb"

// Decoder reads records that are done with one by one. It accepts what
// UnmarshalRecord accepts, and refuses what that refuses; but what it returns
// shares memory with what it returned before and with the bytes it was read
// from, and rows that nobody needs to look at stay unread. It is not safe for
// concurrent use.
type Decoder struct {
	// Mapping is the version of rules of which a digest stands for its row: a change that has one has a row after it
	// without columns. Empty: every row is read.
	Mapping string
	// Before says of which sides rows before changes are read all the same, where they have no digest of their own.
	Before [3]bool

	record Record
	change Change
	rows   [2]Row // memory of the row before a change and of the one after it
}

// NewDecoder returns what reads records for who compares them under rules.
func NewDecoder(rules *Rules) Decoder {
	d := Decoder{Mapping: rules.Version}
	for _, e := range rules.Entities() {
		for _, s := range Sides {
			d.Before[s] = d.Before[s] || e.ReadsBefore(s)
		}
	}
	return d
}

// unread is a row of a change that stands in the log and was not read, or has no columns.
var unread = Row{}

// Unmarshal reads what AppendRecord wrote. An error is a *DecodeError. A change
// is valid until the next call, and as long as b is not written.
func (d *Decoder) Unmarshal(b []byte) (*Record, error) {
	message, bad := payload(b)
	if bad != nil {
		return nil, bad
	}
	if d.readPlain(message) {
		if err := checkRecord(&d.record); err != nil {
			return nil, decodeError(b, "%s", err)
		}
		return &d.record, nil
	}
	m := pb.RecordFromVTPool()
	defer releaseRecord(m)
	if err := m.UnmarshalVTUnsafe(message); err != nil {
		return nil, decodeError(b, "%s", err)
	}
	k, ok := m.Kind.(*pb.Record_Change)
	if !ok {
		return UnmarshalRecord(b) // these are few, and kept
	}
	if reason := d.read(k.Change); reason != "" {
		return nil, decodeError(b, "%s", reason)
	}
	if err := checkRecord(&d.record); err != nil {
		return nil, decodeError(b, "%s", err)
	}
	return &d.record, nil
}

func (d *Decoder) read(m *pb.Change) (reason string) {
	d.change = Change{Key: d.change.Key}
	d.record = Record{Change: &d.change}
	if reason := fillChange(&d.change, m); reason != "" {
		return reason
	}
	known := d.Mapping != "" && m.Mapping == d.Mapping
	var ok bool
	if d.change.Before, ok = d.image(m.Before, known && !d.needsBefore(), &d.rows[0]); !ok {
		return badBefore
	}
	if d.change.After, ok = d.image(m.After, known, &d.rows[1]); !ok {
		return badAfter
	}
	return ""
}

// needsBefore says whether the row before a change is to be read although the change's digest is known.
func (d *Decoder) needsBefore() bool {
	return int(d.change.Side) < len(d.Before) && d.Before[d.change.Side] && d.change.BeforeDigest == (Digest{})
}

// image converts an image, or only looks whether it could be.
func (d *Decoder) image(m *pb.Image, known bool, done *Row) (row Row, ok bool) {
	switch {
	case m == nil:
		return nil, true
	case !known:
		if row, ok = rowFromWire(m, *done); ok && cap(row) <= maxScratchColumns {
			*done = row
		}
		return row, ok
	}
	for _, c := range m.Columns {
		if c.Presence < 0 || c.Presence > pb.Presence_PRESENCE_UNAVAILABLE {
			return nil, false
		}
	}
	return unread, true
}
