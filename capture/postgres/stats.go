package postgres

import (
	"sync/atomic"

	"github.com/trueup-io/trueup/schemas"
)

// Stats counts what a source did since it was made.
type Stats struct {
	Transactions int64 // read whole, with changes or without
	Changes      int64 // handed over, repeated ones included
	Refused      int64 // rows without a canonical key
	BadTags      int64 // tags that could not be read
	Connections  int64 // streams started
	Progress     schemas.Progress
	// WALStatus is what the server says of the log it keeps for the slot:
	// reserved, extended, or, soon before it is lost, unreserved. Empty: not
	// known yet.
	WALStatus string
}

// counters are written by the run's goroutines and read by Stats.
type counters struct {
	transactions, changes, refused, badTags, connections atomic.Int64

	progress  atomic.Pointer[schemas.Progress]
	walStatus atomic.Pointer[string]
}

func (c *counters) said(p schemas.Progress) { c.progress.Store(&p) }

// Stats returns the counters; it may be called at any time.
func (s *Source) Stats() Stats {
	c := &s.counters
	stats := Stats{Transactions: c.transactions.Load(), Changes: c.changes.Load(), Refused: c.refused.Load(),
		BadTags: c.badTags.Load(), Connections: c.connections.Load()}
	if p := c.progress.Load(); p != nil {
		stats.Progress = *p
	}
	if w := c.walStatus.Load(); w != nil {
		stats.WALStatus = *w
	}
	return stats
}
