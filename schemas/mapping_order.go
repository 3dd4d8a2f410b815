package schemas

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// ParseOrderKey returns the canonical key of which order is the OrderKey. It
// is an error if order is none.
func (e *Entity) ParseOrderKey(order string) ([]string, error) {
	key := make([]string, 0, len(e.key))
	for rest := order; rest != ""; {
		text, after, ok := cutOrdered(rest)
		if !ok {
			return nil, fmt.Errorf("order key %q of %s: damaged at byte %d", order, e.Name, len(order)-len(rest))
		}
		key, rest = append(key, text), after
	}
	return key, nil
}

// cutOrdered reads the part that b begins with.
func cutOrdered(b string) (text, rest string, ok bool) {
	if b[0] == orderText {
		return cutOrderedText(b[1:])
	}
	first, neg := b[0], b[0] < orderZero
	if neg {
		first = orderZero + (orderZero - first)
	}
	at := func(i int) byte { // the bytes of a negative number are inverted
		if neg {
			return ^b[1+i]
		}
		return b[1+i]
	}
	var digits string
	switch size := int(first - orderZero); {
	case size <= 8:
		if len(b) < 1+size {
			return "", "", false
		}
		var magnitude uint64
		for i := range size {
			magnitude = magnitude<<8 | uint64(at(i))
		}
		digits, rest = strconv.FormatUint(magnitude, 10), b[1+size:]
	case first == orderZero+orderBig && len(b) >= 5:
		head := [4]byte{at(0), at(1), at(2), at(3)}
		n := uint64(binary.BigEndian.Uint32(head[:]))
		if n > uint64(len(b)-5) {
			return "", "", false
		}
		text := make([]byte, n)
		for i := range text {
			text[i] = at(4 + i)
		}
		digits, rest = string(text), b[5+n:]
	default:
		return "", "", false
	}
	if neg {
		digits = "-" + digits
	}
	return digits, rest, true
}

// cutOrderedText reads a text as appendOrderedText writes it behind its first byte.
func cutOrderedText(b string) (text, rest string, ok bool) {
	var dst []byte
	for i := 0; i+1 < len(b); i++ {
		switch {
		case b[i] != 0:
			dst = append(dst, b[i])
		case b[i+1] == 0xff:
			dst = append(dst, 0)
			i++
		case b[i+1] == 0:
			return string(dst), b[i+2:], true
		default:
			return "", "", false
		}
	}
	return "", "", false
}
