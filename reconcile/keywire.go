package reconcile

import (
	"encoding/hex"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// A key's record begins with one of these.
const (
	formSettled     = 1 // settled: one digest stands for both sides; at most 48 bytes; positions have 16 hex digits
	formOpen        = 2 // everything
	formSettledText = 3 // as formSettled, with positions as text
)

// encodeKey writes k in the smaller form that holds it.
func encodeKey(e *encoder, k *keyState, authority schemas.Side) {
	if k.settledForm() {
		encodeSettled(e, k, authority)
		return
	}
	e.byte(formOpen)
	e.byte(byte(authority))
	e.byte(byte(k.class))
	e.bool(k.indexed)
	e.texts(k.key)
	for _, s := range schemas.Sides {
		w := &k.side[s]
		e.byte(b2i(w.known) | b2i(w.ever)<<1 | b2i(w.seen)<<2)
		e.uint(uint64(w.gen))
		e.time(w.since)
		e.text(w.lastPos)
		e.uint(uint64(w.lastOrd))
		e.text(string(w.blocked))
		e.time(k.timer[s])
	}
	e.bool(k.overflow)
	e.uint(uint64(len(k.authority)))
	for i := range k.authority {
		encodeVersion(e, &k.authority[i])
	}
	e.int(int64(k.min))
	e.int(int64(k.max))
	e.bool(k.hasFollow)
	if k.hasFollow {
		encodeVersion(e, &k.follower)
	}
	e.uint(uint64(len(k.parked)))
	for i := range k.parked {
		encodeVersion(e, &k.parked[i])
	}
	e.bool(k.open != nil)
	if o := k.open; o != nil {
		e.text(o.id)
		e.text(string(o.kind))
		e.time(o.since)
		e.time(o.openedAt)
		e.uint(uint64(o.sequence))
		e.text(o.authorityPos)
		e.uint(uint64(o.authorityOrd))
		e.text(o.followerPos)
		e.uint(uint64(o.followerOrd))
	}
}

// settledForm says whether the small form holds all there is to remember.
func (k *keyState) settledForm() bool {
	for _, s := range schemas.Sides {
		if w := &k.side[s]; !w.known || w.blocked != "" || w.seen != w.ever {
			return false
		}
	}
	return k.class == classEqual && !k.touched && k.open == nil && !k.overflow &&
		len(k.parked) == 0 && len(k.authority) == 1 && k.max == 0 && k.hasFollow && k.timer == [3]schemas.Micros{} &&
		k.authority[0].tolerant == nil && k.follower.tolerant == nil &&
		k.authority[0].digest == k.follower.digest && (k.authority[0].flags|k.follower.flags)&^(present|virtual) == 0
}

// settle forgets what the small form does not hold, in memory too. When a key
// is written and read back is no part of the log, and no verdict may depend on
// it.
func (k *keyState) settle(authority schemas.Side) {
	k.authority[0] = k.authority[0].settled(&k.side[authority])
	k.follower = k.follower.settled(&k.side[authority.Other()])
	k.min = 0
	for _, s := range schemas.Sides {
		k.side[s].since = always
	}
}

// settled is what the small form holds of a version: it stands for all that
// its side has said so far.
func (v *version) settled(side *knowledge) version {
	w := version{digest: v.digest, flags: v.flags, at: always, off: v.off}
	if side.seen {
		w.pos, w.ord = side.lastPos, side.lastOrd
	}
	return w
}

func encodeSettled(e *encoder, k *keyState, authority schemas.Side) {
	form := byte(formSettled)
	for _, s := range schemas.Sides {
		if k.side[s].ever && !shortPos(k.side[s].lastPos) {
			form = formSettledText
		}
	}
	e.byte(form)
	var v [3]*version // by schemas.Side
	v[authority], v[authority.Other()] = &k.authority[0], &k.follower
	flags := b2i(k.authority[0].has(present)) | byte(authority)<<1
	for _, s := range schemas.Sides {
		flags |= b2i(k.side[s].ever) << (2 + byte(s)) // bits 3, 4
		flags |= b2i(v[s].has(virtual)) << (4 + byte(s))
	}
	e.byte(flags)
	if k.authority[0].has(present) {
		e.raw(k.authority[0].digest[:])
	}
	for _, s := range schemas.Sides {
		w := &k.side[s]
		e.uint(uint64(w.gen))
		if w.ever {
			if form == formSettled {
				e.b = appendShort(e.b, w.lastPos)
			} else {
				e.text(w.lastPos)
			}
			e.uint(uint64(w.lastOrd))
		}
		e.uint(uint64(v[s].off + 1))
	}
}

// shortPos says whether pos is sixteen upper-case hex digits.
func shortPos(pos string) bool {
	if len(pos) != 16 {
		return false
	}
	for i := range 16 {
		if c := pos[i]; (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// appendShort appends the eight bytes of a position that shortPos has seen.
func appendShort(dst []byte, pos string) []byte {
	for i := 0; i < 16; i += 2 {
		dst = append(dst, nibble(pos[i])<<4|nibble(pos[i+1]))
	}
	return dst
}

func nibble(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'A' + 10
}

// encodePos writes a position of sixteen upper-case hex digits as eight bytes, another as text.
func encodePos(e *encoder, pos string) {
	if shortPos(pos) {
		e.byte(0)
		e.b = appendShort(e.b, pos)
		return
	}
	e.byte(1)
	e.text(pos)
}

func decodePos(d *decoder) string {
	if d.byte() == 0 {
		return strings.ToUpper(hex.EncodeToString(d.take(8)))
	}
	return d.text()
}

func encodeVersion(e *encoder, v *version) {
	e.byte(byte(v.flags))
	if v.has(present) {
		e.raw(v.digest[:])
		e.bytes(v.tolerant)
	}
	e.time(v.at)
	encodePos(e, v.pos)
	e.uint(uint64(v.ord))
	e.int(v.off)
	e.uint(v.write)
}

func decodeVersion(d *decoder) version {
	v := version{flags: versionFlags(d.byte())}
	if v.has(present) {
		copy(v.digest[:], d.take(16))
		v.tolerant = d.bytes()
	}
	v.at = d.time()
	v.pos = decodePos(d)
	v.ord = uint32(d.uint())
	v.off = d.int()
	v.write = d.uint()
	return v
}

// decodeKey reads a record into k and returns the side that was the authority
// when it was written.
func decodeKey(b []byte, k *keyState) (schemas.Side, error) {
	d := &decoder{b: b}
	switch form := d.byte(); form {
	case formSettled, formSettledText:
		return decodeSettled(d, k, form)
	case formOpen:
	default:
		return 0, errDamaged
	}
	authority := schemas.Side(d.byte())
	k.class = class(d.byte())
	k.indexed = d.bool()
	k.key = d.texts()
	for _, s := range schemas.Sides {
		w := &k.side[s]
		flags := d.byte()
		w.known, w.ever, w.seen = flags&1 != 0, flags&2 != 0, flags&4 != 0
		w.gen = uint32(d.uint())
		w.since = d.time()
		w.lastPos = d.text()
		w.lastOrd = uint32(d.uint())
		w.blocked = schemas.Reason(d.text())
		k.timer[s] = d.time()
	}
	k.overflow = d.bool()
	for n := d.uint(); n > 0 && !d.bad; n-- {
		k.authority = append(k.authority, decodeVersion(d))
	}
	k.min, k.max = int(d.int()), int(d.int())
	if k.hasFollow = d.bool(); k.hasFollow {
		k.follower = decodeVersion(d)
	}
	for n := d.uint(); n > 0 && !d.bad; n-- {
		k.parked = append(k.parked, decodeVersion(d))
	}
	if d.bool() {
		k.open = &openDivergence{id: d.text(), kind: schemas.Kind(d.text()), since: d.time(), openedAt: d.time(),
			sequence: uint32(d.uint()), authorityPos: d.text(), authorityOrd: uint32(d.uint()),
			followerPos: d.text(), followerOrd: uint32(d.uint())}
	}
	if (authority != schemas.Legacy && authority != schemas.Target) || k.min > k.max || k.min < -1 || k.max >= len(k.authority) {
		d.bad = true
	}
	return authority, d.err()
}

func decodeSettled(d *decoder, k *keyState, form byte) (schemas.Side, error) {
	flags := d.byte()
	authority := schemas.Side(flags >> 1 & 3)
	if authority != schemas.Legacy && authority != schemas.Target {
		return 0, errDamaged
	}
	var v [3]version
	var digest schemas.Digest
	here := versionFlags(0)
	if flags&1 != 0 {
		here = present
		copy(digest[:], d.take(16))
	}
	for _, s := range schemas.Sides {
		v[s] = version{digest: digest, flags: here, at: always, off: noOffset}
		if flags>>(4+byte(s))&1 != 0 {
			v[s].flags |= virtual
		}
		w := &k.side[s]
		w.known, w.since = true, always
		w.ever = flags>>(2+byte(s))&1 != 0
		w.gen = uint32(d.uint())
		if w.seen = w.ever; w.seen {
			if form == formSettled {
				w.lastPos = strings.ToUpper(hex.EncodeToString(d.take(8)))
			} else {
				w.lastPos = d.text()
			}
			w.lastOrd = uint32(d.uint())
			v[s].pos, v[s].ord = w.lastPos, w.lastOrd
		}
		v[s].off = int64(d.uint()) - 1
	}
	k.authority = append(k.authority, v[authority])
	k.follower, k.hasFollow = v[authority.Other()], true
	k.min, k.max = 0, 0
	k.class = classEqual
	return authority, d.err()
}
