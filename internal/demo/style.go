package demo

import (
	"os"

	"github.com/trueup-io/trueup/schemas"
)

// style paints, or does not: NO_COLOR and files want plain text.
type style struct{ colors bool }

// terminalStyle is that of a terminal: painted unless NO_COLOR says otherwise
// (https://no-color.org).
func terminalStyle() style { return style{colors: os.Getenv("NO_COLOR") == ""} }

// The colours that every terminal has.
const (
	reset   = "\x1b[0m"
	strong  = "\x1b[1m"
	faint   = "\x1b[2m"
	red     = "\x1b[31m"
	green   = "\x1b[32m"
	yellow  = "\x1b[33m"
	blue    = "\x1b[34m"
	magenta = "\x1b[35m"
	cyan    = "\x1b[36m"
	banner  = "\x1b[30;43m" // black on yellow
)

func (s style) paint(colour, text string) string {
	if !s.colors || text == "" {
		return text
	}
	return colour + text + reset
}

// kind is a kind's name in its colour.
func (s style) kind(kind schemas.Kind, text string) string {
	colour := red
	switch kind {
	case schemas.Missing, schemas.Stale:
		colour = yellow
	case schemas.Mismatch, schemas.Reordered:
		colour = magenta
	case schemas.Rogue, schemas.Resurrected:
		colour = blue
	case schemas.Torn:
		colour = cyan
	}
	return s.paint(colour, text)
}

// tick marks what is as it should be, or not.
func (s style) tick(ok bool) string {
	if ok {
		return s.paint(green, "✓")
	}
	return s.paint(red, "✗")
}
