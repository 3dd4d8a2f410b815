package mysql

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	binlog "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/trueup-io/trueup/schemas"
)

// hint is what the log does not say of a column, from information_schema: how
// the server prints it. It is used only where it fits what the log says, and a
// column that changed since then is at worst printed in another form of the
// same value.
type hint struct {
	dataType   string // lower case: uuid, inet6, float
	unsigned   bool
	zerofill   int  // display width of ZEROFILL, 0 without
	decimals   int  // of FLOAT(M,D) and DOUBLE(M,D), -1 without
	year       int  // digits of YEAR: 4 or 2
	fractional bool // has fractional seconds
}

// noHint is what is assumed of a column that information_schema does not have.
var noHint = hint{decimals: -1, year: 4}

// wireColumn is what the log says of a column.
type wireColumn struct {
	name     string
	typ      byte // MYSQL_TYPE_…
	meta     uint16
	unsigned bool
	binary   bool        // holds bytes, not text
	text     textDecoder // nil: the character set is unknown
	members  []string    // of ENUM and SET
}

// column is a column of a captured table.
type column struct {
	name string
	json bool // MySQL's binary JSON: the log may carry only what changed in it
	read valueReader
	// unreadable says why the values cannot be understood; they are unavailable. Their length is known.
	unreadable string
}

// compile decides how a column is read. An error says that not even the length
// of its values is known, so that no row can be read.
func (w wireColumn) compile(h hint) (column, error) {
	c := column{name: w.name}
	integer := func(size int) {
		c.read = readInt(size, w.unsigned)
		if h.zerofill > 0 {
			c.read = readZerofill(c.read, h.zerofill)
		}
	}
	number := func(r valueReader) {
		if c.read = r; h.zerofill > 0 {
			c.read = readZerofill(r, h.zerofill)
		}
	}
	digits := int(w.meta)
	switch w.typ {
	case binlog.MYSQL_TYPE_TINY:
		integer(1)
	case binlog.MYSQL_TYPE_SHORT:
		integer(2)
	case binlog.MYSQL_TYPE_INT24:
		integer(3)
	case binlog.MYSQL_TYPE_LONG:
		integer(4)
	case binlog.MYSQL_TYPE_LONGLONG:
		integer(8)
	case binlog.MYSQL_TYPE_NEWDECIMAL:
		number(readDecimal(int(w.meta>>8), int(w.meta&0xff)))
	case binlog.MYSQL_TYPE_FLOAT:
		number(readFloat(h.decimals))
	case binlog.MYSQL_TYPE_DOUBLE:
		number(readDouble(h.decimals))
	case binlog.MYSQL_TYPE_BIT:
		c.read = readBit(int(w.meta>>8)*8 + int(w.meta&0xff))
	case binlog.MYSQL_TYPE_DATE, binlog.MYSQL_TYPE_NEWDATE:
		c.read = readDate
	case binlog.MYSQL_TYPE_YEAR:
		c.read = readYear(h.year)
	case binlog.MYSQL_TYPE_TIMESTAMP2:
		c.read = readTimestamp(digits)
	case binlog.MYSQL_TYPE_DATETIME2:
		c.read = readDatetime(digits)
	case binlog.MYSQL_TYPE_TIME2:
		c.read = readTime(digits)
	case binlog.MYSQL_TYPE_TIMESTAMP, binlog.MYSQL_TYPE_DATETIME, binlog.MYSQL_TYPE_TIME:
		if h.fractional {
			return c, undescribed("column %s has fractional seconds in the format of MariaDB 5.3, whose length the log does not say", w.name)
		}
		c.read = map[byte]valueReader{binlog.MYSQL_TYPE_TIMESTAMP: readOldTimestamp,
			binlog.MYSQL_TYPE_DATETIME: readOldDatetime, binlog.MYSQL_TYPE_TIME: readOldTime}[w.typ]
	case binlog.MYSQL_TYPE_STRING:
		return w.compileString(h)
	case binlog.MYSQL_TYPE_VARCHAR, binlog.MYSQL_TYPE_VAR_STRING:
		c.read, c.unreadable = w.readText(prefixOf(int(w.meta)))
	case binlog.MYSQL_TYPE_BLOB:
		c.read, c.unreadable = w.readText(int(w.meta))
	case binlog.MYSQL_TYPE_GEOMETRY, binlog.MYSQL_TYPE_VECTOR:
		c.read = readBytes(int(w.meta), 0)
	case binlog.MYSQL_TYPE_JSON:
		c.json, c.read = true, readJSON(int(w.meta))
	default:
		return c, undescribed("column %s has type %d, which Trueup does not know", w.name, w.typ)
	}
	return c, nil
}

// compileString decides how a column is read whose type is STRING: CHAR and
// BINARY, ENUM and SET, and MariaDB's UUID and INET. Its meta holds the real
// type and the length in bytes; two bits of a length above 255 are in the type.
func (w wireColumn) compileString(h hint) (column, error) {
	c := column{name: w.name}
	typ, length := byte(w.meta>>8), int(w.meta&0xff)
	if typ&0x30 != 0x30 {
		length |= int(typ&0x30^0x30) << 4
		typ |= 0x30
	}
	switch {
	case typ == binlog.MYSQL_TYPE_ENUM:
		c.read = readEnum(length, w.members)
	case typ == binlog.MYSQL_TYPE_SET:
		c.read = readSet(length, w.members)
	case !w.binary:
		c.read, c.unreadable = w.readText(prefixOf(length))
	case h.dataType == "uuid" && length == 16:
		c.read = readFixed(length, appendUUID)
	case h.dataType == "inet6" && length == 16, h.dataType == "inet4" && length == 4:
		c.read = readFixed(length, appendAddress)
	default:
		c.read = readBytes(prefixOf(length), length)
	}
	return c, nil
}

