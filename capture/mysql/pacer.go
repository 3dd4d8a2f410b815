package mysql

import "time"

const (
	// progressGap is the least time between two progresses: each is a record in every partition.
	progressGap = 3 * time.Millisecond
	// progressTransactions is how many transactions may wait for one.
	progressTransactions = 1000
)

// pacer decides when progress is said: soon after a transaction, but not after
// each one of many, and every so often when nothing happens.
type pacer struct {
	last    time.Time // when it was said
	waiting int       // transactions since
}

func (p *pacer) said(now time.Time) { p.last, p.waiting = now, 0 }

// passed counts a transaction.
func (p *pacer) passed() { p.waiting++ }

// crowded says that progress must not wait for the stream to pause.
func (p *pacer) crowded() bool { return p.waiting >= progressTransactions }

// wait returns how long the stream may wait for events before progress is due;
// 0: it is due now.
func (p *pacer) wait(now time.Time, idle time.Duration) time.Duration {
	after := idle
	if p.waiting > 0 {
		after = progressGap
	}
	return max(0, after-now.Sub(p.last))
}
