package schemas

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A text of a store that is not UTF-8 cannot stand in JSON. Where a text may
// stand, {"base64":"..."} may, too; and a name that is not UTF-8, or begins
// like this, is written as "base64:...".
const (
	base64Field = "base64"
	base64Name  = "base64:"
)

// unavailableField marks a column of a derived event that the log does not
// carry: {"unavailable":true}. (In the log itself a list beside the row says
// so.)
const unavailableField = "unavailable"

// maskedField marks a column of a derived event whose value is sensitive:
// {"masked":"…"}, with its keyed digest.
const maskedField = "masked"

const timeLayout = `"2006-01-02T15:04:05.999999Z"`

// jsonObject writes an object field by field: it knows where commas belong.
type jsonObject struct {
	dst   []byte
	comma bool
}

func openObject(dst []byte) jsonObject { return jsonObject{dst: append(dst, '{')} }

func (o *jsonObject) close() []byte { return append(o.dst, '}') }

// field begins a field whose name is one of ours, which needs no escape. The
// caller appends the value to o.dst.
func (o *jsonObject) field(name string) {
	o.separate()
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, name...)
	o.dst = append(o.dst, '"', ':')
}

// named begins a field whose name is of a store or a user.
func (o *jsonObject) named(name string) {
	o.separate()
	if !utf8.ValidString(name) || strings.HasPrefix(name, base64Name) {
		name = base64Name + base64.StdEncoding.EncodeToString([]byte(name))
	}
	o.dst = append(appendQuoted(o.dst, name), ':')
}

func (o *jsonObject) separate() {
	if o.comma {
		o.dst = append(o.dst, ',')
	}
	o.comma = true
}

func (o *jsonObject) text(name, value string) {
	o.field(name)
	o.dst = appendText(o.dst, value)
}

// said writes a text unless it is empty.
func (o *jsonObject) said(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

func (o *jsonObject) texts(name string, values []string) {
	o.field(name)
	o.dst = appendTexts(o.dst, values)
}

func (o *jsonObject) number(name string, value int64) {
	o.field(name)
	o.dst = strconv.AppendInt(o.dst, value, 10)
}

func (o *jsonObject) time(name string, value Micros) {
	o.field(name)
	o.dst = value.Time().AppendFormat(o.dst, timeLayout)
}

// saidTime writes a time unless it is zero.
func (o *jsonObject) saidTime(name string, value Micros) {
	if value != 0 {
		o.time(name, value)
	}
}

func (o *jsonObject) bool(name string, value bool) {
	o.field(name)
	o.dst = strconv.AppendBool(o.dst, value)
}

func (o *jsonObject) null(name string) {
	o.field(name)
	o.dst = append(o.dst, "null"...)
}

// appendText appends a text as a JSON string, or as base64 where it is not
// UTF-8.
func appendText(dst []byte, s string) []byte {
	if utf8.ValidString(s) {
		return appendQuoted(dst, s)
	}
	dst = append(dst, `{"base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, []byte(s))
	return append(dst, '"', '}')
}

func appendTexts(dst []byte, texts []string) []byte {
	dst = append(dst, '[')
	for i, text := range texts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, text)
	}
	return append(dst, ']')
}

// appendQuoted appends UTF-8 text as a JSON string. Only what must be is
// escaped: quotes, backslashes and control characters.
func appendQuoted(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}