// prefixOf is the size of the length before a value of at most max bytes.
func prefixOf(max int) int {
	if max < 256 {
		return 1
	}
	return 2
}

// prefixed splits off a value that its length stands before, in prefix
// little-endian bytes.
func prefixed(b []byte, prefix int) (value []byte, n int) {
	var size int
	for i := prefix - 1; i >= 0; i-- {
		size = size<<8 | int(b[i])
	}
	return b[prefix : prefix+size], prefix + size
}

// readText reads a text, or bytes.
func (w wireColumn) readText(prefix int) (r valueReader, unreadable string) {
	if w.binary {
		return readBytes(prefix, 0), ""
	}
	decode := w.text
	if decode == nil {
		decode, unreadable = decodeUTF8, "its character set is one that Trueup cannot read"
	}
	return func(dst, b []byte) ([]byte, int) {
		value, n := prefixed(b, prefix)
		return decode(dst, value), n
	}, unreadable
}

// readBytes prints bytes as \x and hexadecimal digits. The server cuts the
// zeros at the end of BINARY(n), which come back: width is n, or 0.
func readBytes(prefix, width int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		value, n := prefixed(b, prefix)
		dst = hex.AppendEncode(append(dst, '\\', 'x'), value)
		for range width - len(value) {
			dst = append(dst, '0', '0')
		}
		return dst, n
	}
}

// readFixed reads a binary value of exactly width bytes, below 256; the server
// cuts the zeros at its end.
func readFixed(width int, print func(dst, value []byte) []byte) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		value, n := prefixed(b, 1)
		var whole [16]byte
		copy(whole[:width], value)
		return print(dst, whole[:width]), n
	}
}

func appendUUID(dst, v []byte) []byte {
	for i, part := range [...][]byte{v[:4], v[4:6], v[6:8], v[8:10], v[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// appendAddress prints INET4 and INET6 as MariaDB does: also a single zero is
// left out, and IPv4-mapped and -compatible addresses end in decimal numbers.
func appendAddress(dst, v []byte) []byte {
	if len(v) == 4 {
		return netip.AddrFrom4([4]byte(v)).AppendTo(dst)
	}
	var groups [8]uint16
	from, to := 8, 8 // the first longest run of zeros
	for i, run := 0, 0; i < 8; i++ {
		groups[i] = binary.BigEndian.Uint16(v[2*i:])
		if run++; groups[i] != 0 {
			run = 0
		}
		if run > to-from {
			from, to = i+1-run, i+1
		}
	}
	dotted := from == 0 && (to == 6 || to == 5 && groups[5] == 0xffff)
	for i := 0; i < 8; i++ {
		switch {
		case i == from:
			dst = append(dst, "::"...)
			i = to - 1
		case dotted && i == 6:
			if groups[5] != 0 {
				dst = append(dst, ':')
			}
			return netip.AddrFrom4([4]byte(v[12:])).AppendTo(dst)
		default:
			if i > 0 && i != to {
				dst = append(dst, ':')
			}
			dst = strconv.AppendUint(dst, uint64(groups[i]), 16)
		}
	}
	return dst
}

// readEnum prints a member; 0 is the empty string that the server keeps for a
// value it refused.
func readEnum(size int, members []string) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		i := int(b[0])
		if size == 2 {
			i = int(binary.LittleEndian.Uint16(b))
		}
		if i > 0 {
			dst = append(dst, members[i-1]...)
		}
		return dst, size
	}
}

// readSet prints the members with commas between them.
func readSet(size int, members []string) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		start := len(dst)
		for i, member := range members {
			if b[:size][i/8]&(1<<(i%8)) == 0 {
				continue
			}
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst = append(dst, member...)
		}
		return dst, size
	}
}

// appendTo appends the text of the value that b begins with, unless nobody can
// understand it.
func (c *column) appendTo(text, b []byte) (_ []byte, n int, presence schemas.Presence) {
	start := len(text)
	text, n = c.read(text, b)
	if c.unreadable != "" {
		return text[:start], n, schemas.Unavailable
	}
	return text, n, schemas.Value
}

// parseHint reads what information_schema says of a column.
func parseHint(dataType, columnType string, scale, datetimePrecision *int) hint {
	h := noHint
	h.dataType = strings.ToLower(dataType)
	columnType = strings.ToLower(columnType)
	var width int
	if _, arguments, ok := strings.Cut(columnType, "("); ok {
		for i := 0; i < len(arguments) && arguments[i] >= '0' && arguments[i] <= '9'; i++ {
			width = 10*width + int(arguments[i]-'0')
		}
	}
	switch h.dataType {
	case "float", "double":
		if scale != nil && *scale < 31 { // 31 says that there are none
			h.decimals = *scale
		}
	case "year":
		if width == 2 {
			h.year = 2
		}
	}
	h.unsigned = strings.Contains(columnType, "unsigned")
	if strings.Contains(columnType, "zerofill") {
		h.zerofill = width
		switch {
		case h.dataType == "decimal" && scale != nil && *scale > 0:
			h.zerofill++ // the point
		case h.dataType == "float" && width == 0:
			h.zerofill = 12
		case h.dataType == "double" && width == 0:
			h.zerofill = 22
		}
	}
	h.fractional = datetimePrecision != nil && *datetimePrecision > 0
	return h
}
