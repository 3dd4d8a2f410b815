package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trueup-io/trueup/schemas"
)

// pty is a terminal of so many columns and rows, and what was written to it.
type pty struct {
	terminal *os.File
	control  *os.File

	mu   sync.Mutex
	seen strings.Builder // under mu
}

func openPTY(t *testing.T, columns, rows uint16) *pty {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{terminal: terminal, control: control}
	p.resize(t, columns, rows)
	var reading sync.WaitGroup
	reading.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := control.Read(buffer)
			p.mu.Lock()
			p.seen.Write(buffer[:n])
			p.mu.Unlock()
			if err != nil {
				return // EIO: the terminal's end was closed
			}
		}
	})
	t.Cleanup(func() {
		terminal.Close()
		reading.Wait()
		control.Close()
	})
	return p
}

func (p *pty) resize(t *testing.T, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(p.control.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
}

// await waits until the terminal was sent a text.
func (p *pty) await(t *testing.T, text string) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // a terminal says nothing when it was written to
		p.mu.Lock()
		seen := p.seen.String()
		p.mu.Unlock()
		if strings.Contains(seen, text) {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%q was never written; the terminal got %q", text, seen)
		}
	}
}

// On a terminal a demo is drawn in place, follows the terminal's size, and leaves
// the cursor and the result behind.
func TestLiveViewOnATerminal(t *testing.T) {
	p := openPTY(t, 100, 30)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !Live(p.terminal) || Live(io.Discard) {
		t.Fatal("a terminal is not taken for one, or something else is")
	}
	d := newDemo(Options{Seed: 7, Changes: 60_000, Out: p.terminal, Err: io.Discard, Log: newTestLog(t),
		Start: func(context.Context, string) (Pipeline, error) { return nil, nil }}, 2*time.Second)
	end := d.view.begin()
	d.say("starting")
	p.await(t, hideCursor)
	p.await(t, "starting")
	d.keeper.take(schemas.Event{Divergence: &schemas.Divergence{ID: "d", Verdict: schemas.Torn, Stage: schemas.Opened, Entity: "order",
		Key: []string{"42"}, Side: schemas.Legacy}}, time.Now())
	p.await(t, "order 42")
	p.await(t, cyan+"torn")
	p.await(t, "A\r") // back to the top of the picture
	p.resize(t, 50, 10)
	p.await(t, clearAll)
	if err := d.view.conclude(good()); err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil { // it has ended already
		t.Fatal(err)
	}
	p.await(t, showCursor)
	p.await(t, "try next")
}

// "Respect NO_COLOR": https://no-color.org. And a dumb terminal gets lines.
func TestLiveViewWithoutColours(t *testing.T) {
	p := openPTY(t, 100, 30)
	t.Setenv("TERM", "dumb")
	if Live(p.terminal) {
		t.Error("drawn on a dumb terminal")
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	d := newDemo(Options{Out: p.terminal, Err: io.Discard, Log: newTestLog(t)}, 2*time.Second)
	end := d.view.begin()
	defer func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	}()
	d.say("starting")
	p.await(t, "starting")
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(p.seen.String(), strong) {
		t.Errorf("painted: %q", p.seen.String())
	}
}
