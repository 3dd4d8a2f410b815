// Package bytemap is a map from bytes to bytes whose entries lie in pages: an
// entry takes no allocation of its own, and the garbage collector has nothing
// to follow.
//
// It promises that what was set last is found, and that its memory is at most
// some three times what it holds. It assumes one user at a time.
package bytemap

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// pageSize is how much memory is taken at a time; an entry that is larger has
// a page of its own.
const pageSize = 256 << 10

const (
	firstSlots = 64
	keptSlots  = 1 << 18 // at most, of a map that is cleared: 3 MB
	keptPages  = 64      // 16 MB
)

// Map is a map from bytes to bytes. Make it with New.
type Map struct {
	seed  maphash.Seed
	slots []slot // a power of two; linear probing
	used  int    // slots that are not free
	live  int    // entries
	pages [][]byte
	open  int // the page that is being filled
	room  int // bytes of the entries in pages
	dead  int // of them, those that are no entry's any more
}

// slot says where an entry lies: no page 0 makes it free.
type slot struct {
	hash uint32
	page uint32 // from 1 on; gone for an entry that was removed
	at   uint32
}

const gone = ^uint32(0)

// An entry is its key's length, its room for a value, its value's length, each
// in four bytes, the key, and the value.
const headSize = 12

// valueStep is what the room for a value is a multiple of, so that one that
// grows a little stays where it is. A power of two.
const valueStep = 32

// New returns an empty map.
func New() *Map { return &Map{seed: maphash.MakeSeed(), slots: make([]slot, firstSlots)} }

// Len returns the number of entries.
func (m *Map) Len() int { return m.live }

// Size returns the bytes that entries take, and those that are no entry's any more.
func (m *Map) Size() int { return m.room }

// Get returns the value of a key. It is valid until the map is changed.
func (m *Map) Get(key []byte) (value []byte, ok bool) {
	i, ok := m.find(key, m.hash(key))
	if !ok {
		return nil, false
	}
	_, value = m.entry(&m.slots[i])
	return value, true
}

// Set gives a key a value. It keeps neither.
func (m *Map) Set(key, value []byte) {
	h := m.hash(key)
	i, ok := m.find(key, h)
	if ok {
		s := &m.slots[i]
		e := m.pages[s.page-1][s.at:]
		size := binary.LittleEndian.Uint32(e)
		room := binary.LittleEndian.Uint32(e[4:])
		if uint64(len(value)) <= uint64(room) {
			binary.LittleEndian.PutUint32(e[8:], uint32(len(value)))
			copy(e[headSize+size:], value)
			return
		}
		m.dead += headSize + int(size) + int(room)
		s.page, s.at = m.write(key, value, roomFor(value))
		m.tidy()
		return
	}
	if m.slots[i].page == 0 {
		m.used++
	}
	m.live++
	page, at := m.write(key, value, roomFor(value))
	m.slots[i] = slot{hash: h, page: page, at: at}
	m.tidy()
}

// Delete removes a key.
func (m *Map) Delete(key []byte) {
	i, ok := m.find(key, m.hash(key))
	if !ok {
		return
	}
	s := &m.slots[i]
	k, _ := m.entry(s)
	m.dead += headSize + len(k) + int(binary.LittleEndian.Uint32(m.pages[s.page-1][s.at+4:]))
	m.live--
	s.page = gone
	m.tidy()
}

// Clear removes everything and keeps the memory of a map that is not large.
func (m *Map) Clear() {
	if len(m.slots) > keptSlots {
		*m = Map{seed: m.seed, slots: make([]slot, firstSlots)}
		return
	}
	clear(m.slots)
	pages := m.pages[:0]
	for _, p := range m.pages {
		if cap(p) == pageSize && len(pages) < keptPages {
			pages = append(pages, p[:0])
		}
	}
	clear(m.pages[len(pages):])
	m.pages, m.open = pages, 0
	m.used, m.live, m.room, m.dead = 0, 0, 0, 0
}

