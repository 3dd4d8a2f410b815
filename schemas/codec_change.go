package schemas

import (
	"encoding/binary"
	"slices"

	"github.com/planetscale/vtprotobuf/protohelpers"
)

// Nearly all records are changes, so they are written straight from what they
// are made of: laying them out as messages first, and walking through those
// once for the size and once for the bytes, takes several times as long. The
// bytes are those of the generated messages; a test says so of any change.

// appendChangeRecord appends the format byte and a record with the change.
func appendChangeRecord(dst []byte, c *Change) []byte {
	before, after, tag := rowSize(c.Before), rowSize(c.After), tagSize(&c.Tag)
	size := changeSize(c, before, after, tag)
	start, all := len(dst), 2+sizedSize(size)
	dst = slices.Grow(dst, all)[:start+all]
	// Into memory that is there, by an index that stays in a register: appending would look at the capacity for each byte.
	b := dst[start:]
	b[0] = formatV1
	i := putSize(b, 1, recordChange, size)
	i = putUint(b, i, changeSide, uint64(c.Side))
	i = putText(b, i, changeEntity, c.Entity)
	for _, text := range c.Key {
		i = putSize(b, i, changeKey, len(text))
		i += copy(b[i:], text)
	}
	i = putUint(b, i, changeOp, uint64(c.Op))
	i = putText(b, i, changeSource, c.Source)
	i = putUint(b, i, changeEpoch, uint64(c.Epoch))
	i = putText(b, i, changePos, c.Pos)
	i = putUint(b, i, changeOrdinal, uint64(c.Ordinal))
	i = putText(b, i, changeTxn, c.Txn)
	i = putUint(b, i, changeTxnRows, uint64(c.TxnRows))
	i = putUint(b, i, changeCommitTS, uint64(c.CommitTS))
	i = putUint(b, i, changeCommitTSMin, uint64(c.CommitTSMin))
	i = putUint(b, i, changeStamp, uint64(c.Stamp))
	if c.Before != nil {
		i = putRow(b, putSize(b, i, changeBefore, before), c.Before)
	}
	if c.After != nil {
		i = putRow(b, putSize(b, i, changeAfter, after), c.After)
	}
	if tag > 0 {
		i = putTag(b, putVarint(b, putVarint(b, i, changeTag), uint64(tag)), &c.Tag)
	}
	if c.digested() {
		i = putVarint(b, putVarint(b, i, changeDigest), uint64(len(c.Digest)))
		i += copy(b[i:], c.Digest[:])
	}
	if c.Mapping != "" {
		i = putVarint(b, putVarint(b, i, changeMapping), uint64(len(c.Mapping)))
		i += copy(b[i:], c.Mapping)
	}
	if c.BeforeDigest != (Digest{}) {
		i = putVarint(b, putVarint(b, i, changeBeforeDigest), uint64(len(c.BeforeDigest)))
		i += copy(b[i:], c.BeforeDigest[:])
	}
	if i != len(b) {
		panic("schemas: a change does not fill the size that it was said to have")
	}
	return dst
}

// putVarint writes v at b[i:] and returns where it ends, as all of these do.
func putVarint(b []byte, i int, v uint64) int { return i + binary.PutUvarint(b[i:], v) }

// putSize begins a field that has a length. Its number is below 16, as of all that follow.
func putSize(b []byte, i int, field byte, n int) int {
	b[i] = field
	if n < 0x80 {
		b[i+1] = byte(n)
		return i + 2
	}
	return putVarint(b, i+1, uint64(n))
}

func putText(b []byte, i int, field byte, text string) int {
	if text == "" {
		return i
	}
	i = putSize(b, i, field, len(text))
	return i + copy(b[i:], text)
}

func putUint(b []byte, i int, field byte, v uint64) int {
	if v == 0 {
		return i
	}
	b[i] = field
	return putVarint(b, i+1, v)
}

func putRow(b []byte, i int, row Row) int {
	for at := range row {
		c := &row[at]
		i = putSize(b, i, imageColumn, columnSize(c))
		i = putText(b, i, columnName, c.Name)
		i = putUint(b, i, columnPresence, uint64(c.Presence))
		if c.carriesText() {
			i = putText(b, i, columnText, c.Text)
		}
	}
	return i
}

func putTag(b []byte, i int, t *Tag) int {
	i = putText(b, i, tagWriteID, t.WriteID)
	i = putText(b, i, tagTraceparent, t.Traceparent)
	i = putText(b, i, tagFlagEpoch, t.FlagEpoch)
	i = putText(b, i, tagCompensationID, t.CompensationID)
	return putText(b, i, tagService, t.Service)
}

// digested says whether the change has a digest; one of nothing is zero.
func (c *Change) digested() bool { return c.Mapping != "" || c.Digest != (Digest{}) }

func changeSize(c *Change, before, after, tag int) int {
	n := uintFieldSize(uint64(c.Side)) + textFieldSize(c.Entity) + uintFieldSize(uint64(c.Op)) +
		textFieldSize(c.Source) + uintFieldSize(uint64(c.Epoch)) + textFieldSize(c.Pos) + uintFieldSize(uint64(c.Ordinal)) +
		textFieldSize(c.Txn) + uintFieldSize(uint64(c.TxnRows)) +
		uintFieldSize(uint64(c.CommitTS)) + uintFieldSize(uint64(c.CommitTSMin)) + uintFieldSize(uint64(c.Stamp))
	for _, text := range c.Key {
		n += 1 + sizedSize(len(text))
	}
	if c.Before != nil {
		n += 1 + sizedSize(before)
	}
	if c.After != nil {
		n += 1 + sizedSize(after)
	}
	if tag > 0 {
		n += 2 + sizedSize(tag)
	}
	if c.digested() {
		n += 2 + sizedSize(len(c.Digest))
	}
	if c.Mapping != "" {
		n += 2 + sizedSize(len(c.Mapping))
	}
	if c.BeforeDigest != (Digest{}) {
		n += 2 + sizedSize(len(c.BeforeDigest))
	}
	return n
}

func rowSize(row Row) int {
	n := 0
	for i := range row {
		n += 1 + sizedSize(columnSize(&row[i]))
	}
	return n
}

func columnSize(c *Column) int {
	n := textFieldSize(c.Name) + uintFieldSize(uint64(c.Presence))
	if c.carriesText() {
		n += textFieldSize(c.Text)
	}
	return n
}

// carriesText says whether the column's text is a value of anything.
func (c *Column) carriesText() bool { return c.Presence == Value || c.Presence == Masked }

func tagSize(t *Tag) int {
	return textFieldSize(t.WriteID) + textFieldSize(t.Traceparent) + textFieldSize(t.FlagEpoch) +
		textFieldSize(t.CompensationID) + textFieldSize(t.Service)
}

// sizedSize is what n bytes take behind their length.
func sizedSize(n int) int {
	if n < 0x80 {
		return 1 + n
	}
	return protohelpers.SizeOfVarint(uint64(n)) + n
}

// textFieldSize is what a field of a number below 16 takes; an empty one is left out.
func textFieldSize(text string) int {
	if text == "" {
		return 0
	}
	return 1 + sizedSize(len(text))
}

func uintFieldSize(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protohelpers.SizeOfVarint(v)
}
