package mysql

import (
	"slices"
	"strings"
)

// tokenKind is what a token of an SQL text is.
type tokenKind uint8

const (
	wordToken    tokenKind = iota // a keyword or a name without quotes
	nameToken                     // a quoted name, its quotes removed
	stringToken                   // a string, with its quotes
	commentToken                  // what stands between /* and */
	otherToken                    // one byte of anything else
)

type token struct {
	kind tokenKind
	text string
}

// is says whether t is that keyword, in capital letters.
func (t token) is(keyword string) bool {
	return t.kind == wordToken && strings.EqualFold(t.text, keyword)
}

func (t token) isAny(keywords ...string) bool { return slices.ContainsFunc(keywords, t.is) }

// The bits of sql_mode that change where a token ends.
const (
	modeANSIQuotes         = 1 << 2
	modeNoBackslashEscapes = 1 << 20
)

// scanner takes an SQL text apart as far as finding its comments, its words and
// its names needs. It reads any bytes: what is not closed ends with the text.
// Line comments are left out. What stands in an executable comment, /*! … */ or
// /*M! … */, is part of the statement.
type scanner struct {
	text string
	mode uint64 // sql_mode, as far as it is known
	at   int
}

// next returns the next token, false at the end.
func (s *scanner) next() (token, bool) {
	for s.at < len(s.text) {
		c, rest := s.text[s.at], s.text[s.at:]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			s.at++
		case c == '#' || strings.HasPrefix(rest, "--") && (len(rest) == 2 || rest[2] <= ' '):
			s.skipLine()
		case strings.HasPrefix(rest, "/*!"), strings.HasPrefix(rest, "/*M!"):
			s.at += strings.IndexByte(rest, '!') + 1
			for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
				s.at++
			}
		case strings.HasPrefix(rest, "/*"):
			body, _, found := strings.Cut(rest[2:], "*/")
			s.at += 2 + len(body)
			if found {
				s.at += 2
			}
			return token{commentToken, body}, true
		case c == '`' || c == '"' && s.mode&modeANSIQuotes != 0:
			return token{nameToken, s.quotedName(c)}, true
		case c == '\'' || c == '"':
			return token{stringToken, s.quotedString(c)}, true
		case wordByte(c):
			start := s.at
			for s.at < len(s.text) && wordByte(s.text[s.at]) {
				s.at++
			}
			return token{wordToken, s.text[start:s.at]}, true
		default:
			s.at++
			return token{otherToken, rest[:1]}, true
		}
	}
	return token{}, false
}

// word returns the next token that is no comment.
func (s *scanner) word() (token, bool) {
	for {
		t, ok := s.next()
		if !ok || t.kind != commentToken {
			return t, ok
		}
	}
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

func (s *scanner) skipLine() {
	if i := strings.IndexByte(s.text[s.at:], '\n'); i >= 0 {
		s.at += i + 1
	} else {
		s.at = len(s.text)
	}
}

// quotedName reads a name in quotes; a doubled quote in it stands for one.
func (s *scanner) quotedName(quote byte) string {
	start := s.at + 1
	for s.at = start; s.at < len(s.text); s.at++ {
		if s.text[s.at] != quote {
			continue
		}
		if s.at+1 == len(s.text) || s.text[s.at+1] != quote {
			name := s.text[start:s.at]
			s.at++
			return strings.ReplaceAll(name, string([]byte{quote, quote}), string(quote))
		}
		s.at++
	}
	return s.text[start:]
}

// quotedString reads a string; a doubled quote in it begins what looks like
// another string, which is the same for our purposes.
func (s *scanner) quotedString(quote byte) string {
	start := s.at
	for s.at++; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\\':
			if s.mode&modeNoBackslashEscapes == 0 {
				s.at++
			}
		case quote:
			s.at++
			return s.text[start:s.at]
		}
	}
	s.at = len(s.text)
	return s.text[start:]
}
