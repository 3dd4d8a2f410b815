package demo

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// liveView draws the demo on a terminal, over and over in the same place, and
// leaves the last picture and the result there.
type liveView struct {
	demo *demo
	out  *os.File
	st   style

	mu            sync.Mutex
	drawn         int // lines of the last picture; under mu
	columns, rows int // of the terminal when it was drawn; under mu

	done, gone chan struct{}
	once       sync.Once
}

func newLiveView(d *demo, out *os.File) *liveView {
	return &liveView{demo: d, out: out, st: terminalStyle(), done: make(chan struct{}), gone: make(chan struct{})}
}

// redraws is how often a picture is drawn.
const redraws = 100 * time.Millisecond

const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	beginFrame = "\x1b[?2026h" // terminals that know it show the whole picture at once
	endFrame   = "\x1b[?2026l"
	clearRight = "\x1b[K"
	clearBelow = "\x1b[J"
	clearAll   = "\x1b[2J\x1b[H"
)

func (v *liveView) begin() func() error {
	go func() {
		defer close(v.gone)
		tick := time.NewTicker(redraws)
		defer tick.Stop()
		for {
			v.draw()
			select {
			case <-v.done:
				return
			case <-tick.C:
			}
		}
	}()
	return v.end
}

// end stops drawing and shows the cursor again.
func (v *liveView) end() error {
	v.once.Do(func() {
		close(v.done)
		<-v.gone
		v.draw()
		_, _ = v.out.WriteString(showCursor) // a terminal that is gone has no cursor
	})
	return nil
}

// size is the terminal's, or a usual one where it does not say.
func (v *liveView) size() (columns, rows int) {
	columns, rows, err := term.GetSize(int(v.out.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		return 80, 24
	}
	return columns, rows
}

// draw draws the picture over the last one.
func (v *liveView) draw() {
	columns, rows := v.size()
	// One column and one line stay free: writing into the last ones scrolls some terminals.
	s := v.demo.snapshot(rows)
	picture := s.frame(v.st, columns-1, rows-1)
	v.mu.Lock()
	defer v.mu.Unlock()
	var b bytes.Buffer
	b.WriteString(beginFrame + hideCursor)
	switch {
	case v.drawn == 0:
	case columns != v.columns || rows != v.rows:
		b.WriteString(clearAll) // what the terminal made of the last picture is anybody's guess
	default:
		fmt.Fprintf(&b, "\x1b[%dA\r", v.drawn)
	}
	for _, line := range picture {
		b.WriteString(line)
		b.WriteString(clearRight + "\r\n")
	}
	b.WriteString(clearBelow + endFrame)
	v.drawn, v.columns, v.rows = len(picture), columns, rows
	_, _ = v.out.Write(b.Bytes()) // a terminal that is gone shows nothing
}

// The picture shows all of these; the next one is never far.
func (v *liveView) stage(string) {}
func (v *liveView) note(string)  {}
func (v *liveView) news(finding) {}

func (v *liveView) conclude(card Scorecard) error {
	if err := v.end(); err != nil {
		return err
	}
	r := v.demo.result(card)
	for _, line := range r.lines(v.st) {
		if _, err := fmt.Fprintln(v.out, line); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
	}
	return nil
}
