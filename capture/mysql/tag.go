package mysql

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/trueup-io/trueup/schemas"
)

// maxTagValue bounds a value of a tag, in bytes: a traceparent has 55. A longer
// one is not a tag.
const maxTagValue = 512

// tagField returns the field of a tag with that name, nil if there is none.
func tagField(tag *schemas.Tag, name string) *string {
	switch name {
	case "write_id":
		return &tag.WriteID
	case "traceparent":
		return &tag.Traceparent
	case "flag_epoch":
		return &tag.FlagEpoch
	case "compensation_id":
		return &tag.CompensationID
	case "service":
		return &tag.Service
	}
	return nil
}

// setTag sets a field of a tag, if there is such a field and the value can be
// one.
func setTag(tag *schemas.Tag, name, value string) {
	if field := tagField(tag, name); field != nil && len(value) <= maxTagValue && utf8.ValidString(value) {
		*field = value
	}
}

// merge returns tag with what it does not say taken from other.
func merge(tag, other schemas.Tag) schemas.Tag {
	for _, name := range [...]string{"write_id", "traceparent", "flag_epoch", "compensation_id", "service"} {
		if field := tagField(&tag, name); *field == "" {
			*field = *tagField(&other, name)
		}
	}
	return tag
}

// tagOf reads the tag of a statement out of its comments, as sqlcommenter
// writes them: /*key='value',key='value'*/ with the values URL-encoded. A key
// that stands there several times has its last value. Strings and quoted names
// are not searched, so data cannot pretend to be a tag.
func tagOf(statement string) (tag schemas.Tag) {
	if !strings.Contains(statement, "/*") {
		return tag
	}
	s := scanner{text: statement}
	for {
		t, ok := s.next()
		if !ok {
			return tag
		}
		if t.kind == commentToken {
			readComment(&tag, t.text)
		}
	}
}

// readComment reads the pairs of one comment. What is no pair is passed over.
func readComment(tag *schemas.Tag, text string) {
	for {
		equals := strings.IndexByte(text, '=')
		if equals < 0 {
			return
		}
		name := strings.TrimRight(text[:equals], " \t\r\n")
		name = name[strings.LastIndexAny(name, " \t\r\n,;")+1:]
		text = strings.TrimLeft(text[equals+1:], " \t\r\n")
		if text == "" || text[0] != '\'' && text[0] != '"' {
			continue
		}
		value, n := quotedValue(text)
		if n == 0 {
			return // not closed
		}
		text = text[n:]
		if decoded, err := url.PathUnescape(value); err == nil {
			value = decoded
		}
		if decoded, err := url.PathUnescape(name); err == nil {
			name = decoded
		}
		setTag(tag, name, value)
	}
}

// quotedValue reads the quoted value that text begins with; a backslash takes
// the meaning from what follows it. It returns the value and its length with
// quotes, 0 if it is not closed.
func quotedValue(text string) (value string, n int) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case text[i] == text[0]:
			return b.String(), i + 1
		default:
			b.WriteByte(text[i])
		}
	}
	return "", 0
}
