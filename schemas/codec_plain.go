package schemas

import (
	"encoding/binary"
	"math"
)

// Nearly all records are changes as AppendRecord writes them: the fields in the
// order of their numbers, each once. Those are read straight from the bytes.
// Anything else is left to the message's own reader, which says what is wrong
// with it, if anything is.

// Fields of the messages, with how they are written in the lowest bits.
const (
	numbered = 0 // a varint
	sized    = 2 // bytes behind their length

	recordChange = 1<<3 | sized

	changeSide        = 1<<3 | numbered
	changeEntity      = 2<<3 | sized
	changeKey         = 3<<3 | sized // for each part of the key
	changeOp          = 4<<3 | numbered
	changeSource      = 5<<3 | sized
	changeEpoch       = 6<<3 | numbered
	changePos         = 7<<3 | sized
	changeOrdinal     = 8<<3 | numbered
	changeTxn         = 9<<3 | sized
	changeTxnRows     = 10<<3 | numbered
	changeCommitTS    = 11<<3 | numbered
	changeCommitTSMin = 12<<3 | numbered
	changeStamp       = 13<<3 | numbered
	changeBefore      = 14<<3 | sized
	changeAfter       = 15<<3 | sized
	changeTag         = 16<<3 | sized
	changeDigest      = 17<<3 | sized
	changeMapping     = 18<<3 | sized

	changeBeforeDigest = 19<<3 | sized

	imageColumn = 1<<3 | sized // for each column

	columnName     = 1<<3 | sized
	columnPresence = 2<<3 | numbered
	columnText     = 3<<3 | sized

	tagWriteID        = 1<<3 | sized
	tagTraceparent    = 2<<3 | sized
	tagFlagEpoch      = 3<<3 | sized
	tagCompensationID = 4<<3 | sized
	tagService        = 5<<3 | sized
)

// plainReader reads a message's fields in turn.
type plainReader struct {
	b    []byte
	last uint64 // field
	bad  bool   // it is not plain
}

// field returns the next field; 0 at the end, and where it is not plain. Only
// repeated may come again.
func (p *plainReader) field(repeated uint64) uint64 {
	if len(p.b) == 0 || p.bad {
		return 0
	}
	f := p.uint()
	if f < p.last || f == p.last && f != repeated || f == 0 {
		p.bad = true
	}
	p.last = f
	return f
}

func (p *plainReader) uint() uint64 {
	if len(p.b) > 0 && p.b[0] < 0x80 {
		v := uint64(p.b[0])
		p.b = p.b[1:]
		return v
	}
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad = true
		return 0
	}
	p.b = p.b[n:]
	return v
}

// upTo reads a number that is at most max.
func (p *plainReader) upTo(max uint64) uint64 {
	v := p.uint()
	p.bad = p.bad || v > max
	return v
}

func (p *plainReader) time() Micros { return Micros(p.uint()) }

func (p *plainReader) bytes() []byte {
	n := p.uint()
	if p.bad || n > uint64(len(p.b)) {
		p.bad = true
		return nil
	}
	v := p.b[:n:n]
	p.b = p.b[n:]
	return v
}

func (p *plainReader) text() string { return textOf(p.bytes()) }

// readPlain reads a record; false leaves it to the message's own reader. Texts point into b.
func (d *Decoder) readPlain(b []byte) bool {
	p := plainReader{b: b}
	if p.field(0) != recordChange {
		return false
	}
	m := plainReader{b: p.bytes()}
	if p.bad || len(p.b) > 0 {
		return false
	}
	d.change = Change{Key: d.change.Key[:0]}
	d.record = Record{Change: &d.change}
	var before, after []byte
	for f := m.field(changeKey); f != 0; f = m.field(changeKey) {
		switch f {
		case changeBefore:
			before = m.bytes()
		case changeAfter:
			after = m.bytes()
		case changeTag:
			m.bad = !d.change.Tag.readPlain(m.bytes()) || m.bad
		default:
			d.change.readPlain(f, &m)
		}
	}
	known := d.Mapping != "" && d.change.Mapping == d.Mapping
	return !m.bad && plainRow(before, known && !d.needsBefore(), &d.rows[0], &d.change.Before) && plainRow(after, known, &d.rows[1], &d.change.After)
}

