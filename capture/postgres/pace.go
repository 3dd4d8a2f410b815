package postgres

import (
	"context"
	"time"
)

const (
	// paceWindow is over how long the rate of messages is measured.
	paceWindow = 2 * time.Millisecond
	// paceRate is from how many messages a millisecond on it pays to wait for more.
	paceRate = 20
	// paceWait is how long that is: some ten kilobytes, which the socket holds, and
	// little beside what a record takes to become durable.
	paceWait = 500 * time.Microsecond
)

// pace makes a busy stream come in larger pieces. The server writes each message to
// the socket by itself, so a reader that keeps up wakes up for every few of them,
// and wakes whoever delivers: at a hundred thousand rows a second that costs more
// than the rows. A stream that is not busy is never waited for.
type pace struct {
	since    time.Time // when the window began
	messages int       // in it
	busy     bool      // as of the latest window
}

// count notes that so many messages were received by now.
func (p *pace) count(n int, now time.Time) {
	p.messages += n
	if passed := now.Sub(p.since); passed >= paceWindow {
		p.busy = float64(p.messages) >= paceRate*float64(passed)/float64(time.Millisecond)
		p.since, p.messages = now, 0
	}
}

// gather lets a busy stream's next messages come together.
func (p *pace) gather(ctx context.Context) {
	if !p.busy {
		return
	}
	timer := time.NewTimer(paceWait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
