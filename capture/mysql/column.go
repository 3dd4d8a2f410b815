package mysql

import (
	binlog "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/trueup-io/trueup/schemas"
)

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
