// Package capture turns a store's log into changes on the one log.
//
// It promises that every committed change of a mapped table is written at
// least once and in commit order, that nothing uncommitted ever is, that a
// change has the same event id however often it is written, and that a store
// is told to forget its log only up to what is durable on ours. Where
// continuity with the past cannot be proven it stops with a *GapError; it
// never recreates a slot or jumps ahead by itself.
//
// It assumes that one process at a time captures a side.
//
// The adapters (capture/postgres, capture/mysql) read a store's log and hand
// changes to a Sink; Runner is the Sink that writes them to the log:
//
//	Source.Open ─ continuity proven ─► Source.Run ─► Sink.Change*, Sink.Progress
//	     ▲                                                    │
//	     └── state file ◄─ acked prefix over all partitions ◄─┘
package capture

import (
	"context"
	"fmt"

	"github.com/trueup-io/trueup/schemas"
)

// Resume is what a source needs to go on after a progress: opaque text of its
// adapter, such as an LSN or a GTID set.
type Resume string

// Sink receives what a source captured, in order. A call blocks while the log
// cannot take more. The caller does not touch a Change after handing it over.
type Sink interface {
	// Change takes one committed row change; transactions come whole and in commit order. Where a digest can stand for
	// the row, the source has computed it.
	Change(ctx context.Context, c *schemas.Change) error
	// Progress says that the source is complete up to p.Pos; resume goes on after it.
	Progress(ctx context.Context, p schemas.Progress, resume Resume) error
}

// Borrower is a Sink that may keep nothing of a Change beyond the call, so that its
// source uses the memory again.
type Borrower interface{ Borrows() bool }

// Lends says whether changes are only lent to a sink.
func Lends(to Sink) bool {
	b, ok := to.(Borrower)
	return ok && b.Borrows()
}

// Refuser is a Sink that also takes what no change can be made of. With another
// sink a source ends with an error at it.
type Refuser interface {
	// Quarantine takes an event that could not be made a change, between the changes around it.
	Quarantine(ctx context.Context, q *schemas.Quarantine) error
	// Halt says that an entity cannot be carried on: its changes up to h.Pos were handed over, and no more are until
	// the source is started without it in Start.Halted.
	Halt(ctx context.Context, h Halt) error
}

// Start is where a source goes on.
type Start struct {
	Resume   Resume
	Identity string // what identifies the log: system id, timeline and slot; server and domain
	// Halted names the entities whose changes are not handed over.
	Halted []string
	// Found are those of them that Open found it cannot carry on; Run does not read it.
	Found []Halt
}

// Source is the change log of one store.
type Source interface {
	// Open proves continuity with from and identity without starting the stream. Both are empty on the first start:
	// then it takes the present position, and creates what it needs to keep it (see Keeper). A continuity that cannot be
	// proven is a *GapError. What is wrong with the tables of the entities in halted does not matter, and what became
	// impossible for another one since is in the Start, not an error.
	Open(ctx context.Context, from Resume, identity string, halted ...string) (Start, error)
	// Run streams until ctx is done or something happens that reconnecting cannot mend; it reconnects by itself.
	// Acked yields the largest durable resume, false before the first; only that is confirmed to the server.
	Run(ctx context.Context, start Start, epoch uint32, sink Sink, acked func() (Resume, bool)) error
	// Close releases connections. It never drops a slot.
	Close(ctx context.Context) error
}

// GapError says that continuity with the past of a source is not proven.
type GapError struct {
	Source string // the source's name
	Reason string // what was found
	Remedy string // the next action
}

func (e *GapError) Error() string {
	return fmt.Sprintf("gap in %s: %s; %s", e.Source, e.Reason, e.Remedy)
}
