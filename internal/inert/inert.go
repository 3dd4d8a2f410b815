// Package inert shows what others have written, on a terminal, in a log, or on a
// page, so that it does nothing there: escapes of terminals, marks that turn the
// direction of text and bytes that are no text stand as escapes.
//
// It promises that nothing that it returns does more than show. What it returns
// is still text: a page escapes it as HTML, which Page's templates do.
package inert

import (
	_ "embed"
	"html/template"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text shows a text on one line. Quotes and backslashes are escaped too, so that
// nothing else can look like an escape.
func Text(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// Prose shows a text that may have several lines and quotes, for reading.
func Prose(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r != utf8.RuneError && unicode.IsPrint(r) || r == '\n' || r == utf8.RuneError && size > 1 {
			b.WriteString(s[:size])
		} else {
			b.WriteString(Text(s[:size]))
		}
		s = s[size:]
	}
	return b.String()
}

// Line is Prose on one line: sentences and statements, in which quotes are read,
// or copied.
func Line(s string) string { return strings.ReplaceAll(Prose(s), "\n", `\n`) }

//go:embed page.html.tmpl
var shared string

// Page is the template of a page that asks nothing of any network and runs no
// script: its policy, in the template "head", forbids both. "style" is what all
// pages look like. It panics over a text that is no template.
func Page(text string, funcs template.FuncMap) *template.Template {
	t := template.Must(template.New("page").Funcs(funcs).Parse(shared))
	return template.Must(t.Parse(text))
}
