package reconcile

import (
	"encoding/binary"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// A key's record begins with a byte of which the lowest two bits are one of
// these.
const (
	formSettled     = 1 // settled: one digest stands for both sides; positions have 16 hex digits
	formOpen        = 2 // everything
	formSettledText = 3 // as formSettled, with positions as text
)

// What the record of an open key says of it as a whole, and of each side.
const (
	hasOpen byte = 1 << iota
	hasOverflow
	hasFollower
	hasParked
	hasRun   // the follower's run did not begin with its latest version
	hasSplit // a write of a gone epoch is to be said
)

const (
	sideKnown byte = 1 << iota
	sideEver
	sideSeen
	sideAlways  // its history is known from the start
	sideBlocked // the reason follows
	sideTimer   // the time follows
)

// What a version's record leaves out, or says beside the version's flags.
const (
	versionLatest     byte = 1 << iota // its position is the latest of its side
	versionSameDigest                  // as the version before it in the record
	versionAlways                      // at is always
	versionNowhere                     // it stands nowhere in the log
	versionTolerant                    // tolerant values follow
	versionWrite                       // the hash of a write id follows
)

// encodeKey writes k in the smaller form that holds it.
func encodeKey(b []byte, k *keyState) []byte {
	authority := k.lead
	if k.settledForm() {
		return encodeSettled(b, k, authority)
	}
	b = append(b, formOpen, byte(authority), byte(k.class),
		b2i(k.open != nil)*hasOpen|b2i(k.overflow)*hasOverflow|b2i(k.hasFollow)*hasFollower|
			b2i(len(k.parked) > 0)*hasParked|b2i(k.hasFollow && k.run != k.follower.at)*hasRun|b2i(k.split != nil)*hasSplit)
	b = binary.AppendUvarint(b, k.list)
	for _, s := range schemas.Sides {
		b = encodeSide(b, k.on(s), k.timer[s])
	}
	b = binary.AppendUvarint(b, uint64(len(k.authority)))
	b = binary.AppendVarint(b, int64(k.min))
	b = binary.AppendVarint(b, int64(k.max))
	var before *version
	for i := range k.authority {
		b = encodeVersion(b, &k.authority[i], k.on(authority), before)
		before = &k.authority[i]
	}
	follower := k.on(authority.Other())
	if k.hasFollow {
		b = encodeVersion(b, &k.follower, follower, before)
		before = &k.follower
		if k.run != k.follower.at {
			b = appendTime(b, k.run)
		}
	}
	if len(k.parked) > 0 {
		b = binary.AppendUvarint(b, uint64(len(k.parked)))
	}
	for i := range k.parked {
		b = encodeVersion(b, &k.parked[i], follower, before)
		before = &k.parked[i]
	}
	if o := k.open; o != nil {
		b = appendText(b, o.id)
		b = appendText(b, string(o.kind))
		b = appendTime(b, o.since)
		b = appendTime(b, o.openedAt)
		b = binary.AppendUvarint(b, uint64(o.sequence))
		b = appendText(b, o.authorityPos.String())
		b = binary.AppendUvarint(b, uint64(o.authorityOrd))
		b = appendText(b, o.followerPos.String())
		b = binary.AppendUvarint(b, uint64(o.followerOrd))
		b = append(b, byte(o.lead))
	}
	if k.split != nil {
		b = encodeVersion(b, k.split, &knowledge{}, nil)
	}
	return b
}

func encodeSide(b []byte, w *knowledge, timer schemas.Micros) []byte {
	b = append(b, b2i(w.known)*sideKnown|b2i(w.ever)*sideEver|b2i(w.seen)*sideSeen|b2i(w.since == always)*sideAlways|
		b2i(w.blocked != 0)*sideBlocked|b2i(timer != 0)*sideTimer)
	b = binary.AppendUvarint(b, uint64(w.gen))
	if w.since != always {
		b = appendTime(b, w.since)
	}
	if w.seen {
		b = appendPos(b, w.lastPos)
		b = binary.AppendUvarint(b, uint64(w.lastOrd))
	}
	if w.blocked != 0 {
		b = appendText(b, string(w.blocked.reason()))
	}
	if timer != 0 {
		b = appendTime(b, timer)
	}
	return b
}

func decodeSide(d *decoder, w *knowledge) (timer schemas.Micros) {
	flags := d.byte()
	w.known, w.ever, w.seen = flags&sideKnown != 0, flags&sideEver != 0, flags&sideSeen != 0
	w.gen = uint32(d.uint())
	if w.since = always; flags&sideAlways == 0 {
		w.since = d.fixedTime()
	}
	if w.seen {
		w.lastPos, w.lastOrd = d.pos(), uint32(d.uint())
	}
	if flags&sideBlocked != 0 {
		if w.blocked = blockedBy(schemas.Reason(d.text())); w.blocked == 0 {
			d.bad = true
		}
	}
	if flags&sideTimer != 0 {
		timer = d.fixedTime()
	}
	return timer
}

// encodeVersion writes a version of a side; before is the one that is written
// before it, nil for none.
func encodeVersion(b []byte, v *version, side *knowledge, before *version) []byte {
	how := b2i(v.at == always)*versionAlways | b2i(v.off == noOffset)*versionNowhere | b2i(v.tolerant != nil)*versionTolerant |
		b2i(v.write != 0)*versionWrite
	if side.seen && v.ord == side.lastOrd && v.pos.equal(side.lastPos) {
		how |= versionLatest
	}
	if before != nil && v.digest == before.digest {
		how |= versionSameDigest
	}
	b = append(b, byte(v.flags), how)
	if v.has(present) && how&versionSameDigest == 0 {
		b = append(b, v.digest[:]...)
	}
	if v.tolerant != nil {
		b = binary.AppendUvarint(b, uint64(len(v.tolerant.values)))
		b = append(b, v.tolerant.values...)
	}
	if v.at != always {
		b = appendTime(b, v.at)
	}
	if how&versionLatest == 0 {
		b = appendPos(b, v.pos)
		b = binary.AppendUvarint(b, uint64(v.ord))
	}
	if v.off != noOffset {
		b = binary.AppendUvarint(b, uint64(v.off))
	}
	if v.write != 0 {
		b = binary.LittleEndian.AppendUint64(b, v.write)
	}
	return b
}

func decodeVersion(d *decoder, side *knowledge, before *version) version {
	v := version{flags: versionFlags(d.byte()), at: always, off: noOffset}
	how := d.byte()
	switch {
	case !v.has(present):
	case how&versionSameDigest == 0:
		copy(v.digest[:], d.take(16))
	case before == nil:
		d.bad = true
	default:
		v.digest = before.digest
	}
	if how&versionTolerant != 0 {
		v.tolerant = &tolerant{append([]byte{}, d.take(d.uint())...)}
	}
	if how&versionAlways == 0 {
		v.at = d.fixedTime()
	}
	if how&versionLatest != 0 {
		v.pos, v.ord = side.lastPos, side.lastOrd
	} else {
		v.pos, v.ord = d.pos(), uint32(d.uint())
	}
	if how&versionNowhere == 0 {
		v.off = int64(d.uint())
	}
	if how&versionWrite != 0 {
		v.write = d.fixed()
	}
	return v
}

// settledForm says whether the small form holds all there is to remember.
func (k *keyState) settledForm() bool {
	if !k.hasSettled() {
		return false
	}
	for _, s := range schemas.Sides {
		if w := k.on(s); w.seen != w.ever {
			return false
		}
	}
	return true
}

// hasSettled says that the key is equal on both sides, and that nothing is under way.
func (k *keyState) hasSettled() bool {
	if k.class != classEqual || k.touched || k.timer != [3]schemas.Micros{} {
		return false // most that have not
	}
	for _, s := range schemas.Sides {
		if w := k.on(s); !w.known || w.blocked != 0 {
			return false
		}
	}
	return k.open == nil && k.split == nil && !k.overflow &&
		len(k.parked) == 0 && len(k.authority) == 1 && k.max == 0 && k.hasFollow &&
		k.authority[0].tolerant == nil && k.follower.tolerant == nil &&
		k.authority[0].digest == k.follower.digest && (k.authority[0].flags|k.follower.flags)&^(present|virtual|unlogged) == 0
}

// settle forgets what the small form does not hold, in memory too. When a key
// is written and read back is no part of the log, and no verdict may depend on
// it.
func (k *keyState) settle(authority schemas.Side) {
	k.authority[0] = k.authority[0].settled(k.on(authority))
	k.follower = k.follower.settled(k.on(authority.Other()))
	k.run = always
	k.min = 0
	for _, s := range schemas.Sides {
		k.on(s).since = always
	}
}

// settled is what the small form holds of a version: it stands for all that
// its side has said so far.
func (v *version) settled(side *knowledge) version {
	w := version{digest: v.digest, flags: v.flags &^ unlogged, at: always, off: v.off}
	if side.seen {
		w.pos, w.ord = side.lastPos, side.lastOrd
	}
	return w
}

// encodeSettled writes at most 48 bytes for positions of 16 hex digits, offsets
// below 2^35, rows of the two sides that stand less than 2^20 records apart, and
// transactions of less than 128 rows of a partition; 50 for those of 16,384.
func encodeSettled(b []byte, k *keyState, authority schemas.Side) []byte {
	form := byte(formSettled)
	for _, s := range schemas.Sides {
		if w := k.on(s); w.ever {
			if _, ok := w.lastPos.number(); !ok {
				form = formSettledText
			}
		}
	}
	var v [3]*version // by schemas.Side
	v[authority], v[authority.Other()] = &k.authority[0], &k.follower
	head := form | b2i(k.authority[0].has(present))<<2 | b2i(authority == schemas.Target)<<3
	for i, s := range schemas.Sides {
		head |= b2i(k.on(s).ever)<<(4+i) | b2i(v[s].has(virtual))<<(6+i)
	}
	b = append(b, head)
	legacy, target := k.on(schemas.Legacy), k.on(schemas.Target)
	if legacy.gen < 16 && target.gen < 15 { // both 15 would be manyGens
		b = append(b, byte(legacy.gen)<<4|byte(target.gen))
	} else {
		b = append(b, manyGens)
		b = binary.AppendUvarint(b, uint64(legacy.gen))
		b = binary.AppendUvarint(b, uint64(target.gen))
	}
	if k.authority[0].has(present) {
		b = append(b, k.authority[0].digest[:]...)
	}
	for _, w := range []*knowledge{legacy, target} {
		if !w.ever {
			continue
		}
		if form == formSettled {
			n, _ := w.lastPos.number()
			b = binary.BigEndian.AppendUint64(b, n)
		} else {
			b = appendText(b, w.lastPos.String())
		}
		b = binary.AppendUvarint(b, uint64(w.lastOrd))
	}
	b = binary.AppendUvarint(b, uint64(v[schemas.Legacy].off+1))
	return binary.AppendVarint(b, v[schemas.Target].off-v[schemas.Legacy].off)
}

// manyGens says that generations follow one by one.
const manyGens = 0xff

// decodeKey reads a record into k and returns the side that was the authority
// when it was written.
func decodeKey(b []byte, k *keyState) (schemas.Side, error) {
	d := &decoder{b: b}
	head := d.byte()
	switch head & 3 {
	case formSettled, formSettledText:
		return decodeSettled(d, k, head)
	case formOpen:
	default:
		return 0, ErrDamaged
	}
	authority := schemas.Side(d.byte())
	k.class = class(d.byte())
	has := d.byte()
	k.list = d.uint()
	if head != formOpen || authority != schemas.Legacy && authority != schemas.Target || k.class >= classCount {
		return 0, ErrDamaged
	}
	for _, s := range schemas.Sides {
		k.timer[s] = decodeSide(d, k.on(s))
	}
	n := d.uint()
	k.min, k.max = int(d.int()), int(d.int())
	var before *version
	if n > uint64(len(d.b)) {
		return 0, ErrDamaged
	}
	k.authority = slices.Grow(k.authority, int(n)) // before points into it
	for ; n > 0 && !d.bad; n-- {
		k.authority = append(k.authority, decodeVersion(d, k.on(authority), before))
		before = k.last()
	}
	follower := k.on(authority.Other())
	if k.hasFollow = has&hasFollower != 0; k.hasFollow {
		k.follower = decodeVersion(d, follower, before)
		before = &k.follower
		if k.run = k.follower.at; has&hasRun != 0 {
			k.run = d.fixedTime()
		}
	}
	if has&hasParked != 0 {
		n := d.uint()
		if n > uint64(len(d.b)) {
			return 0, ErrDamaged
		}
		k.parked = make([]version, 0, n)
		for ; n > 0 && !d.bad; n-- {
			k.parked = append(k.parked, decodeVersion(d, follower, before))
			before = &k.parked[len(k.parked)-1]
		}
	}
	k.overflow = has&hasOverflow != 0
	if has&hasOpen != 0 {
		k.open = &openDivergence{id: d.text(), kind: schemas.Kind(d.text()), since: d.fixedTime(), openedAt: d.fixedTime(),
			sequence: uint32(d.uint()), authorityPos: d.posText(), authorityOrd: uint32(d.uint()),
			followerPos: d.posText(), followerOrd: uint32(d.uint()), lead: schemas.Side(d.byte())}
	}
	if has&hasSplit != 0 {
		v := decodeVersion(d, &knowledge{}, nil)
		k.split = &v
	}
	if k.min > k.max || k.min < -1 || k.max >= len(k.authority) {
		d.bad = true
	}
	return authority, d.err()
}

func decodeSettled(d *decoder, k *keyState, head byte) (schemas.Side, error) {
	authority := schemas.Legacy
	if head>>3&1 != 0 {
		authority = schemas.Target
	}
	if gens := d.byte(); gens != manyGens {
		k.on(schemas.Legacy).gen, k.on(schemas.Target).gen = uint32(gens>>4), uint32(gens&15)
	} else {
		k.on(schemas.Legacy).gen, k.on(schemas.Target).gen = uint32(d.uint()), uint32(d.uint())
	}
	var digest schemas.Digest
	here := versionFlags(0)
	if head>>2&1 != 0 {
		here = present
		copy(digest[:], d.take(16))
	}
	var v [3]version
	for i, s := range schemas.Sides {
		v[s] = version{digest: digest, flags: here, at: always}
		if head>>(6+i)&1 != 0 {
			v[s].flags |= virtual
		}
		w := k.on(s)
		w.known, w.since = true, always
		w.ever = head>>(4+i)&1 != 0
		if w.seen = w.ever; !w.seen {
			continue
		}
		if head&3 == formSettled {
			w.lastPos = d.posNumber()
		} else {
			w.lastPos = d.posText()
		}
		w.lastOrd = uint32(d.uint())
		v[s].pos, v[s].ord = w.lastPos, w.lastOrd
	}
	v[schemas.Legacy].off = int64(d.uint()) - 1
	v[schemas.Target].off = v[schemas.Legacy].off + d.int()
	k.authority = append(k.authority, v[authority])
	k.setFollower(&v[authority.Other()])
	k.min, k.max = 0, 0
	k.class = classEqual
	return authority, d.err()
}
