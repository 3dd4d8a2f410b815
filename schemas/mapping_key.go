package schemas

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
)

// Key returns the canonical key of a row of a side. It is an error if a key
// column is not there, not carried by the log, NULL, or not of its type.
func (e *Entity) Key(side Side, row Row) ([]string, error) {
	key := make([]string, len(e.key))
	buffer := imageBuffers.Get().(*imageBuffer)
	defer buffer.put()
	c := rowCursor{row: row}
	for i, index := range e.key {
		f := &e.Fields[index]
		r := f.read(side, &c)
		switch {
		case r.missing || r.problem != nil:
			return nil, fmt.Errorf("key of %s on %s: field %s: %w", e.Name, side, f.Name, f.problem(side, r))
		case r.presence == Null:
			return nil, fmt.Errorf("key of %s on %s: field %s: NULL", e.Name, side, f.Name)
		case r.presence == Unavailable:
			return nil, fmt.Errorf("key of %s on %s: field %s: the log does not carry it", e.Name, side, f.Name)
		}
		b, _, err := f.canonical.canon(buffer.value[:0], r.text)
		if err != nil {
			return nil, fmt.Errorf("key of %s on %s: field %s: %w", e.Name, side, f.Name, err)
		}
		buffer.value = b
		key[i] = string(b)
		if f.fold != nil {
			key[i] = f.fold.fold(key[i])
		}
	}
	return key, nil
}

// CanonicalKey returns the canonical key of what a store's columns of the key hold, in
// the order of the key's fields. It is an error if a text is not of its field's type.
func (e *Entity) CanonicalKey(texts []string) ([]string, error) {
	if len(texts) != len(e.key) {
		return nil, fmt.Errorf("key of %s: %d texts, want %d", e.Name, len(texts), len(e.key))
	}
	key := make([]string, len(texts))
	for i, index := range e.key {
		f := &e.Fields[index]
		b, _, err := f.canonical.canon(nil, texts[i])
		if err != nil {
			return nil, fmt.Errorf("key of %s: field %s: %w", e.Name, f.Name, err)
		}
		if key[i] = string(b); f.fold != nil {
			key[i] = f.fold.fold(key[i])
		}
	}
	return key, nil
}

// MessageKey returns the key of the key's records on the topic: the entity's
// name and the canonical key as a JSON array of strings, ["order","42"].
func (e *Entity) MessageKey(key []string) []byte {
	return e.AppendMessageKey(make([]byte, 0, 64), key)
}

// AppendMessageKey appends what MessageKey returns to dst.
func (e *Entity) AppendMessageKey(dst []byte, key []string) []byte {
	b := append(dst, '[')
	b = appendJSONString(b, e.Name)
	for _, text := range key {
		b = append(b, ',')
		b = appendJSONString(b, text)
	}
	return append(b, ']')
}

// PartitionKey returns what the partition of a key is chosen by: the texts of
// the PartitionBy fields as a JSON array of strings, ["42"]. The entity is not
// in it, so that rows of several entities with the same texts share a
// partition.
func (e *Entity) PartitionKey(key []string) []byte {
	return e.AppendPartitionKey(make([]byte, 0, 64), key)
}

// AppendPartitionKey appends what PartitionKey returns to dst.
func (e *Entity) AppendPartitionKey(dst []byte, key []string) []byte {
	b := append(dst, '[')
	for i, index := range e.part {
		if i > 0 {
			b = append(b, ',')
		}
		if index < len(key) {
			b = appendJSONString(b, key[index])
		}
	}
	return append(b, ']')
}

// RolloutKey returns the texts of a key by which a rollout says who has authority for
// it: those of the PartitionBy fields, so that rows that belong together move together.
func (e *Entity) RolloutKey(key []string) []string {
	if len(e.PartitionBy) == 0 {
		return key
	}
	texts := make([]string, 0, len(e.part))
	for _, index := range e.part {
		if index < len(key) {
			texts = append(texts, key[index])
		}
	}
	return texts
}

// OrderKey returns bytes that sort as the key does: whole numbers by value,
// the rest by the bytes of its canonical text. Different keys have different
// bytes, and no key's bytes begin another's of as many fields.
func (e *Entity) OrderKey(key []string) []byte { return e.AppendOrderKey(make([]byte, 0, 32), key) }

// AppendOrderKey appends a key's OrderKey.
func (e *Entity) AppendOrderKey(b []byte, key []string) []byte {
	for i, text := range key {
		if i < len(e.key) {
			if _, whole := e.Fields[e.key[i]].canonical.(integerType); whole {
				b = appendOrderedInteger(b, text)
				continue
			}
		}
		b = appendOrderedText(b, text)
	}
	return b
}

// The first byte of an ordered part. A text that is no canonical whole number
// stands after all numbers.
const (
	orderZero byte = 0x80 // ± the number of bytes, up to 8: the magnitude follows, big-endian
	orderBig  byte = 0x09 // orderZero ± orderBig: the number of digits in 4 bytes and the digits follow
	orderText byte = 0xf0 // a text follows
)

// appendOrderedInteger appends a canonical whole number so that bytes sort by
// value. A negative number's bytes are inverted.
func appendOrderedInteger(dst []byte, text string) []byte {
	if magnitude, ok := shortWhole(text); ok {
		return appendMagnitude(dst, magnitude)
	}
	digits, neg := text, false
	if len(text) > 1 && text[0] == '-' {
		digits, neg = text[1:], true
	}
	if !canonicalDigits(digits) || (neg && digits == "0") {
		return appendOrderedText(dst, text)
	}
	start := len(dst)
	if magnitude, err := strconv.ParseUint(digits, 10, 64); err == nil {
		dst = appendMagnitude(dst, magnitude)
	} else {
		dst = append(dst, orderZero+orderBig)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(digits)))
		dst = append(dst, digits...)
	}
	if neg {
		dst[start] = orderZero - (dst[start] - orderZero)
		for i := start + 1; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}

// shortWhole reads what most keys are: a canonical whole number, without a sign, that surely fits.
func shortWhole(text string) (n uint64, ok bool) {
	if len(text) == 0 || len(text) > 18 || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	for i := range len(text) {
		digit := text[i] - '0'
		if digit > 9 {
			return 0, false
		}
		n = n*10 + uint64(digit)
	}
	return n, true
}

// appendMagnitude appends how many bytes a number takes, and these.
func appendMagnitude(dst []byte, n uint64) []byte {
	size := (bits.Len64(n) + 7) / 8
	dst = append(dst, orderZero+byte(size))
	end := len(dst) + size
	return binary.BigEndian.AppendUint64(dst, n<<(64-8*size))[:end]
}

// canonicalDigits says whether text is a whole number without sign and leading
// zeros.
func canonicalDigits(text string) bool {
	digits, rest := cutDigits(text)
	return digits != "" && rest == "" && (digits[0] != '0' || len(digits) == 1)
}

// appendOrderedText appends a text so that it sorts by its bytes and ends
// itself: a zero byte is followed by 0xff, the end is two zero bytes.
func appendOrderedText(dst []byte, text string) []byte {
	dst = append(dst, orderText)
	for i := range len(text) {
		dst = append(dst, text[i])
		if text[i] == 0 {
			dst = append(dst, 0xff)
		}
	}
	return append(dst, 0, 0)
}
