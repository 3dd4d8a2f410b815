package mysql

import (
	"sync/atomic"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// Stats counts what a source did since it was made.
type Stats struct {
	Transactions      int64 // read whole, with changes or without
	Changes           int64 // handed over, repeated ones included
	RolledBack        int64 // rows that the log holds of transactions that were rolled back
	Refused           int64 // rows without a canonical key
	Prepared          int64 // XA transactions that wait for their outcome now
	Statements        int64 // writes in statement format to tables that are not mapped
	Unknown           int64 // events of a type that this version does not know, marked as ignorable
	UnknownStatements UnknownStatements
	SetAside          int64 // transactions whose rows did not fit in memory
	Connections       int64 // streams started
	// Streaming says that a connection streams now; where none does, Broken says
	// why, and everything committed meanwhile waits at the server. Of a
	// connection that hangs this is found after a minute at the latest; the age
	// of Progress shows it at once.
	Streaming bool
	Broken    string
	Progress  schemas.Progress
	// Warnings are what an operator should look at now: settings with which new
	// sessions write what cannot be captured.
	Warnings []capture.Finding
	Binlog   *BinlogStats // as of some seconds ago; nil: the server did not say
}

// UnknownStatements are what the log had of statements that this version does
// not know. An entity whose table is named in one has halted; what one of the
// others did to a mapped table nobody has seen.
type UnknownStatements struct {
	Count  int64  `json:"count"`
	Latest string `json:"latest,omitempty"` // the latest one's first words, with no value of it
	Pos    string `json:"pos,omitempty"`    // where that transaction begins in the log
}

// counters are written by the run's goroutines and read by Stats.
type counters struct {
	transactions, changes, rolledBack, refused, prepared, statements, unknown, setAside, connections atomic.Int64

	broken   atomic.Pointer[string] // why nothing streams, "" while something does; written by the delivering goroutine
	progress atomic.Pointer[schemas.Progress]
	warnings atomic.Pointer[[]capture.Finding] // written by the sampler
	binlog   atomic.Pointer[BinlogStats]       // written by the sampler
	strange  atomic.Pointer[UnknownStatements] // written by the delivering goroutine
}

func (c *counters) streams(broken string) { c.broken.Store(&broken) }

// Stats returns the counters; it may be called at any time.
func (s *Source) Stats() Stats {
	c := &s.counters
	stats := Stats{Transactions: c.transactions.Load(), Changes: c.changes.Load(), RolledBack: c.rolledBack.Load(),
		Refused: c.refused.Load(), Prepared: c.prepared.Load(), Statements: c.statements.Load(), Unknown: c.unknown.Load(),
		SetAside: c.setAside.Load(), Connections: c.connections.Load(), Binlog: c.binlog.Load()}
	if broken := c.broken.Load(); broken != nil {
		stats.Streaming, stats.Broken = *broken == "", *broken
	}
	if u := c.strange.Load(); u != nil {
		stats.UnknownStatements = *u
	}
	if p := c.progress.Load(); p != nil {
		stats.Progress = *p
	}
	if w := c.warnings.Load(); w != nil {
		stats.Warnings = *w
	}
	return stats
}
