package schemas

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting bounds the depth of a JSON value or an array.
const maxNesting = 512

// jsonType is a JSON value: without white space, members in the order of their
// names, strings with as few escapes as possible, numbers as decimals.
type jsonType struct{}

func (jsonType) declared() string { return typeJSON }

func (jsonType) canon(dst []byte, text string) ([]byte, limits, error) {
	p := jsonCanons.Get().(*jsonCanon)
	p.text, p.at, p.depth, p.limits, p.dst, p.members = text, 0, 0, 0, dst, p.members[:0]
	if err := p.document(); err != nil {
		p.release()
		return dst, 0, err
	}
	dst, limit := p.dst, p.limits
	p.release()
	return dst, limit, nil
}

// jsonCanons holds readers for their scratch memory.
var jsonCanons = sync.Pool{New: func() any { return new(jsonCanon) }}

func (p *jsonCanon) release() {
	if cap(p.sorted) > maxKeptBuffer || cap(p.members) > maxKeptBuffer/64 {
		return
	}
	p.text, p.dst = "", nil
	jsonCanons.Put(p)
}

func (jsonType) write(dst []byte, canonical string, _ Driver) []byte {
	return append(dst, canonical...)
}

// jsonCanon reads a JSON text and appends its canonical form to dst.
type jsonCanon struct {
	text    string
	at      int
	depth   int
	limits  limits
	dst     []byte
	members []jsonMember // of the objects that are open, innermost last
	sorted  []byte       // scratch
}

// jsonMember says where a member of an object stands in dst: its name's quote,
// the quote after the name, and the end of its value.
type jsonMember struct{ start, name, end int }

const notJSON = unreadable("not JSON")

func (p *jsonCanon) document() error {
	if err := p.value(); err != nil {
		return err
	}
	if p.space(); p.at < len(p.text) {
		return notJSON
	}
	return nil
}

func (p *jsonCanon) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// next skips white space and returns the next byte, 0 at the end.
func (p *jsonCanon) next() byte {
	if p.at < len(p.text) && p.text[p.at] > ' ' {
		return p.text[p.at]
	}
	p.space()
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

// take skips white space and takes c, if it is next.
func (p *jsonCanon) take(c byte) bool {
	if p.next() != c || c == 0 {
		return false
	}
	p.at++
	return true
}

func (p *jsonCanon) value() error {
	switch c := p.next(); c {
	case '{', '[':
		return p.nested(c)
	case '"':
		return p.string()
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	}
	text, ok := p.number()
	if !ok {
		return notJSON
	}
	if len(text) <= 15 && plainInteger(text) {
		p.dst = append(p.dst, text...)
		return nil
	}
	n, ok := scanNumber(text)
	if !ok {
		return unreadable("a JSON number out of all bounds")
	}
	start := len(p.dst)
	p.dst = n.appendJSON(p.dst)
	if n.len() > 15 || n.point < -300 || n.point > 300 { // fewer digits always survive a double
		p.limits |= doubleLimits(textOf(p.dst[start:]))
	}
	return nil
}

// nested reads an object or an array.
func (p *jsonCanon) nested(open byte) (err error) {
	if p.depth++; p.depth > maxNesting {
		return unreadable("JSON nested too deep")
	}
	if open == '{' {
		err = p.object()
	} else {
		err = p.array()
	}
	p.depth--
	return err
}

// doubleLimits says whether MySQL keeps a number of a JSON value as it is: as
// an integer of 64 bits, or as a double that prints as the same number.
func doubleLimits(canonical string) limits {
	if _, err := strconv.ParseInt(canonical, 10, 64); err == nil {
		return 0
	}
	if _, err := strconv.ParseUint(canonical, 10, 64); err == nil {
		return 0
	}
	f, err := strconv.ParseFloat(canonical, 64)
	if err != nil {
		return beyondMySQLJSON
	}
	var b [32]byte
	n, _ := scanNumber(textOf(strconv.AppendFloat(b[:0], f, 'e', -1, 64)))
	if string(n.appendJSON(nil)) != canonical {
		return beyondMySQLJSON
	}
	return 0
}

func (p *jsonCanon) word(word string) error {
	if len(p.text)-p.at < len(word) || p.text[p.at:p.at+len(word)] != word {
		return notJSON
	}
	p.at += len(word)
	p.dst = append(p.dst, word...)
	return nil
}

// number cuts a number as JSON writes it.
func (p *jsonCanon) number() (string, bool) {
	rest := p.text[p.at:]
	if rest != "" && rest[0] == '-' {
		rest = rest[1:]
	}
	whole, rest := cutDigits(rest)
	if whole == "" || (len(whole) > 1 && whole[0] == '0') {
		return "", false
	}
	if rest != "" && rest[0] == '.' {
		var fraction string
		if fraction, rest = cutDigits(rest[1:]); fraction == "" {
			return "", false
		}
	}
	if rest != "" && (rest[0] == 'e' || rest[0] == 'E') {
		if rest = rest[1:]; rest != "" && (rest[0] == '+' || rest[0] == '-') {
			rest = rest[1:]
		}
		var exponent string
		if exponent, rest = cutDigits(rest); exponent == "" {
			return "", false
		}
	}
	text := p.text[p.at : len(p.text)-len(rest)]
	p.at += len(text)
	return text, true
}

// appendJSON appends the number plainly where that takes at most 20 zeros,
// otherwise as d.ddde±n.
func (n *number) appendJSON(dst []byte) []byte {
	if n.point > -7 && n.point <= max(n.len(), 21) {
		return n.append(dst, 0)
	}
	if n.neg {
		dst = append(dst, '-')
	}
	dst = n.digits(dst, 0, 1)
	if n.len() > 1 {
		dst = append(dst, '.')
		dst = n.digits(dst, 1, n.len())
	}
	dst = append(dst, 'e')
	if n.point > 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(n.point-1), 10)
}