// readPlain reads a field that is no message.
func (c *Change) readPlain(field uint64, p *plainReader) {
	switch field {
	case changeSide:
		c.Side = Side(p.upTo(math.MaxUint8))
	case changeEntity:
		c.Entity = p.text()
	case changeKey:
		c.Key = append(c.Key, p.text())
	case changeOp:
		c.Op = Op(p.upTo(math.MaxUint8))
	case changeSource:
		c.Source = p.text()
	case changeEpoch:
		c.Epoch = uint32(p.upTo(math.MaxUint32))
	case changePos:
		c.Pos = p.text()
	case changeOrdinal:
		c.Ordinal = uint32(p.upTo(math.MaxUint32))
	case changeTxn:
		c.Txn = p.text()
	case changeTxnRows:
		c.TxnRows = uint32(p.upTo(math.MaxUint32))
	case changeCommitTS:
		c.CommitTS = p.time()
	case changeCommitTSMin:
		c.CommitTSMin = p.time()
	case changeStamp:
		c.Stamp = p.time()
	case changeDigest:
		p.bad = copy(c.Digest[:], p.bytes()) != len(c.Digest) || p.bad
	case changeMapping:
		c.Mapping = p.text()
	case changeBeforeDigest:
		p.bad = copy(c.BeforeDigest[:], p.bytes()) != len(c.BeforeDigest) || p.bad
	default:
		p.bad = true
	}
}

func (t *Tag) readPlain(b []byte) bool {
	p := plainReader{b: b}
	for f := p.field(0); f != 0; f = p.field(0) {
		switch f {
		case tagWriteID:
			t.WriteID = p.text()
		case tagTraceparent:
			t.Traceparent = p.text()
		case tagFlagEpoch:
			t.FlagEpoch = p.text()
		case tagCompensationID:
			t.CompensationID = p.text()
		case tagService:
			t.Service = p.text()
		default:
			return false
		}
	}
	return !p.bad
}

// plainRow reads an image into the memory of a row that is done with; nil is
// none. One that need not be read is only looked through.
func plainRow(b []byte, unneeded bool, done, row *Row) bool {
	if b == nil {
		return true
	}
	if unneeded && plainImage(b) {
		*row = unread
		return true
	}
	p := plainReader{b: b}
	columns := (*done)[:0]
	for f := p.field(imageColumn); f != 0; f = p.field(imageColumn) {
		if f != imageColumn {
			return false
		}
		var c Column
		if !c.readPlain(p.bytes()) {
			return false
		}
		if !unneeded {
			columns = append(columns, c)
		}
	}
	switch {
	case p.bad:
		return false
	case unneeded || len(columns) == 0:
		*row = unread
		return true
	case cap(columns) <= maxScratchColumns:
		*done = columns
	}
	*row = columns
	return true
}

// plainImage says whether an image is one that plainRow reads, without reading it.
// It is false, too, for some that are, which nobody writes. Most records are
// looked at no further, so that it is worth a reader of its own.
func plainImage(b []byte) bool {
	for i := 0; i < len(b); {
		if b[i] != imageColumn {
			return false
		}
		n, at := shortLen(b, i+1)
		end := at + n
		if n < 0 || end > len(b) {
			return false
		}
		if i = at; i < end && b[i] == columnName {
			n, at = shortLen(b[:end], i+1)
			if i = at + n; n < 0 || i > end {
				return false
			}
		}
		if i+1 < end && b[i] == columnPresence && Presence(b[i+1]) <= Unavailable {
			i += 2
		}
		if i < end && b[i] == columnText {
			n, at = shortLen(b[:end], i+1)
			if i = at + n; n < 0 || i > end {
				return false
			}
		}
		if i != end {
			return false
		}
	}
	return true
}

// shortLen reads a length of one byte or two, and returns where what follows
// begins; -1 where there is none, or a longer one.
func shortLen(b []byte, i int) (n, next int) {
	if i >= len(b) {
		return -1, i
	}
	if b[i] < 0x80 {
		return int(b[i]), i + 1
	}
	if i+1 >= len(b) || b[i+1] >= 0x80 {
		return -1, i
	}
	return int(b[i]&0x7f) | int(b[i+1])<<7, i + 2
}

func (c *Column) readPlain(b []byte) bool {
	p := plainReader{b: b}
	for f := p.field(0); f != 0; f = p.field(0) {
		switch f {
		case columnName:
			c.Name = p.text()
		case columnPresence:
			c.Presence = Presence(p.upTo(uint64(Unavailable)))
		case columnText:
			c.Text = p.text()
		default:
			return false
		}
	}
	if c.Presence != Value {
		c.Text = ""
	}
	return !p.bad
}
