package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// errDamaged says that a state file cannot be read as one.
var errDamaged = errors.New("it is damaged")

// lost is the state of a side of which the log has changes, and whose state file
// is gone: where it went on from is not known, so nothing says what was missed
// since. A slot that it had is not found by this: Open refuses it. The zero state
// is that of a side that is new to the log.
//
// It is an error if another process captures the side into this log now: a gap
// would end what that one does.
func (r *Runner) lost(ctx context.Context) (saved, error) {
	epoch, ends, err := latestEpoch(ctx, r.log, r.cfg.Side)
	if err != nil || epoch == 0 {
		return saved{}, err
	}
	select {
	case <-ctx.Done():
		return saved{}, ctx.Err()
	case <-time.After(r.listen):
	}
	for p, from := range ends {
		_, err := r.log.Read(ctx, r.log.Topics().Changes, int32(p), from, stream.End, func(rec stream.Record) error {
			if epochOf(rec.Value, r.cfg.Side) > 0 {
				return fmt.Errorf("another process captures %s into this log, and %s is not its state: stop it, or run this one without capture",
					r.cfg.Side, r.cfg.StatePath)
			}
			return nil
		})
		if err != nil {
			return saved{}, err
		}
	}
	return saved{Source: r.cfg.Source, Epoch: epoch}, nil
}

// listenFor is how long a side is listened for that may be captured elsewhere: one
// that is says something in every partition several times a second.
const listenFor = 3 * time.Second

// latestEpoch returns the newest epoch of which the log has anything of a side, 0 if
// it has nothing, and up to where that is so. A side that runs has said something in
// every partition seconds ago: the log is read from its end, ever more of it until
// the side is found.
func latestEpoch(ctx context.Context, log *stream.Log, side schemas.Side) (latest uint32, ends []int64, err error) {
	topic := log.Topics().Changes
	starts, err := log.StartOffsets(ctx, topic)
	if err != nil {
		return 0, nil, err
	}
	if ends, err = log.EndOffsets(ctx, topic); err != nil {
		return 0, nil, err
	}
	for p := range int32(log.Partitions()) {
		start, to := starts[p], ends[p]
		for records, found := int64(4096), false; to > start && !found; records *= 4 {
			from := max(start, to-records)
			_, err := log.Read(ctx, topic, p, from, to, func(r stream.Record) error {
				if epoch := epochOf(r.Value, side); epoch > 0 {
					latest, found = max(latest, epoch), true
				}
				return nil
			})
			if err != nil {
				return 0, nil, fmt.Errorf("look for the side's last epoch: %w", err)
			}
			to = from
		}
	}
	return latest, ends, nil
}

// epochOf returns the epoch of a record of a side, 0 of any other.
func epochOf(value []byte, side schemas.Side) uint32 {
	rec, err := schemas.UnmarshalRecord(value)
	if err != nil {
		return 0 // reconcile quarantines it
	}
	switch {
	case rec.Change != nil && rec.Change.Side == side:
		return rec.Change.Epoch
	case rec.Progress != nil && rec.Progress.Side == side:
		return rec.Progress.Epoch
	case rec.Gap != nil && rec.Gap.Side == side && rec.Gap.Entity == "":
		return rec.Gap.Epoch
	}
	return 0
}
