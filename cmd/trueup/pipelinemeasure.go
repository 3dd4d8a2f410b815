package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const (
	// measureLook is how often is looked at what stands.
	measureLook = time.Second
	// measureEvery is how often what was measured is written: some 4 MB a day.
	measureEvery = 10 * time.Second
	// measureWait is how long a record may take to be written; one that takes longer is a hole, which shows.
	measureWait = 10 * time.Second
)

// measure writes to the log what gates of rollouts judge by, until ctx is done.
func (p *pipeline) measure(ctx context.Context) error {
	every := p.cfg.measure
	if every == 0 {
		every = measureEvery
	}
	w, err := p.log.Writer()
	if err != nil {
		return err
	}
	defer w.Close()
	for last := time.Now(); pause(ctx, measureLook); {
		now := time.Now()
		p.measured.Look(now, p.look())
		if now.Sub(last) < every && !p.measured.Urgent() && !p.moving.held() { // somebody waits for what is compared
			continue
		}
		last = now
		if err := p.writeMeasured(ctx, w, p.measured.Take(now)); err != nil && ctx.Err() == nil {
			p.cfg.log.Warn("what was measured is not written", "stage", "measure", "err", err)
		}
	}
	return nil
}

func (p *pipeline) writeMeasured(ctx context.Context, w *stream.Writer, r measure.Record) error {
	value, err := r.Encode()
	if err != nil {
		return fmt.Errorf("what was measured: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, measureWait)
	defer cancel()
	return w.Write(ctx, stream.Record{Topic: p.log.Topics().Measured, Value: value})
}

// look is what stands, as this process knows it.
func (p *pipeline) look() measure.Look {
	r, open := p.reconciler.Status(), p.events.Snapshot(nil)
	l := measure.Look{Partitions: slices.Sorted(maps.Keys(r.Next)), Of: p.log.Partitions(), Frontier: r.Frontier, Covered: r.Covered, Keys: r.Keys,
		Open: open.Open, Whole: open.Whole, Backlog: -1}
	for _, kinds := range open.ByKind {
		l.Schema += kinds[schemas.Schema]
	}
	for _, c := range p.captures {
		s := c.runner.Status()
		l.Schema += int64(len(s.Halts))
		if s.Gap != "" {
			l.Problems = append(l.Problems, fmt.Sprintf("%s has a gap", c.side))
		}
	}
	for _, partition := range slices.Sorted(maps.Keys(r.Stopped)) {
		l.Problems = append(l.Problems, fmt.Sprintf("partition %d has stopped", partition))
	}
	if p.repairs != nil {
		l.Backlog = p.repairs.Status().Live
	}
	return l
}
