package demo

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Data is shown inert: what is not graphic (escapes that command a terminal,
// characters that turn the direction of writing) is written out.

// printable is a text with everything escaped that is not graphic.
func printable(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !strconv.IsGraphic(r) || r == utf8.RuneError }) < 0 {
		return text
	}
	q := strconv.QuoteToGraphic(text)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// quoted is a value as it stands in a listing: plain where it is plain, else in
// quotes, and not too long.
func quoted(text string) string {
	if text != "" && strings.IndexFunc(text, notPlain) < 0 && text != "NULL" {
		return text
	}
	return cut(strconv.QuoteToGraphic(text), longestValue)
}

// longestValue is how many cells of a value are shown.
const longestValue = 40

func notPlain(r rune) bool {
	return r > unicode.MaxASCII || !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(".:+-", r))
}

// cells is how many columns of a terminal a text takes. Sequences that paint
// take none.
func cells(text string) int {
	n := 0
	for i := 0; i < len(text); {
		if skip := paint(text[i:]); skip > 0 {
			i += skip
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		n += runeCells(r)
		i += size
	}
	return n
}

// cut shortens a text to n columns, with an ellipsis where something is left out.
func cut(text string, n int) string {
	if cells(text) <= n {
		return text
	}
	var b strings.Builder
	used := 0
	painted := false
	for i := 0; i < len(text); {
		if skip := paint(text[i:]); skip > 0 {
			painted = true
			b.WriteString(text[i : i+skip])
			i += skip
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if used+runeCells(r) > n-1 {
			break
		}
		used += runeCells(r)
		b.WriteString(text[i : i+size])
		i += size
	}
	if n > 0 {
		b.WriteString("…")
	}
	if painted {
		b.WriteString(reset)
	}
	return b.String()
}

// padded fills a text up to n columns.
func padded(text string, n int) string {
	return text + strings.Repeat(" ", max(0, n-cells(text)))
}

// paint is the length of a painting sequence that text begins with, 0 if it does
// not.
func paint(text string) int {
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	return strings.IndexByte(text, 'm') + 1
}

func runeCells(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) || r == '\uFE0F' || r == '\u200d' {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
