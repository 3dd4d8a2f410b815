package schemas

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads one JSON text strictly. It is its own because
// encoding/json takes the last of duplicate keys, matches names that differ in
// case, and mends text that is not UTF-8.
//
// Its methods read a value and return zero after the first problem, which is
// kept: so a reader of a record is a plain list of its fields. Texts point
// into src.
type jsonReader struct {
	src     string
	at      int
	problem *jsonProblem
}

// jsonProblem is what is wrong, and in which field.
type jsonProblem struct {
	path string // like "after.amount"; "" for the text as a whole
	text string
}

func (p *jsonProblem) Error() string {
	if p.path == "" {
		return p.text
	}
	return fmt.Sprintf("field %q: %s", p.path, p.text)
}

// maxJSONDepth bounds how deep values nest. Only a definition nests at all.
const maxJSONDepth = 64

// maxProblem bounds what a problem quotes: a line can be very long.
const maxProblem = 300

// fail keeps the first problem.
func (r *jsonReader) fail(format string, args ...any) {
	if r.problem == nil {
		r.problem = &jsonProblem{text: cut(fmt.Sprintf(format, args...))}
	}
}

// within says that the problem lies in the named part of what is read.
func (r *jsonReader) within(name string) {
	if r.problem.path != "" {
		name += "." + r.problem.path
	}
	r.problem.path = cut(name)
}

func cut(text string) string {
	if len(text) <= maxProblem {
		return text
	}
	return strings.ToValidUTF8(text[:maxProblem], "") + "…"
}

// peek skips white space and returns the next byte, 0 at the end.
func (r *jsonReader) peek() byte {
	for r.at < len(r.src) {
		switch c := r.src[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		case 0:
			return 1 // no JSON begins like this; 0 is kept for the end
		default:
			return c
		}
	}
	return 0
}

// expect takes one byte of punctuation.
func (r *jsonReader) expect(want byte) bool {
	if r.problem != nil {
		return false
	}
	if got := r.peek(); got != want {
		r.fail("column %d: want %q, got %s", r.at+1, want, r.next())
		return false
	}
	r.at++
	return true
}

// next describes what comes next.
func (r *jsonReader) next() string {
	switch c := r.peek(); {
	case c == 0:
		return "the end of the text"
	case c == '"':
		return "a text"
	case c == '{':
		return "an object"
	case c == '[':
		return "a list"
	case c == '-' || c >= '0' && c <= '9':
		return "a number"
	case strings.HasPrefix(r.src[r.at:], "true") || strings.HasPrefix(r.src[r.at:], "false"):
		return "a boolean"
	case strings.HasPrefix(r.src[r.at:], "null"):
		return "null"
	}
	c, _ := utf8.DecodeRuneInString(r.src[r.at:])
	return strconv.QuoteRune(c)
}

// end says that nothing follows.
func (r *jsonReader) end() {
	if r.problem == nil && r.peek() != 0 {
		r.fail("column %d: want the end of the text, got %s", r.at+1, r.next())
	}
}

// want complains unless the next byte is c. The want names it to a person.
func (r *jsonReader) want(c byte, want string) bool {
	if r.problem != nil {
		return false
	}
	if r.peek() != c {
		r.fail("want %s, got %s", want, r.next())
		return false
	}
	return true
}

// isNull takes a null if there is one.
func (r *jsonReader) isNull() bool {
	if r.problem != nil || r.peek() != 'n' || !strings.HasPrefix(r.src[r.at:], "null") {
		return false
	}
	r.at += len("null")
	return true
}

// text reads a string, or {"base64":"..."}.
func (r *jsonReader) text() string {
	if r.problem != nil {
		return ""
	}
	if r.peek() == '{' {
		s, presence := r.textObject()
		if presence != Value {
			r.fail("want a text, got a column without one")
		}
		return s
	}
	if !r.want('"', "a text") {
		return ""
	}
	return r.quoted()
}

// word reads a string that cannot be base64.
func (r *jsonReader) word() string {
	if !r.want('"', "a text") {
		return ""
	}
	return r.quoted()
}

var textObjectFields = newFieldSet(base64Field, unavailableField, maskedField)

// textObject reads an object in place of a text: {"base64":"..."},
// {"unavailable":true} or {"masked":"..."}.
func (r *jsonReader) textObject() (text string, presence Presence) {
	fields := fieldCursor{set: textObjectFields}
	for r.field(&fields) {
		switch fields.name {
		case base64Field:
			text = r.unbase64(r.word())
		case unavailableField:
			presence = Unavailable
			if r.peek(); !strings.HasPrefix(r.src[r.at:], "true") {
				r.fail("want true, got %s", r.next())
				continue
			}
			r.at += len("true")
		case maskedField:
			text, presence = r.text(), Masked
		}
	}
	if r.problem == nil && fields.seen != 1 && fields.seen != 2 && fields.seen != 4 {
		r.fail(`want a text, null or {"base64":"..."}, got another object`)
	}
	return text, presence
}

// unbase64 decodes standard base64 with padding.
func (r *jsonReader) unbase64(s string) string {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		r.fail("want base64 with padding")
	}
	return string(b)
}

