package reconcile

import (
	"encoding/binary"
	"errors"

	"github.com/trueup-io/trueup/schemas"
)

// ErrDamaged says that a record of the state cannot be read: it has to be made
// anew from the log.
var ErrDamaged = errors.New("damaged state record")

// encoder and decoder write and read the state's records: varints, and bytes
// and texts behind their length.
type encoder struct{ b []byte }

func (e *encoder) byte(v byte)           { e.b = append(e.b, v) }
func (e *encoder) uint(v uint64)         { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)           { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) time(v schemas.Micros) { e.int(int64(v)) }
func (e *encoder) bytes(v []byte)        { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) text(v string)         { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) bool(v bool)           { e.byte(b2i(v)) }
func (e *encoder) texts(v []string) {
	e.uint(uint64(len(v)))
	for _, s := range v {
		e.text(s)
	}
}

func b2i(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendText(b []byte, v string) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// appendTime writes eight bytes: what times of this century take as varints.
func appendTime(b []byte, v schemas.Micros) []byte {
	return binary.LittleEndian.AppendUint64(b, uint64(v))
}

// How a position is written.
const (
	posShort byte = 0 // sixteen upper-case hex digits, as eight bytes
	posText  byte = 1
)

func appendPos(b []byte, pos position) []byte {
	if n, ok := pos.number(); ok {
		return binary.BigEndian.AppendUint64(append(b, posShort), n)
	}
	return appendText(append(b, posText), pos.String())
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) time() schemas.Micros { return schemas.Micros(d.int()) }
func (d *decoder) text() string         { return string(d.take(d.uint())) }
func (d *decoder) bool() bool           { return d.byte() != 0 }

// fixed reads eight bytes.
func (d *decoder) fixed() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) fixedTime() schemas.Micros { return schemas.Micros(d.fixed()) }

// pos reads what appendPos wrote.
func (d *decoder) pos() position {
	if d.byte() == posShort {
		return d.posNumber()
	}
	return d.posText()
}

// posNumber reads a position of sixteen hex digits from its eight bytes.
func (d *decoder) posNumber() position {
	if b := d.take(8); b != nil {
		return numbered(binary.BigEndian.Uint64(b))
	}
	return position{}
}

func (d *decoder) posText() position { return positionOf(d.text()) }

// bytes returns a copy, nil for none.
func (d *decoder) bytes() []byte {
	v := d.take(d.uint())
	if len(v) == 0 {
		return nil
	}
	return append([]byte(nil), v...)
}

func (d *decoder) texts() []string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	v := make([]string, n)
	for i := range v {
		v[i] = d.text()
	}
	return v
}

func (d *decoder) err() error {
	if d.bad || len(d.b) != 0 {
		return ErrDamaged
	}
	return nil
}
