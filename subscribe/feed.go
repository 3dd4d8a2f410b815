package subscribe

import (
	"context"
	"sync"

	"github.com/trueup-io/trueup/stream"
)

// Feed gives many readers in one process the events of a log that is open: one
// client learns what is new, and each reader takes it from the log at its own
// pace, so that none holds up another, nor who writes.
type Feed struct {
	log       *stream.Log
	migration string

	mu      sync.Mutex
	ends    *Cursor       // what is known to be there; written by Run
	changed chan struct{} // closed when ends has moved
}

// NewFeed knows what is there. Run it.
func NewFeed(ctx context.Context, log *stream.Log, migration string) (*Feed, error) {
	f := &Feed{log: log, migration: migration, changed: make(chan struct{})}
	var err error
	f.ends, err = f.Cursor(ctx, Now, Topics)
	return f, err
}

// Cursor returns a cursor of topics at a position: stored, Start or Now.
func (f *Feed) Cursor(ctx context.Context, at Position, topics []Topic) (*Cursor, error) {
	c, err := newCursor(f.log, f.migration, topics)
	if err == nil {
		err = c.begin(ctx, f.log, f.migration, at)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Run learns what is new until ctx ends or the log does.
func (f *Feed) Run(ctx context.Context) error {
	from, topics := map[string]map[int32]int64{}, map[string]Topic{}
	for i, t := range f.ends.topics {
		at := map[int32]int64{}
		for p, offset := range f.ends.next[i] {
			at[int32(p)] = offset
		}
		from[t.Name(f.migration)], topics[t.Name(f.migration)] = at, t
	}
	return f.log.TailTopics(ctx, from, func(r stream.Record) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ends.Move(topics[r.Topic], r.Partition, r.Offset+1)
		close(f.changed)
		f.changed = make(chan struct{})
		return nil
	})
}

// News returns whether a partition has records that a cursor has not read, and a channel that is closed when that may have
// changed, for any partition.
func (f *Feed) News(c *Cursor, t Topic, partition int32) (bool, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ends.At(t, partition) > c.At(t, partition), f.changed
}

// Read gives fn the records of a partition from the cursor up to what is known to be there, and moves the cursor behind
// each that fn has taken. Of one that is no event fn gets no event but what is wrong. It stops at the first error of fn.
func (f *Feed) Read(ctx context.Context, c *Cursor, t Topic, partition int32, fn func(e *Event, bad *BadRecord) error) error {
	f.mu.Lock()
	to := f.ends.At(t, partition)
	f.mu.Unlock()
	next, err := f.log.Read(ctx, t.Name(f.migration), partition, c.At(t, partition), to, func(r stream.Record) error {
		e, err := decode(&r)
		var bad *BadRecord
		if err != nil {
			e, bad = nil, &BadRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Err: err}
		} else {
			e.Topic, e.Partition, e.Offset = t, r.Partition, r.Offset
		}
		if err := fn(e, bad); err != nil {
			return err
		}
		c.Move(t, partition, r.Offset+1)
		return nil
	})
	if err == nil && next > c.At(t, partition) {
		c.Move(t, partition, next) // behind what holds no record
	}
	return err
}
