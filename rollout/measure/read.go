package measure

import (
	"context"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/stream"
)

// Load reads what was measured since a moment. Records that are none are counted in it as
// what was not measured.
func Load(ctx context.Context, log *stream.Log, since time.Time) (*History, error) {
	h := &History{}
	topic := log.Topics().Measured
	from, err := log.OffsetsAt(ctx, topic, since)
	if err != nil {
		return nil, fmt.Errorf("read what was measured: %w", err)
	}
	_, err = log.Read(ctx, topic, 0, from[0], stream.End, func(r stream.Record) error {
		h.take(r.Value)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what was measured: %w", err)
	}
	return h, nil
}

// take adds a message's value. What cannot be read leaves a hole, which shows.
func (h *History) take(value []byte) {
	if r, err := Decode(value); err == nil {
		h.Add(r)
	}
}

// Follow gives fn what was measured since a moment and then each new record, until ctx
// ends or the log cannot be read on.
func Follow(ctx context.Context, log *stream.Log, since time.Time, fn func(*Record)) error {
	topic := log.Topics().Measured
	from, err := log.OffsetsAt(ctx, topic, since)
	if err != nil {
		return fmt.Errorf("follow what is measured: %w", err)
	}
	err = log.Tail(ctx, topic, map[int32]int64{0: from[0]}, func(r stream.Record) error {
		if m, err := Decode(r.Value); err == nil {
			fn(m)
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("follow what is measured: %w", err)
}
