package postgres

import (
	"sync/atomic"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// Stats counts what a source did since it was made.
type Stats struct {
	Transactions int64 // read whole, with changes or without
	Changes      int64 // handed over, repeated ones included
	Refused      int64 // rows without a canonical key
	BadTags      int64 // tags that could not be read
	Connections  int64 // streams started
	Streamed     int64 // transactions that the server began to send before they had ended
	Spilled      int64 // bytes of large transactions that were written to disk
	// Streaming says that a connection streams now; where none does, Broken says
	// why, and everything committed meanwhile waits at the server. Of a
	// connection that hangs this is found after a minute at the latest; the age
	// of Progress shows it at once.
	Streaming bool
	Broken    string
	Progress  schemas.Progress
	// Slot is what the server keeps for the slot; nil: not known yet.
	Slot *SlotStats
	// Warnings are what an operator should look at now, before it becomes a gap.
	Warnings []capture.Finding
}

// counters are written by the run's goroutines and read by Stats.
type counters struct {
	transactions, changes, refused, badTags, connections, streamed, spilled atomic.Int64

	broken   atomic.Pointer[string] // why nothing streams, "" while something does; written by the delivering goroutine
	progress atomic.Pointer[schemas.Progress]
	slot     atomic.Pointer[SlotStats]
	warnings atomic.Pointer[[]capture.Finding]
}

func (c *counters) said(p schemas.Progress) { c.progress.Store(&p) }

func (c *counters) streams(broken string) { c.broken.Store(&broken) }

// Stats returns the counters; it may be called at any time.
func (s *Source) Stats() Stats {
	c := &s.counters
	stats := Stats{Transactions: c.transactions.Load(), Changes: c.changes.Load(), Refused: c.refused.Load(),
		BadTags: c.badTags.Load(), Connections: c.connections.Load(), Streamed: c.streamed.Load(), Spilled: c.spilled.Load()}
	if broken := c.broken.Load(); broken != nil {
		stats.Streaming, stats.Broken = *broken == "", *broken
	}
	if p := c.progress.Load(); p != nil {
		stats.Progress = *p
	}
	if slot := c.slot.Load(); slot != nil {
		one := *slot
		stats.Slot = &one
	}
	if w := c.warnings.Load(); w != nil {
		stats.Warnings = *w
	}
	return stats
}
