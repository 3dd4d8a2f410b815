package reconcile

import (
	"encoding/binary"
	"errors"

	"github.com/trueup-io/trueup/schemas"
)

// errDamaged says that a state record cannot be read.
var errDamaged = errors.New("damaged state record")

// encoder and decoder write and read the state's records: varints, and bytes
// and texts behind their length.
type encoder struct{ b []byte }

func (e *encoder) byte(v byte)           { e.b = append(e.b, v) }
func (e *encoder) uint(v uint64)         { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)           { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) time(v schemas.Micros) { e.int(int64(v)) }
func (e *encoder) raw(v []byte)          { e.b = append(e.b, v...) }
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
		return errDamaged
	}
	return nil
}
