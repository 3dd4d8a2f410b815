package runner

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Headroom says how long the log goes on holding what is needed of it.
type Headroom struct {
	Kept time.Duration // for how long the log keeps a record; 0: for ever, and the next two mean nothing
	// Reading is the time until retention takes a record that was not compared yet: a gap then. Kept, where all is compared.
	Reading time.Duration
	// Rebuild is the time until it takes a row that state which is lost would have to be made anew from. Whatever of
	// it did not change since is unknown after such a loss, until a baseline has read it again.
	Rebuild time.Duration
	// Lost are the partitions of which such a row is gone already.
	Lost []int32
}

// Headroom looks at the partitions of this process at a time.
func (r *Runner) Headroom(ctx context.Context, now time.Time) (Headroom, error) {
	s := r.Status()
	topic := r.cfg.Log.Topics().Changes
	kept, err := r.cfg.Log.KeptFor(ctx)
	if err != nil {
		return Headroom{}, fmt.Errorf("headroom of the log: %w", err)
	}
	starts, err := r.cfg.Log.StartOffsets(ctx, topic)
	if err != nil {
		return Headroom{}, fmt.Errorf("headroom of the log: %w", err)
	}
	h := Headroom{Kept: kept, Reading: kept, Rebuild: kept}
	until := func(partition int32, offset int64, least *time.Duration) error {
		if kept == 0 || *least == 0 {
			return nil
		}
		at, ok, err := r.cfg.Log.WrittenAt(ctx, topic, partition, offset)
		if err != nil {
			return fmt.Errorf("headroom of the log: %w", err)
		}
		if ok {
			*least = max(0, min(*least, at.Add(kept).Sub(now)))
		}
		return nil
	}
	for _, p := range slices.Sorted(maps.Keys(s.Next)) {
		if s.Next[p] < starts[p] {
			h.Reading = 0
		} else if err := until(p, s.Next[p], &h.Reading); err != nil {
			return Headroom{}, err
		}
		switch need := s.Needed[p]; {
		case need < 0:
		case need < starts[p]:
			h.Rebuild, h.Lost = 0, append(h.Lost, p)
		default:
			if err := until(p, need, &h.Rebuild); err != nil {
				return Headroom{}, err
			}
		}
	}
	return h, nil
}
