package mysql

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
)

// The types of a value in MySQL's binary JSON.
const (
	jsonSmallObject byte = iota
	jsonLargeObject
	jsonSmallArray
	jsonLargeArray
	jsonLiteral
	jsonInt16
	jsonUint16
	jsonInt32
	jsonUint32
	jsonInt64
	jsonUint64
	jsonDouble
	jsonString
	jsonOpaque byte = 15
)

// jsonDepth bounds how deep values nest: MySQL takes a depth of 100.
const jsonDepth = 128

// readJSON prints MySQL's binary JSON as the server does. The library's own
// text differs: it has no spaces, and numbers of type DOUBLE with digits that
// they do not have.
func readJSON(prefix int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		value, n := prefixed(b, prefix)
		if len(value) == 0 {
			return append(dst, "null"...), n // what INSERT IGNORE makes of NULL
		}
		return appendJSON(dst, value[0], value[1:], 0), n
	}
}

// appendJSON prints the value of that type that b begins with.
func appendJSON(dst []byte, typ byte, b []byte, depth int) []byte {
	if depth > jsonDepth {
		panic("JSON nests too deep") // recovered with the event's position, as what runs off the end of b
	}
	switch typ {
	case jsonSmallObject, jsonLargeObject, jsonSmallArray, jsonLargeArray:
		return appendJSONContainer(dst, typ, b, depth)
	case jsonLiteral:
		return append(dst, [...]string{"null", "true", "false"}[b[0]]...)
	case jsonInt16:
		return strconv.AppendInt(dst, int64(int16(binary.LittleEndian.Uint16(b))), 10)
	case jsonUint16:
		return strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint16(b)), 10)
	case jsonInt32:
		return strconv.AppendInt(dst, int64(int32(binary.LittleEndian.Uint32(b))), 10)
	case jsonUint32:
		return strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint32(b)), 10)
	case jsonInt64:
		return strconv.AppendInt(dst, int64(binary.LittleEndian.Uint64(b)), 10)
	case jsonUint64:
		return strconv.AppendUint(dst, binary.LittleEndian.Uint64(b), 10)
	case jsonDouble:
		return appendJSONDouble(dst, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case jsonString:
		text, _ := jsonBytes(b)
		return appendJSONString(dst, text)
	case jsonOpaque:
		data, _ := jsonBytes(b[1:])
		return appendJSONOpaque(dst, b[0], data)
	}
	panic(fmt.Sprintf("JSON of type %d", typ))
}

// appendJSONContainer prints an object or an array: the number of members and
// the size, then where the keys are, then the members' types and where they
// are, all offsets from the beginning of b, of 2 bytes in a small one and of 4
// in a large one. A member that fits stands in the place of its offset.
func appendJSONContainer(dst []byte, typ byte, b []byte, depth int) []byte {
	size := 2
	if typ == jsonLargeObject || typ == jsonLargeArray {
		size = 4
	}
	offset := func(at int) int {
		if size == 2 {
			return int(binary.LittleEndian.Uint16(b[at:]))
		}
		return int(binary.LittleEndian.Uint32(b[at:]))
	}
	count, keys := offset(0), 2*size
	object := typ == jsonSmallObject || typ == jsonLargeObject
	members := keys
	brackets := "[]"
	if object {
		members += count * (size + 2)
		brackets = "{}"
	}
	dst = append(dst, brackets[0])
	for i := range count {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if object {
			entry := keys + i*(size+2)
			at, length := offset(entry), int(binary.LittleEndian.Uint16(b[entry+size:]))
			dst = append(appendJSONString(dst, b[at:at+length]), ": "...)
		}
		entry := members + i*(size+1)
		member, inline := b[entry], false
		switch member {
		case jsonLiteral, jsonInt16, jsonUint16:
			inline = true
		case jsonInt32, jsonUint32:
			inline = size == 4
		}
		if inline {
			dst = appendJSON(dst, member, b[entry+1:], depth+1)
		} else {
			dst = appendJSON(dst, member, b[offset(entry+1):], depth+1)
		}
	}
	return append(dst, brackets[1])
}

// appendJSONDouble prints a double so that it reads back as one.
func appendJSONDouble(dst []byte, v float64) []byte {
	start := len(dst)
	dst = appendFloat(dst, v, 17, -1)
	for _, c := range dst[start:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

// jsonBytes reads a length in 7 bits a byte, the lowest first, and so many
// bytes.
func jsonBytes(b []byte) (data []byte, n int) {
	length := 0
	for shift := 0; shift < 35; shift += 7 {
		c := b[n]
		n++
		length |= int(c&0x7f) << shift
		if c&0x80 == 0 {
			return b[n : n+length], n + length
		}
	}
	panic("JSON with a length of more than 5 bytes")
}

func appendJSONString(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			if c < ' ' {
				dst = fmt.Appendf(dst, `\u%04x`, c)
			} else {
				dst = append(dst, c)
			}
		}
	}
	return append(dst, '"')
}

// appendJSONOpaque prints a value of a column type that JSON has not.
func appendJSONOpaque(dst []byte, typ byte, data []byte) []byte {
	switch typ {
	case binlog.MYSQL_TYPE_NEWDECIMAL:
		dst, _ = readDecimal(int(data[0]), int(data[1]))(dst, data[2:])
		return dst
	case binlog.MYSQL_TYPE_DATE, binlog.MYSQL_TYPE_NEWDATE, binlog.MYSQL_TYPE_DATETIME, binlog.MYSQL_TYPE_TIMESTAMP, binlog.MYSQL_TYPE_TIME:
		return append(appendJSONTime(append(dst, '"'), typ, int64(binary.LittleEndian.Uint64(data))), '"')
	}
	dst = fmt.Appendf(dst, `"base64:type%d:`, typ)
	return append(base64.StdEncoding.AppendEncode(dst, data), '"')
}

// appendJSONTime prints MySQL's packed time: 24 bits of microseconds below what
// DATETIME2 and TIME2 hold.
func appendJSONTime(dst []byte, typ byte, packed int64) []byte {
	if packed < 0 {
		dst = append(dst, '-')
		packed = -packed
	}
	v, micros := uint64(packed)>>24, uint64(packed)&(1<<24-1)
	if typ == binlog.MYSQL_TYPE_TIME {
		return appendFraction(appendClock(dst, v>>12&1023, v>>6&63, v&63), micros, 6)
	}
	months, day, clock := v>>22, v>>17&31, v&(1<<17-1)
	dst = appendDate(dst, months/13, months%13, day)
	if typ == binlog.MYSQL_TYPE_DATE || typ == binlog.MYSQL_TYPE_NEWDATE {
		return dst
	}
	return appendFraction(appendClock(append(dst, ' '), clock>>12, clock>>6&63, clock&63), micros, 6)
}
