package compensate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// round takes what has come, answers it, and writes what may be written. It waits
// only if there is nothing to write.
func (r *Runner) round(ctx context.Context) error {
	said, err := r.take(ctx)
	if err != nil {
		return err
	}
	if err := r.answer(ctx, said); err != nil {
		return err
	}
	if r.cfg.Lag != nil {
		for _, side := range schemas.Sides {
			r.book.lag[side] = r.cfg.Lag(side)
		}
	}
	if r.mayWrite() {
		if err := r.write(ctx); err != nil {
			return err
		}
	}
	r.report()
	return nil
}

// take waits for something to do and takes it: all events that are there, up to a
// queue's length.
func (r *Runner) take(ctx context.Context) (said []schemas.Event, err error) {
	for taken := 0; taken < divergencesQueued; taken++ {
		in := r.divergences
		if len(r.book.live) >= r.cfg.MaxLive {
			in = nil // until some are decided or written
		}
		nothing := make(chan struct{})
		if taken > 0 || len(said) > 0 || len(r.book.fresh) > 0 || len(r.book.ready) > 0 && r.mayWrite() {
			close(nothing)
		}
		select { // what has come goes first
		case rec := <-in:
			events, err := r.divergence(ctx, rec)
			if err != nil {
				return said, err
			}
			said = append(said, events...)
			continue
		case rec := <-r.decisions:
			said = append(said, r.decision(ctx, rec)...)
			continue
		default:
		}
		select {
		case rec := <-in:
			events, err := r.divergence(ctx, rec)
			if err != nil {
				return said, err
			}
			said = append(said, events...)
		case rec := <-r.decisions:
			said = append(said, r.decision(ctx, rec)...)
		case <-r.tick:
			r.book.unblock(true)
			said = append(said, r.book.tick()...)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-nothing:
			return said, ctx.Err()
		}
	}
	return said, ctx.Err()
}

// answer publishes what follows from what was taken, and saves that it was.
func (r *Runner) answer(ctx context.Context, said []schemas.Event) error {
	said = append(said, r.book.flush()...)
	if len(said) > 0 {
		crash.Site("compensate.planned_before_publish")
	}
	if err := r.publish(ctx, said); err != nil {
		return err
	}
	if !r.pos.changed {
		return nil
	}
	crash.Site("compensate.published_before_position")
	err := r.savePosition(ctx)
	crash.Site("compensate.position_saved")
	return err
}

// divergence takes one record of the divergences topic.
func (r *Runner) divergence(ctx context.Context, rec Record) ([]schemas.Event, error) {
	switch {
	case rec.Err != nil:
		r.quarantine("divergences", rec, rec.Err)
	case rec.Event.Divergence == nil:
		r.quarantine("divergences", rec, errors.New("not a divergence"))
	default:
		if err := r.reveal(ctx, rec.Event.Divergence); err != nil {
			return nil, err
		}
	}
	r.pos.Divergences[rec.Partition] = rec.Offset + 1
	r.pos.changed = true
	if rec.Err != nil || rec.Event.Divergence == nil {
		return nil, nil
	}
	return r.book.divergence(rec.Event.Divergence, rec.Partition, rec.Offset), nil
}

// decision takes one record of the compensations topic that holds a decision.
func (r *Runner) decision(ctx context.Context, rec Record) []schemas.Event {
	if rec.Err != nil {
		r.quarantine("compensations", rec, rec.Err)
		return nil
	}
	return r.decide(ctx, rec.Event.Decision)
}

// decide does what a person decided. What cannot be done is said in the log.
func (r *Runner) decide(ctx context.Context, d *schemas.Decision) (said []schemas.Event) {
	var err error
	if d.Action == schemas.Undo {
		said, err = r.undo(ctx, d)
	} else {
		said, err = r.book.decision(d)
	}
	if err != nil {
		r.log.Warn("decision without effect", "action", string(d.Action), "compensation", d.CompensationID, "scope", d.Scope, "by", d.By, "err", err)
		return said
	}
	r.pos.changed = true
	r.log.Info("decision taken", "action", string(d.Action), "compensation", d.CompensationID, "scope", d.Scope, "by", d.By)
	return said
}

// quarantine says that a record is left aside, with where it stands.
func (r *Runner) quarantine(topic string, rec Record, err error) {
	level := slog.LevelWarn
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.As(err, new(forged)) {
		level = slog.LevelError // somebody who is not Trueup writes to its topic
		r.status.Forged++
	}
	r.log.Log(context.Background(), level, "record quarantined", "stream", topic, "partition", rec.Partition, "pos", rec.Offset, "err", err)
	r.status.Quarantined++
}

// publish writes compensations before outcomes: an outcome never stands alone.
func (r *Runner) publish(ctx context.Context, events []schemas.Event) error {
	for i := range events {
		if d := events[i].Decision; d != nil {
			r.log.Error("breaker opened: nothing that it guards is written", "scope", d.Scope, "err", d.Why)
		}
	}
	isOutcome := func(e schemas.Event) bool { return e.Outcome != nil }
	outcomes := slices.DeleteFunc(slices.Clone(events), func(e schemas.Event) bool { return !isOutcome(e) })
	for _, part := range [][]schemas.Event{slices.DeleteFunc(events, isOutcome), outcomes} {
		if len(part) == 0 {
			continue
		}
		if err := r.cfg.Log.Publish(ctx, part); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	r.published += len(events)
	return nil
}

// historyAfter is how many events are published before history is made to begin
// later. It bounds what a start has to read.
const historyAfter = 1000

// savePosition says that what was taken is answered. When nothing of the past
// matters any more, and enough has been published, history begins here.
func (r *Runner) savePosition(ctx context.Context) error {
	if !r.pos.changed {
		return nil
	}
	if r.published >= historyAfter {
		if err := r.forget(ctx); err != nil {
			return err
		}
	}
	saved := r.pos
	saved.Divergences = slices.Clone(r.pos.Divergences)
	for _, a := range r.book.aging {
		saved.Divergences[a.partition] = min(saved.Divergences[a.partition], a.offset)
	}
	saved.Hits, saved.Approved = r.book.hits, r.book.approved
	if err := saved.save(r.cfg.StatePath); err != nil {
		return err
	}
	r.pos.changed = false
	return nil
}

// forget lets history begin later, if that can be done.
func (r *Runner) forget(ctx context.Context) error {
	r.mu.Lock()
	tailed := slices.Clone(r.tailed)
	r.mu.Unlock()
	// The order matters: a decision before tailed stood in the queue then, so an empty queue now means that it was taken.
	if len(r.decisions) > 0 || !r.book.quiet() {
		return nil
	}
	_, outcomes, err := r.cfg.Log.Bounds(ctx, Outcomes)
	if err != nil {
		return err
	}
	r.pos.Compensations, r.pos.Outcomes = tailed, outcomes
	r.published = 0
	return nil
}
