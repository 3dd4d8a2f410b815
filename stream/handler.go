package stream

import "context"

// Handler does the work of a group: it turns records of the changes topic into outputs
// and into state of its own. Its state is the authority about where it is.
//
// A group calls one method at a time, never two at once, though not always from the
// same goroutine. For each partition:
//
//	Assigned ─► (Process ─► Committed | Aborted)* ─► Revoked | Lost
//
// # What a crash leaves
//
// For a batch, the group writes outputs and input offsets to the log in one
// transaction, and calls Committed only then; there the handler commits its own state
// together with Part.Next. A crash in between leaves the stored position behind the
// group's committed one. Assigned is told the committed position and answers with the
// stored one; the group then delivers the records between the two again, as a replay
// (Part.Replay), and discards what Emit is given of them, since the log has it
// already. So the same records always give the same state, and an output is written
// once. The reverse, a stored position ahead of the committed one, is for the handler
// to judge: that the group's offsets were lost is harmless, that the log was is an
// ErrDataLoss, which the group finds itself.
type Handler interface {
	// Assigned says that the partition is this member's from now on. committed is the
	// group's position, NoPosition if there is none. The handler answers with the
	// position from which its state wants to go on, which may be Earliest. It may be
	// called again for a partition that is still assigned.
	Assigned(ctx context.Context, partition int32, committed Position) (next Position, err error)

	// Process works on a batch, and emits outputs to its parts. It must not make its own
	// state durable yet. An error ends the group's Run, after Aborted.
	Process(ctx context.Context, batch *Batch) error

	// Committed says that outputs and offsets of the batch are in the log. Now the
	// handler commits its state, with Part.Next of each part. An error ends the group's
	// Run; the next one replays.
	Committed(ctx context.Context, batch *Batch) error

	// Aborted says that nothing of the batch is in the log: the handler forgets it. The
	// records come again, to this member or another, in batches that may be cut
	// differently.
	Aborted(ctx context.Context, batch *Batch)

	// Revoked says that the partition is no longer this member's. Nothing is in flight.
	Revoked(ctx context.Context, partition int32) error

	// Lost says that the partition has been taken from this member without asking, and
	// may be another's already.
	Lost(ctx context.Context, partition int32)

	// Stopped says that the partition cannot be read on: err is an *OffsetError
	// (ErrRetention, ErrDataLoss), or what else makes reading impossible. It stays
	// assigned, and stands still. If Stopped returns nil the other partitions go on;
	// an error ends the group's Run.
	Stopped(ctx context.Context, partition int32, err error) error
}

// Preparer is a Handler that may have work of its own to do for a partition before it
// takes it over, which takes long: such as fetching state from elsewhere.
type Preparer interface {
	// Prepare is called before Assigned, of a partition that is not assigned yet. The
	// partition is this member's, and nobody else's, from its beginning on; other
	// partitions go on meanwhile, so that methods of Handler may be called of them.
	Prepare(ctx context.Context, partition int32, committed Position) error
}

// Batch is what a group hands to its handler at once: at most a part per partition,
// in the order of partitions. Its records, and the memory that these point into, are
// the handler's until Committed or Aborted returns: then others are read into it. What
// is kept is copied.
type Batch struct {
	Parts []*Part
	// More says, when Committed is called, that records which come next have been read already.
	More bool
}

// Records returns the number of records in the batch.
func (b *Batch) Records() int {
	n := 0
	for _, p := range b.Parts {
		n += len(p.Records)
	}
	return n
}

// Part is the records of one partition in a batch. Different parts may be worked on by
// different goroutines at once.
type Part struct {
	Partition int32
	Records   []Record // in offset order; offsets may have gaps, where commit markers and aborted records are
	// Next is the position after the records, to be stored with the state.
	Next Position
	// Replay says that the outputs of these records are in the log already.
	Replay bool

	outputs []Record
	last    int64 // written by the client's goroutine while the transaction is, read behind it
}

// Last is the offset at which the last of the part's outputs stands, once the batch is
// committed, where that is one to the changelog. Otherwise it means nothing.
func (p *Part) Last() int64 { return p.last }

// Emit adds outputs, each to its Topic and Partition, to be written with the batch. In
// a replay it does nothing.
func (p *Part) Emit(outputs ...Record) {
	if !p.Replay {
		p.outputs = append(p.outputs, outputs...)
	}
}
