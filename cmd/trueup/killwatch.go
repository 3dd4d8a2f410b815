package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// killPatience is how much longer than it watches somebody waits for the log: captures may
// be behind.
const killPatience = time.Minute

// killWatch finds the last write that was made under an epoch which a kill ended. It sees
// what is tagged with a flag epoch.
type killWatch struct {
	pressed schemas.Micros
	until   schemas.Micros    // both sides of each partition have to be known up to here
	epochs  map[string]uint64 // by flag: that of the kill

	offset [3]schemas.Micros   // the sides' clocks minus ours
	known  [][3]schemas.Micros // by partition and side: up to when everything was read, on our clock
	late   int                 // writes under an older epoch, behind the press
	last   schemas.Micros      // when the last of them can have committed, at the latest
}

func newKillWatch(pressed time.Time, watch time.Duration, killed []*registry.Standing, partitions int) *killWatch {
	w := &killWatch{pressed: schemas.MicrosOf(pressed), until: schemas.MicrosOf(pressed.Add(watch)), epochs: map[string]uint64{},
		known: make([][3]schemas.Micros, partitions)}
	for _, f := range killed {
		w.epochs[f.Name] = f.Epoch
	}
	return w
}

// take takes a partition's next record, and says whether all is known that was asked.
func (w *killWatch) take(partition int32, rec *schemas.Record) (done bool) {
	switch {
	case rec.Progress != nil:
		p := rec.Progress
		w.offset[p.Side] = p.ClockOffset
		w.known[partition][p.Side] = max(w.known[partition][p.Side], p.TS-p.ClockOffset-p.ClockError)
		return w.done()
	case rec.Change != nil && w.old(rec.Change.Tag.FlagEpoch):
		if at := rec.Change.CommitTS - w.offset[rec.Change.Side]; at > w.pressed {
			w.late++
			w.last = max(w.last, at)
		}
	}
	return false
}

func (w *killWatch) old(tag string) bool {
	for name, killed := range w.epochs {
		if epoch, ok := schemas.FlagEpoch(tag, name); ok && epoch < killed {
			return true
		}
	}
	return false
}

func (w *killWatch) done() bool {
	for _, sides := range w.known {
		if sides[schemas.Legacy] < w.until || sides[schemas.Target] < w.until {
			return false
		}
	}
	return true
}

// says is what was found, in a sentence.
func (w *killWatch) says() string {
	if w.late == 0 {
		return fmt.Sprintf("no write under an older epoch committed in the %s behind it", w.until.Sub(w.pressed))
	}
	return fmt.Sprintf("%d writes under older epochs committed behind it, the last within %s", w.late, w.last.Sub(w.pressed))
}

// errKnown ends the reading.
var errKnown = errors.New("everything is known")

// watchKill reads a migration's log from what was written about the press, until both sides
// are known up to the watched time behind it.
func watchKill(ctx context.Context, log *stream.Log, w *killWatch) error {
	ctx, cancel := context.WithTimeout(ctx, w.until.Sub(w.pressed)+killPatience)
	defer cancel()
	starts, err := log.OffsetsAt(ctx, log.Topics().Changes, w.pressed.Time().Add(-killPatience))
	if err != nil {
		return fmt.Errorf("find the kill in the log: %w", err)
	}
	from := make(map[int32]int64, len(starts))
	for p, offset := range starts {
		from[int32(p)] = offset
	}
	err = log.Tail(ctx, log.Topics().Changes, from, func(r stream.Record) error {
		rec, err := schemas.UnmarshalRecord(r.Value)
		if err == nil && w.take(r.Partition, rec) {
			return errKnown
		}
		return nil // what cannot be read is the comparator's to say
	})
	switch {
	case errors.Is(err, errKnown):
		return nil
	case errors.Is(err, context.DeadlineExceeded) || err == nil:
		return fmt.Errorf("the log does not say how writes went on for %s behind the kill: a capture stands still or is behind (trueup status); so far: %s",
			w.until.Sub(w.pressed), w.says())
	}
	return fmt.Errorf("read the log behind the kill: %w", err)
}
