package state

import (
	"hash/maphash"
	"sync"
)

// written knows of each key whether it can have been written: what was is never
// missing, and of what was not some two in a hundred seem to be. It saves looking
// for keys that come for the first time.
type written struct {
	seed  maphash.Seed
	parts []writtenPart
	room  *share
}

// share is what a partition's filter may take of the memory that a DB has for them.
type share struct {
	all       *filters
	partition int32
}

// filters are how many bytes the partitions' filters have of those that all may take.
type filters struct {
	mu   sync.Mutex
	left int           // under mu, as is what follows
	held map[int32]int // by partition
}

func newFilters(bytes int) *filters { return &filters{left: bytes, held: map[int32]int{}} }

// of begins a partition's share anew.
func (f *filters) of(partition int32) *share {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left += f.held[partition]
	delete(f.held, partition)
	return &share{f, partition}
}

// giveBack has the others have it.
func (s *share) giveBack() { s.all.of(s.partition) }

// take is false where there is not so much left.
func (s *share) take(bytes int) bool {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if s.all.left < bytes {
		return false
	}
	s.all.left -= bytes
	s.all.held[s.partition] += bytes
	return true
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
	lineBytes    = lineWords * 8
	firstWritten = 1 << 14 // keys; each part has room for four times as many as the one before, up to
	mostWritten  = 1 << 20

	// What the filters of all partitions take together: for 14 million keys, or 4.
	filterBytes        = 24 << 20
	filterBytesPassing = 8 << 20
)

func newWritten(room *share) *written {
	w := &written{seed: maphash.MakeSeed(), room: room}
	if !w.grow() {
		return nil
	}
	return w
}

// grow makes room for more keys, unless there is as much as there may be.
func (w *written) grow() bool {
	keys := min(firstWritten<<min(2*len(w.parts), 16), mostWritten)
	lines := keys/lineKeys + 1
	if !w.room.take(lines * lineBytes) {
		return false
	}
	w.parts = append(w.parts, writtenPart{lines: make([][lineWords]uint64, lines), room: keys})
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
