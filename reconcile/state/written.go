package state

import "hash/maphash"

// written knows of each key whether it can have been written: what was is never
// missing, and of what was not some two in a hundred seem to be. It saves looking
// for keys that come for the first time.
type written struct {
	seed  maphash.Seed
	parts []writtenPart // each has room for four times as many keys as the one before
}

// writtenPart is a Bloom filter of which a key's bits lie in one line of memory.
type writtenPart struct {
	lines [][lineWords]uint64
	room  int // keys that it still takes
}

const (
	lineWords    = 8
	lineKeys     = 40 // at 12.8 bits each
	keyBits      = 6
	firstWritten = 1 << 14 // keys
	mostWritten  = 4       // parts: 1.4 million keys, 2 MB
)

func newWritten() *written {
	w := &written{seed: maphash.MakeSeed()}
	w.grow()
	return w
}

// grow makes room for more keys, unless there is as much as there may be.
func (w *written) grow() bool {
	if len(w.parts) == mostWritten {
		return false
	}
	keys := firstWritten << (2 * len(w.parts))
	w.parts = append(w.parts, writtenPart{lines: make([][lineWords]uint64, keys/lineKeys+1), room: keys})
	return true
}

// add notes a key. It is false where there is no room for it: then nothing is known.
func (w *written) add(key []byte) bool {
	h := maphash.Bytes(w.seed, key)
	if w.hashed(h) {
		return true
	}
	last := &w.parts[len(w.parts)-1]
	if last.room == 0 {
		if !w.grow() {
			return false
		}
		last = &w.parts[len(w.parts)-1]
	}
	last.room--
	line := last.line(h)
	for range keyBits {
		line[h&7] |= 1 << (h >> 3 & 63)
		h >>= 9
	}
	return true
}

// has says whether a key can have been added.
func (w *written) has(key []byte) bool { return w.hashed(maphash.Bytes(w.seed, key)) }

func (w *written) hashed(h uint64) bool {
	for i := range w.parts {
		if w.parts[i].has(h) {
			return true
		}
	}
	return false
}

// line is chosen by other bits of the hash than those in it: by its product with
// an odd number.
func (p *writtenPart) line(h uint64) *[lineWords]uint64 {
	return &p.lines[(h*0x9E3779B97F4A7C15>>32)*uint64(len(p.lines))>>32]
}

func (p *writtenPart) has(h uint64) bool {
	line := p.line(h)
	for range keyBits {
		if line[h&7]>>(h>>3&63)&1 == 0 {
			return false
		}
		h >>= 9
	}
	return true
}
