package mysql

import (
	"sync/atomic"

	"github.com/trueup-io/trueup/schemas"
)

// Stats counts what a source did since it was made.
type Stats struct {
	Transactions int64 // read whole, with changes or without
	Changes      int64 // handed over, repeated ones included
	RolledBack   int64 // rows that the log holds of transactions that were rolled back
	Refused      int64 // rows without a canonical key
	Prepared     int64 // XA transactions that wait for their outcome now
	Statements   int64 // writes in statement format to tables that are not mapped
	Unknown      int64 // events of a type that this version does not know, marked as ignorable
	SetAside     int64 // transactions whose rows did not fit in memory
	Connections  int64 // streams started
	Progress     schemas.Progress
}

// counters are written by the run's goroutines and read by Stats.
type counters struct {
	transactions, changes, rolledBack, refused, prepared, statements, unknown, setAside, connections atomic.Int64

	progress atomic.Pointer[schemas.Progress]
}

// Stats returns the counters; it may be called at any time.
func (s *Source) Stats() Stats {
	c := &s.counters
	stats := Stats{Transactions: c.transactions.Load(), Changes: c.changes.Load(), RolledBack: c.rolledBack.Load(),
		Refused: c.refused.Load(), Prepared: c.prepared.Load(), Statements: c.statements.Load(), Unknown: c.unknown.Load(),
		SetAside: c.setAside.Load(), Connections: c.connections.Load()}
	if p := c.progress.Load(); p != nil {
		stats.Progress = *p
	}
	return stats
}
