package reconcile

import (
	"encoding/binary"
	"math"
	"strings"
)

// position is where an event stands in the log of its side. Positions of one
// source and epoch compare as bytes do. Those of sixteen upper-case hex digits,
// as our captures give them, are held as the number that they are: of two such
// the texts compare as the numbers do, and a state that is full of them has
// nothing that lies elsewhere.
type position struct {
	n    uint64  // the number and one more; 0: text
	text *string // of any other; nil: no position, which is before all others
}

// positionOf returns the position with a text, of which it keeps a copy if it has to.
func positionOf(text string) position {
	if n, ok := hexNumber(text); ok {
		return numbered(n)
	}
	if text == "" {
		return position{}
	}
	return textPosition(strings.Clone(text))
}

func textPosition(text string) position { return position{text: &text} }

// numbered returns the position of sixteen hex digits.
func numbered(n uint64) position {
	if n < math.MaxUint64 {
		return position{n: n + 1}
	}
	return textPosition(hexText(n))
}

// number is the position as a number, if it is one.
func (p position) number() (n uint64, ok bool) { return p.n - 1, p.n != 0 }

func (p position) none() bool { return p.n == 0 && p.text == nil }

// String is the position's text.
func (p position) String() string {
	switch {
	case p.text != nil:
		return *p.text
	case p.n != 0:
		return hexText(p.n - 1)
	}
	return ""
}

func (p position) equal(o position) bool { return p.n == o.n && (p.text == o.text || p.equalText(o)) }

func (p position) equalText(o position) bool {
	return p.text != nil && o.text != nil && *p.text == *o.text
}

// before says whether p comes before o of the same source and epoch.
func (p position) before(o position) bool {
	if p.text == nil && o.text == nil {
		return p.n < o.n
	}
	return p.beforeText(o)
}

func (p position) beforeText(o position) bool { return p.String() < o.String() }

func hexText(n uint64) string {
	const digits = "0123456789ABCDEF"
	var text [16]byte
	for i := range text {
		text[i] = digits[n>>(60-4*i)&15]
	}
	return string(text[:])
}

// hexNumber reads sixteen upper-case hex digits.
func hexNumber(text string) (n uint64, ok bool) {
	if len(text) != 16 {
		return 0, false
	}
	high, ok := hexHalf(text[:8])
	low, too := hexHalf(text[8:])
	return high<<32 | low, ok && too
}

// hexHalf reads eight upper-case hex digits, all at once: each stays in its byte.
func hexHalf(text string) (n uint64, ok bool) {
	const each = 0x0101010101010101
	b := binary.BigEndian.Uint64([]byte(text))
	letters := b >> 6 & each // 1 where a letter stands
	n = b&(0x0f*each) + 9*letters
	// Said backwards it has to be the same text.
	letters = (n + 6*each) >> 4 & each
	ok = n&(0xf0*each) == 0 && n+0x30*each+7*letters == b
	n = (n | n>>4) & 0x00ff00ff00ff00ff
	n = (n | n>>8) & 0x0000ffff0000ffff
	return (n | n>>16) & 0xffffffff, ok
}
