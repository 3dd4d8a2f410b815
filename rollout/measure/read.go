package measure

import (
	"context"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/stream"
)

// Each gives fn what was measured since a moment, up to now. What is no record leaves a
// hole, which shows.
func Each(ctx context.Context, log *stream.Log, since time.Time, fn func(*Record)) error {
	topic := log.Topics().Measured
	from, err := log.OffsetsAt(ctx, topic, since)
	if err == nil {
		_, err = log.Read(ctx, topic, 0, from[0], stream.End, func(r stream.Record) error {
			if m, err := Decode(r.Value); err == nil {
				fn(m)
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("read what was measured: %w", err)
	}
	return nil
}

// Load reads what was measured since a moment.
func Load(ctx context.Context, log *stream.Log, since time.Time) (*History, error) {
	h := &History{}
	return h, Each(ctx, log, since, h.Add)
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
