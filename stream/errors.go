package stream

import (
	"errors"
	"fmt"
)

var (
	// ErrRetention: records that were to be read were removed by retention.
	ErrRetention = errors.New("removed by retention")
	// ErrDataLoss: the log no longer has, or has replaced, records that were read or
	// acknowledged.
	ErrDataLoss = errors.New("the log lost records")
	// ErrRecreated: the topic was deleted and made again; positions in the old one
	// mean nothing in the new one.
	ErrRecreated = errors.New("the topic was deleted and made again")
	// ErrFenced: another process took over this instance's name.
	ErrFenced = errors.New("another process took over")
	// ErrNoTopic: a topic of the migration does not exist, and may not be created here.
	ErrNoTopic = errors.New("topic does not exist")
	// ErrNotRunning: no brokers are configured, and no process runs the embedded
	// broker of this data directory.
	ErrNotRunning = errors.New("the embedded broker is not running")
	// ErrInUse: the data directory is held by another process.
	ErrInUse = errors.New("data directory in use")
	// ErrClosed: the log, or the producer or writer, was closed.
	ErrClosed = errors.New("closed")
)

// OffsetError says that a partition cannot be read from an offset. It is
// ErrRetention or ErrDataLoss (errors.Is).
type OffsetError struct {
	Kind       error // ErrRetention or ErrDataLoss
	Topic      string
	Partition  int32
	Offset     int64 // where reading should have gone on
	Start, End int64 // what the log has: Start is the first offset, End the one after the last
	Cause      error // what the client saw, if it was the client that found it
}

// Error names the place and what to do.
func (e *OffsetError) Error() string {
	where := fmt.Sprintf("topic %q partition %d: offset %d", e.Topic, e.Partition, e.Offset)
	has := fmt.Sprintf("the log has %d to %d", e.Start, e.End)
	switch {
	case errors.Is(e.Kind, ErrRetention):
		return fmt.Sprintf("%s was %v (%s): what was not read is unknown from here on; run a new baseline, and lengthen the topic's retention", where, e.Kind, has)
	case e.Cause != nil:
		return fmt.Sprintf("%s: %v (%s; %v): what was lost is unknown; run a new baseline", where, e.Kind, has, e.Cause)
	default:
		return fmt.Sprintf("%s: %v (%s): what was lost is unknown; run a new baseline", where, e.Kind, has)
	}
}

// Unwrap returns the kind and the cause.
func (e *OffsetError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}
