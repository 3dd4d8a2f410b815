package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
)

// viewEvery is how often progress is shown.
const viewEvery = 500 * time.Millisecond

// baselineView shows how far a baseline is: bars on a terminal, JSON Lines, or
// what has changed for the better in a file.
type baselineView struct {
	to       io.Writer
	asJSON   bool
	terminal bool
	drawn    int             // lines, on the terminal
	said     map[string]bool // what is covered, elsewhere
}

func newBaselineView(to io.Writer, asJSON bool) *baselineView {
	f, ok := to.(*os.File)
	return &baselineView{to: to, asJSON: asJSON, said: map[string]bool{},
		terminal: !asJSON && ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"}
}

// baselineLine is a line of --json.
type baselineLine struct {
	Kind string `json:"kind"`
	Side string `json:"side"`
	baselineStatus
}

func (v *baselineView) each(s *statusFile, do func(side string, b *baselineStatus)) {
	for _, side := range schemas.Sides {
		all := s.Sides[side.String()].Baseline
		for i := range all {
			do(side.String(), &all[i])
		}
	}
}

// draw shows how it stands.
func (v *baselineView) draw(s *statusFile) {
	switch {
	case v.asJSON:
		v.each(s, func(side string, b *baselineStatus) {
			if b.Reading {
				_ = v.line(side, b) // the last lines tell whether it can be written
			}
		})
	case v.terminal:
		var out strings.Builder
		if v.drawn > 0 {
			fmt.Fprintf(&out, "\x1b[%dA", v.drawn)
		}
		v.drawn = 0
		v.each(s, func(side string, b *baselineStatus) {
			fmt.Fprintf(&out, "\x1b[2K%s\n", b.bar(side))
			v.drawn++
		})
		fmt.Fprint(v.to, out.String())
	default:
		v.each(s, func(side string, b *baselineStatus) {
			if key := side + b.Entity; b.Covered && !v.said[key] {
				v.said[key] = true
				fmt.Fprintln(v.to, b.text(side))
			}
		})
	}
}

func (v *baselineView) line(side string, b *baselineStatus) error {
	return json.NewEncoder(v.to).Encode(baselineLine{"baseline", side, *b})
}

// end shows how it ended: everything once.
func (v *baselineView) end(s *statusFile) (err error) {
	v.draw(s)
	v.each(s, func(side string, b *baselineStatus) {
		switch {
		case v.asJSON:
			err = v.line(side, b)
		case !v.terminal && !b.Covered:
			_, err = fmt.Fprintln(v.to, b.text(side))
		}
	})
	return err
}

const barCells = 30

// bar is a line for a terminal.
func (b *baselineStatus) bar(side string) string {
	filled := 0
	if b.Total > 0 {
		filled = int(min(b.Rows, b.Total) * barCells / b.Total)
	}
	if b.Covered {
		filled = barCells
	}
	return fmt.Sprintf("%s%s %s", strings.Repeat("█", filled), strings.Repeat("░", barCells-filled), b.text(side))
}

// text says how it stands.
func (b *baselineStatus) text(side string) string {
	head := fmt.Sprintf("%-6s %s", side, b.Entity)
	switch {
	case b.Covered:
		return fmt.Sprintf("%s: covered, %d rows read", head, b.Rows)
	case b.Halted:
		return fmt.Sprintf("%s: not covered: it has halted; mend what \"trueup status\" says, and start again with --resume %s", head, b.Entity)
	case b.Problem != "":
		return fmt.Sprintf("%s: STOPPED: %s", head, inert.Line(b.Problem))
	case b.Reading:
		text := fmt.Sprintf("%s: %d rows read", head, b.Rows)
		if b.Total > b.Rows {
			text += fmt.Sprintf(" of about %d", b.Total)
		}
		text += fmt.Sprintf(", %d rows/s", b.Rate)
		if b.LeftS > 0 {
			text += fmt.Sprintf(", %s left", time.Duration(b.LeftS)*time.Second)
		}
		if b.Unordered != "" {
			text += "; not in step with the other side: " + inert.Line(b.Unordered)
		}
		return text
	case b.Rows > 0:
		return fmt.Sprintf("%s: not covered, %d rows read; \"trueup baseline\" goes on", head, b.Rows)
	}
	return fmt.Sprintf("%s: not covered: rows from before are compared once both sides have changed them", head)
}
