package postgres

import (
	"encoding/binary"

	"github.com/trueup-io/trueup/schemas"
)

// The server's half of the protocol, for tests: each function gives the bytes
// of a message.

type wire []byte

func (w wire) u8(v byte) wire      { return append(w, v) }
func (w wire) u16(v uint16) wire   { return binary.BigEndian.AppendUint16(w, v) }
func (w wire) u32(v uint32) wire   { return binary.BigEndian.AppendUint32(w, v) }
func (w wire) u64(v uint64) wire   { return binary.BigEndian.AppendUint64(w, v) }
func (w wire) cstr(s string) wire  { return append(append(w, s...), 0) }
func (w wire) sized(s string) wire { return append(w.u32(uint32(len(s))), s...) }
func (w wire) micros(t schemas.Micros) wire {
	return w.u64(uint64(t - pgEpoch))
}

func (w wire) tuple(cells []cell) wire {
	w = w.u16(uint16(len(cells)))
	for _, c := range cells {
		w = w.u8(c.kind)
		if c.kind == cellText {
			w = w.sized(c.text)
		}
	}
	return w
}

func (b begin) encode() string {
	return string(wire{kindBegin}.u64(uint64(b.final)).micros(b.stamp).u32(b.xid))
}

func (c commit) encode() string {
	return string(wire{kindCommit}.u8(c.flags).u64(uint64(c.commit)).u64(uint64(c.end)).micros(c.stamp))
}

func (o origin) encode() string {
	return string(wire{kindOrigin}.u64(uint64(o.commit)).cstr(o.name))
}

func (t typeName) encode() string {
	return string(wire{kindType}.u32(t.oid).cstr(t.namespace).cstr(t.name))
}

func (r relation) encode() string {
	w := wire{kindRelation}.u32(r.id).cstr(r.namespace).cstr(r.name).u8(r.identity).u16(uint16(len(r.columns)))
	for _, c := range r.columns {
		var flags byte
		if c.inIdentity {
			flags = 1
		}
		w = w.u8(flags).cstr(c.name).u32(c.oid).u32(uint32(c.modifier))
	}
	return string(w)
}

func (r rowMessage) encode(kind byte) string {
	w := wire{kind}.u32(r.relation)
	if r.oldKind != oldNone {
		w = w.u8(r.oldKind).tuple(r.old)
	}
	if kind != kindDelete {
		w = w.u8('N').tuple(r.new)
	}
	return string(w)
}

func (t truncate) encode() string {
	w := wire{kindTruncate}.u32(uint32(len(t.relations))).u8(t.options)
	for _, id := range t.relations {
		w = w.u32(id)
	}
	return string(w)
}

func (l logical) encode() string {
	var flags byte
	if l.transactional {
		flags = 1
	}
	return string(wire{kindMessage}.u8(flags).u64(uint64(l.at)).cstr(l.prefix).sized(l.content))
}

// text, null and unchanged make cells.
func text(s string) cell { return cell{cellText, s} }

var (
	null      = cell{kind: cellNull}
	unchanged = cell{kind: cellUnchanged}
)

// inStream is a message as it stands between a stream start and its stop.
func inStream(xid uint32, m string) string {
	return string(append(wire{m[0]}.u32(xid), m[1:]...))
}

func (s streamStart) encode() string {
	var first byte
	if s.first {
		first = 1
	}
	return string(wire{kindStreamStart}.u32(s.xid).u8(first))
}

func (s streamCommit) encode() string {
	return string(wire{kindStreamCommit}.u32(s.xid).u8(s.flags).u64(uint64(s.commit.commit)).u64(uint64(s.end)).micros(s.stamp))
}

func (s streamAbort) encode() string { return string(wire{kindStreamAbort}.u32(s.xid).u32(s.sub)) }

// streamStop closes a block.
const streamStop = "E"