// quoted reads a string whose opening quote is next.
func (r *jsonReader) quoted() string {
	r.at++
	start, ascii := r.at, true
	for i := r.at; i < len(r.src); i++ {
		switch c := r.src[i]; {
		case c == '"':
			s := r.src[start:i]
			r.at = i + 1
			if !ascii && !utf8.ValidString(s) {
				r.fail(`text that is not UTF-8: write it as {"base64":"..."}`)
			}
			return s
		case c == '\\':
			return r.escaped(start)
		case c < 0x20:
			r.at = i
			r.fail("column %d: a control character in a text: write it as \\u%04x", i+1, c)
			return ""
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.at = len(r.src)
	r.fail("a text without its closing quote")
	return ""
}

// escaped reads a string that has escapes, from its first byte on.
func (r *jsonReader) escaped(start int) string {
	var b []byte
	for i := start; i < len(r.src); {
		switch c := r.src[i]; {
		case c == '"':
			r.at = i + 1
			if !utf8.Valid(b) {
				r.fail(`text that is not UTF-8: write it as {"base64":"..."}`)
			}
			return string(b)
		case c < 0x20:
			r.fail("column %d: a control character in a text: write it as \\u%04x", i+1, c)
			return ""
		case c != '\\':
			b = append(b, c)
			i++
		default:
			c, size := unescape(r.src[i:])
			if size == 0 {
				r.fail("column %d: an escape that is none, or half a surrogate pair", i+1)
				return ""
			}
			b = utf8.AppendRune(b, c)
			i += size
		}
	}
	r.fail("a text without its closing quote")
	return ""
}

// unescape reads the escape that s begins with, and says how long it is: 0
// where it is none.
func unescape(s string) (rune, int) {
	if len(s) < 2 {
		return 0, 0
	}
	const letters, meaning = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if i := strings.IndexByte(letters, s[1]); i >= 0 {
		return rune(meaning[i]), 2
	}
	c, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(c) {
		return c, 6
	}
	low, _ := hex4(s[6:])
	if c = utf16.DecodeRune(c, low); c == utf8.RuneError {
		return 0, 0
	}
	return c, 12
}

// hex4 reads \uXXXX.
func hex4(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(n), err == nil
}

// integer reads a number without fraction and exponent.
func (r *jsonReader) integer(least, most int64) int64 {
	if r.problem != nil {
		return 0
	}
	c := r.peek()
	end := r.numberEnd()
	if (c == '-' || c >= '0' && c <= '9') && end > r.at {
		n, err := strconv.ParseInt(r.src[r.at:end], 10, 64)
		if err == nil && n >= least && n <= most {
			r.at = end
			return n
		}
		r.fail("want an integer from %d to %d, got %.40s", least, most, r.src[r.at:end])
		return 0
	}
	r.fail("want an integer from %d to %d, got %s", least, most, r.next())
	return 0
}

// numberEnd returns where the JSON number at hand ends, or r.at where there
// is none.
func (r *jsonReader) numberEnd() int {
	i := r.at
	digits := func() bool {
		from := i
		for i < len(r.src) && r.src[i] >= '0' && r.src[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(r.src) && r.src[i] == '-' {
		i++
	}
	first := i
	if !digits() || r.src[first] == '0' && i > first+1 {
		return r.at
	}
	if i < len(r.src) && r.src[i] == '.' {
		if i++; !digits() {
			return r.at
		}
	}
	if i < len(r.src) && (r.src[i] == 'e' || r.src[i] == 'E') {
		if i++; i < len(r.src) && (r.src[i] == '+' || r.src[i] == '-') {
			i++
		}
		if !digits() {
			return r.at
		}
	}
	return i
}

// bool reads true or false.
func (r *jsonReader) bool() bool {
	r.peek()
	for _, word := range []string{"true", "false"} {
		if strings.HasPrefix(r.src[r.at:], word) {
			r.at += len(word)
			return word == "true"
		}
	}
	r.fail("want true or false, got %s", r.next())
	return false
}

func (r *jsonReader) uint32() uint32 { return uint32(r.integer(0, math.MaxUint32)) }

func (r *jsonReader) micros() Micros { return Micros(r.integer(math.MinInt64, math.MaxInt64)) }

// time reads RFC 3339 in the years 1 to 9999.
func (r *jsonReader) time() Micros {
	if !r.want('"', "a time in RFC 3339, as text") {
		return 0
	}
	m, err := ParseMicros(r.quoted())
	if err != nil {
		r.fail("%s", err)
	} else if err := checkTimes(m); err != nil {
		r.fail("%s", err)
	}
	return m
}

// duration reads Go's form of a duration: "2s", "500ms".
func (r *jsonReader) duration() time.Duration {
	if !r.want('"', `a duration as text, like "2s" or "500ms"`) {
		return 0
	}
	text := r.quoted()
	d, err := time.ParseDuration(text)
	if err != nil {
		r.fail(`duration %q: want a number with its unit, like "2s" or "500ms"`, text)
	}
	return d
}

// side reads a side.
func (r *jsonReader) side() Side {
	text := r.word()
	if r.problem != nil {
		return 0
	}
	s, err := ParseSide(text)
	if err != nil {
		r.fail("%s", err)
	}
	return s
}

// op reads the name of an op.
func (r *jsonReader) op() Op {
	text := r.word()
	if r.problem != nil {
		return 0
	}
	for o := OpInsert; o <= OpTruncate; o++ {
		if text == opNames[o] {
			return o
		}
	}
	r.fail("op %q: want insert, update, delete, read or truncate", text)
	return 0
}