// All yields every entry, in no order that means anything. The map must not be
// changed meanwhile.
func (m *Map) All(yield func(key, value []byte) bool) {
	for i := range m.slots {
		if s := &m.slots[i]; s.page != 0 && s.page != gone && !yield(m.entry(s)) {
			return
		}
	}
}

// Keys returns the keys in [lower, upper) in order. They are valid until the
// map is cleared.
func (m *Map) Keys(lower, upper []byte) [][]byte {
	var keys [][]byte
	for k := range m.All {
		if bytes.Compare(k, lower) >= 0 && bytes.Compare(k, upper) < 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

func (m *Map) hash(key []byte) uint32 { return uint32(maphash.Bytes(m.seed, key)) }

// find returns the slot of a key, or the one where it belongs.
func (m *Map) find(key []byte, h uint32) (i int, ok bool) {
	mask := len(m.slots) - 1
	free := -1
	for i = int(h) & mask; ; i = (i + 1) & mask {
		s := &m.slots[i]
		switch {
		case s.page == 0:
			if free >= 0 {
				return free, false
			}
			return i, false
		case s.page == gone:
			if free < 0 {
				free = i
			}
		case s.hash == h:
			if k, _ := m.entry(s); bytes.Equal(k, key) {
				return i, true
			}
		}
	}
}

func (m *Map) entry(s *slot) (key, value []byte) {
	e := m.pages[s.page-1][s.at:]
	size, used := binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[8:])
	e = e[headSize:]
	return e[:size:size], e[size : size+used : size+used]
}

func roomFor(value []byte) int { return (len(value) + valueStep - 1) &^ (valueStep - 1) }

// write appends an entry with so much room for its value to a page.
func (m *Map) write(key, value []byte, room int) (page, at uint32) {
	n := headSize + len(key) + room
	i := m.pageFor(n)
	p := m.pages[i]
	at = uint32(len(p))
	p = binary.LittleEndian.AppendUint32(p, uint32(len(key)))
	p = binary.LittleEndian.AppendUint32(p, uint32(room))
	p = binary.LittleEndian.AppendUint32(p, uint32(len(value)))
	p = append(append(p, key...), value...)
	m.pages[i] = p[:int(at)+n]
	m.room += n
	return uint32(i + 1), at
}

func (m *Map) pageFor(n int) int {
	if n > pageSize {
		m.pages = append(m.pages, make([]byte, 0, n))
		return len(m.pages) - 1
	}
	for ; m.open < len(m.pages); m.open++ {
		if p := m.pages[m.open]; cap(p)-len(p) >= n {
			return m.open
		}
	}
	m.pages = append(m.pages, make([]byte, 0, pageSize))
	return m.open
}

// tidy makes room for slots, and gives back what no entry has any more.
func (m *Map) tidy() {
	if m.used*4 > len(m.slots)*3 {
		m.resize()
	}
	if m.dead > m.room/2 && m.dead > 4*pageSize {
		m.compact()
	}
}

func (m *Map) resize() {
	size := firstSlots
	for size*3 < m.live*8 { // at most three eighths are in use then
		size *= 2
	}
	old := m.slots
	m.slots, m.used = make([]slot, size), m.live
	mask := size - 1
	for _, s := range old {
		if s.page == 0 || s.page == gone {
			continue
		}
		i := int(s.hash) & mask
		for m.slots[i].page != 0 {
			i = (i + 1) & mask
		}
		m.slots[i] = s
	}
}

func (m *Map) compact() {
	old := *m
	m.pages, m.open, m.room, m.dead = nil, 0, 0, 0
	for i := range m.slots {
		if s := &m.slots[i]; s.page != 0 && s.page != gone {
			key, value := old.entry(s)
			s.page, s.at = m.write(key, value, int(binary.LittleEndian.Uint32(old.pages[s.page-1][s.at+4:])))
		}
	}
}