func (p *jsonCanon) array() error {
	p.at++
	p.dst = append(p.dst, '[')
	if p.take(']') {
		p.dst = append(p.dst, ']')
		return nil
	}
	for {
		if err := p.value(); err != nil {
			return err
		}
		switch {
		case p.take(','):
			p.dst = append(p.dst, ',')
		case p.take(']'):
			p.dst = append(p.dst, ']')
			return nil
		default:
			return notJSON
		}
	}
}

func (p *jsonCanon) object() error {
	p.at++
	p.dst = append(p.dst, '{')
	if p.take('}') {
		p.dst = append(p.dst, '}')
		return nil
	}
	outer := len(p.members)
	for {
		m := jsonMember{start: len(p.dst)}
		if p.next() != '"' {
			return notJSON
		}
		if err := p.string(); err != nil {
			return err
		}
		m.name = len(p.dst) - 1
		if !p.take(':') {
			return notJSON
		}
		p.dst = append(p.dst, ':')
		if err := p.value(); err != nil {
			return err
		}
		m.end = len(p.dst)
		p.members = append(p.members, m)
		if p.take(',') {
			p.dst = append(p.dst, ',')
			continue
		}
		if !p.take('}') {
			return notJSON
		}
		err := p.order(p.members[outer:])
		p.members = p.members[:outer]
		p.dst = append(p.dst, '}')
		return err
	}
}

// name is a member's name between its quotes.
func (p *jsonCanon) name(m jsonMember) []byte { return p.dst[m.start+1 : m.name] }

// order brings the members that end dst into the order of their names.
func (p *jsonCanon) order(members []jsonMember) error {
	start := members[0].start
	sorted := true // with each name once
	for i := 1; i < len(members) && sorted; i++ {
		sorted = string(p.name(members[i-1])) < string(p.name(members[i]))
	}
	if sorted {
		return nil
	}
	p.sort(members)
	p.sorted = p.sorted[:0]
	for i, m := range members {
		if i > 0 {
			p.sorted = append(p.sorted, ',')
		}
		at := len(p.sorted)
		p.sorted = append(p.sorted, p.dst[m.start:m.end]...)
		members[i] = jsonMember{start: start + at, name: start + at + m.name - m.start}
	}
	copy(p.dst[start:], p.sorted)
	for i := 1; i < len(members); i++ {
		if bytes.Equal(p.name(members[i-1]), p.name(members[i])) {
			return unreadable("a JSON object with a name twice")
		}
	}
	return nil
}

// sort sorts members by name, and by place where that is the same: few as most
// objects have them, without what a sort of any number costs.
func (p *jsonCanon) sort(members []jsonMember) {
	if len(members) > 8 {
		slices.SortStableFunc(members, func(a, b jsonMember) int { return bytes.Compare(p.name(a), p.name(b)) })
		return
	}
	for i := 1; i < len(members); i++ {
		for j := i; j > 0 && string(p.name(members[j])) < string(p.name(members[j-1])); j-- {
			members[j], members[j-1] = members[j-1], members[j]
		}
	}
}

// string reads a string and appends it with as few escapes as possible.
func (p *jsonCanon) string() error {
	run := p.at // with the quote
	p.at++
	for {
		at := p.at
		for at < len(p.text) && p.text[at] >= ' ' && p.text[at] != '"' && p.text[at] != '\\' {
			at++
		}
		p.at = at
		switch {
		case at == len(p.text) || p.text[at] < ' ':
			return notJSON
		case p.text[at] == '"':
			p.at++
			p.dst = append(p.dst, p.text[run:p.at]...)
			return nil
		}
		p.dst = append(p.dst, p.text[run:at]...)
		r, ok := p.escape()
		if !ok {
			return notJSON
		}
		p.dst = appendJSONRune(p.dst, r)
		run = p.at
	}
}

// escape reads what follows a backslash. A surrogate without its other half
// comes back as it is.
func (p *jsonCanon) escape() (rune, bool) {
	rest := p.text[p.at:]
	if len(rest) < 2 {
		return 0, false
	}
	p.at += 2
	switch rest[1] {
	case '"', '\\', '/':
		return rune(rest[1]), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		r, ok := fourHex(rest[2:])
		if !ok {
			return 0, false
		}
		p.at += 4
		if rest = rest[6:]; utf16.IsSurrogate(r) && len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
			if low, ok := fourHex(rest[2:]); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					p.at += 6
					return pair, true
				}
			}
		}
		return r, true
	}
	return 0, false
}

func fourHex(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for i := range 4 {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendJSONRune appends a character of a canonical JSON string.
func appendJSONRune(dst []byte, r rune) []byte {
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r < ' ' || utf16.IsSurrogate(r):
		const hex = "0123456789abcdef"
		return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
	}
	return utf8.AppendRune(dst, r)
}

// appendJSONString appends text as a canonical JSON string. Bytes that are not
// UTF-8 stay as they are.
func appendJSONString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	run := 0
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' {
			dst = append(dst, text[run:i]...)
			dst = appendJSONRune(dst, rune(c))
			run = i + 1
		}
	}
	dst = append(dst, text[run:]...)
	return append(dst, '"')
}
