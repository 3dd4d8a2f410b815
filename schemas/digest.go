package schemas

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
	"sync"
)

// The encoding that a row's digest is taken of is the entity's shape, and for
// every compared field without tolerance, in the entity's order, one of these
// and what it says follows. docs/canonical-values.md gives test vectors.
const (
	markNull        byte = 0
	markValue       byte = 1 // length as uvarint, canonical bytes
	markUnreadable  byte = 2 // side, length as uvarint, the server's text
	markMissing     byte = 3 // side
	markUnavailable byte = 4 // side
)

// shapeName begins what the shape is the digest of; another encoding would
// have another.
const shapeName = "trueup/row/1"

// shapeOf is the first half of the SHA-256 of shapeName and, for every field in
// the digest, its name and its type, each with its length before it.
func (e *Entity) shapeOf() (shape [16]byte) {
	b := []byte(shapeName)
	for _, i := range e.exact {
		f := &e.Fields[i]
		b = appendFramed(b, f.Name)
		b = appendFramed(b, f.Type)
	}
	sum := sha256.Sum256(b)
	copy(shape[:], sum[:])
	return shape
}

func appendFramed(dst []byte, text string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

// Image is what comparing needs to know of a row.
type Image struct {
	// Digest is the first half of the SHA-256 of the row's encoding; zero for a row that is absent.
	Digest  Digest
	Present bool
	// Fields that the log does not carry: nothing can be said of the row.
	Unavailable []string
	// Fields whose value the other side's store cannot hold.
	Unrepresentable []string
	// Fields that the mapping cannot be applied to: the column is not there, or its text is not of the field's type.
	Schema []string
	// Tolerant holds the fields that are compared with a tolerance; nil where the entity has none.
	Tolerant []byte
}

// Exact says that the digest says all: two exact images of present rows are
// equal if and only if their digests are. Only then can a digest stand for its
// row.
func (i *Image) Exact() bool {
	return i.Present && len(i.Unavailable) == 0 && len(i.Unrepresentable) == 0 && len(i.Schema) == 0 && i.Tolerant == nil
}

// DigestBefore returns the digest of the row before a change of a side, where that will be
// compared (see ReadsBefore) and a digest can stand for it; zero for any other. What it is taken
// of has to be under the same rules as the change's own digest.
func (e *Entity) DigestBefore(c *Change) Digest {
	if c.Before == nil || c.Op != OpUpdate && c.Op != OpDelete || !e.ReadsBefore(c.Side) {
		return Digest{}
	}
	img := e.Image(c.Side, c.Before)
	if !img.Exact() {
		return Digest{}
	}
	return img.Digest
}

// imageBuffers holds scratch memory of Image.
var imageBuffers = sync.Pool{New: func() any { return new(imageBuffer) }}

type imageBuffer struct {
	row   []byte // the encoding, or what follows the part that was hashed
	value []byte // a canonical value
	sum   hash.Hash
	part  bool // sum has a part of the encoding
}

// largeValue is from where on a value is hashed where it stands, and not copied
// into the encoding first.
const largeValue = 256 << 10

// hashLarge appends a large value to the encoding.
func (b *imageBuffer) hashLarge(value []byte) {
	if b.sum == nil {
		b.sum = sha256.New()
	}
	if !b.part {
		b.sum.Reset()
		b.part = true
	}
	b.row = binary.AppendUvarint(b.row, uint64(len(value)))
	b.sum.Write(b.row) // a hash never fails
	b.sum.Write(value)
	b.row = b.row[:0]
}

// digest is the first half of the SHA-256 of the encoding.
func (b *imageBuffer) digest() (d Digest) {
	if !b.part {
		sum := sha256.Sum256(b.row)
		copy(d[:], sum[:])
		return d
	}
	b.part = false
	b.sum.Write(b.row)
	copy(d[:], b.sum.Sum(nil))
	return d
}

// maxKeptBuffer bounds what a pooled buffer keeps: rows are seldom larger.
const maxKeptBuffer = 1 << 20

// Image returns the canonical image of a row of a side; nil is an absent row.
func (e *Entity) Image(side Side, row Row) Image {
	if row == nil {
		return Image{}
	}
	b := imageBuffers.Get().(*imageBuffer)
	img := Image{Present: true}
	c := rowCursor{row: row}
	b.row = append(b.row[:0], e.shape[:]...)
	for _, i := range e.exact {
		b.appendField(&img, e, &e.Fields[i], side, &c)
	}
	img.Digest = b.digest()
	if len(e.tolerant) > 0 {
		b.row = b.row[:0]
		for _, i := range e.tolerant {
			b.appendField(&img, e, &e.Fields[i], side, &c)
		}
		img.Tolerant = append(make([]byte, 0, len(b.row)), b.row...)
	}
	b.put()
	return img
}

func (b *imageBuffer) put() {
	if cap(b.row)+cap(b.value) <= maxKeptBuffer {
		imageBuffers.Put(b)
	}
}

// appendField appends a field's value to b.row, and says in img what is wrong
// with it.
func (b *imageBuffer) appendField(img *Image, e *Entity, f *Field, side Side, c *rowCursor) {
	r := f.read(side, c)
	switch {
	case r.missing:
		img.Schema = append(img.Schema, f.Name)
		b.row = append(b.row, markMissing, byte(side))
		return
	case r.presence == Unavailable:
		img.Unavailable = append(img.Unavailable, f.Name)
		b.row = append(b.row, markUnavailable, byte(side))
		return
	case r.presence == Null && r.problem == nil:
		b.row = append(b.row, markNull)
		return
	}
	if f.plain && r.problem == nil && len(r.text) <= largeValue {
		b.row = append(b.row, markValue)
		b.row = appendFramed(b.row, r.text)
		if textLimits(r.text) != 0 && beyondPostgres.beyond(e.drivers[side.Other()]) {
			img.Unrepresentable = append(img.Unrepresentable, f.Name)
		}
		return
	}
	var limit limits
	err := r.problem
	start := len(b.row)
	if err == nil {
		// One byte for the length, as of nearly all values that are no texts.
		b.row, limit, err = f.canonical.canon(append(b.row, markValue, 0), r.text)
	}
	if err != nil {
		img.Schema = append(img.Schema, f.Name)
		b.row = append(b.row[:start], markUnreadable, byte(side))
		b.row = appendFramed(b.row, r.text)
		return
	}
	if limit != 0 && limit.beyond(e.drivers[side.Other()]) {
		img.Unrepresentable = append(img.Unrepresentable, f.Name)
	}
	value := b.row[start+2:]
	if f.tolerance == nil && f.fold == nil && len(value) < 0x80 {
		b.row[start+1] = byte(len(value))
		return
	}
	b.value = append(b.value[:0], value...)
	b.row = b.row[:start+1]
	switch {
	case f.tolerance != nil:
		b.row = binary.BigEndian.AppendUint64(b.row, math.Float64bits(valueOf(b.value)))
	case f.fold != nil:
		b.row = appendFramed(b.row, f.fold.fold(textOf(b.value)))
	case len(b.value) > largeValue:
		b.hashLarge(b.value)
	default:
		b.row = appendFramed(b.row, textOf(b.value))
	}
}

// Equal says whether two images are of equal rows. A field that the mapping
// cannot be applied to is equal to nothing on the other side, and a field that
// the log does not carry is equal to nothing.
func (e *Entity) Equal(a, b Image) bool {
	switch {
	case a.Present != b.Present:
		return false
	case !a.Present:
		return true
	case len(a.Unavailable) > 0 || len(b.Unavailable) > 0:
		return false
	}
	return a.Digest == b.Digest && e.equalTolerant(a.Tolerant, b.Tolerant)
}

func (e *Entity) equalTolerant(a, b []byte) bool {
	for _, i := range e.tolerant {
		x, restA, okA := cutTolerant(a)
		y, restB, okB := cutTolerant(b)
		if !okA || !okB || x.mark != y.mark {
			return false
		}
		if x.mark == markValue && !e.Fields[i].tolerance.equal(x.value, y.value) {
			return false
		}
		a, b = restA, restB
	}
	return len(a) == 0 && len(b) == 0
}

// tolerantValue is a field of Image.Tolerant: NULL or a number.
type tolerantValue struct {
	mark  byte
	value float64
}

// cutTolerant takes the first field off; false where it has no value.
func cutTolerant(b []byte) (v tolerantValue, rest []byte, ok bool) {
	switch {
	case len(b) >= 1 && b[0] == markNull:
		return tolerantValue{mark: markNull}, b[1:], true
	case len(b) >= 9 && b[0] == markValue:
		return tolerantValue{markValue, math.Float64frombits(binary.BigEndian.Uint64(b[1:]))}, b[9:], true
	}
	return v, nil, false
}
