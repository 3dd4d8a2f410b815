package compensate

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/trueup-io/trueup/schemas"
)

// start makes the stores ready, recalls what was published, asks the ledgers for
// what was written, and answers what had come while nobody was there.
func (r *Runner) start(ctx context.Context) error {
	for _, side := range schemas.Sides {
		if !r.cfg.writes(side) {
			continue
		}
		tables, err := TableErrors(r.cfg.Appliers[side].Prepare(ctx))
		if err != nil {
			return fmt.Errorf("prepare the %s store: %w", side, err)
		}
		for _, t := range tables { // which halts alone
			r.cfg.Logger.Warn("repairs of a table are refused", "stage", "compensate", "side", side.String(), "entity", t.Entity, "err", t.Error())
		}
		excess, err := r.cfg.Appliers[side].Excess(ctx)
		if err != nil {
			return fmt.Errorf("prepare the %s store: %w", side, err)
		}
		if len(excess) > 0 {
			return &ExcessError{Side: side, Rights: excess}
		}
	}
	var err error
	if r.pos, err = loadPosition(r.cfg.StatePath, r.cfg.Log.ID(), r.cfg.Key.name, modesOf(r.cfg.Rules)); err != nil {
		return err
	}
	maps.Copy(r.book.hits, r.pos.Hits)
	maps.Copy(r.book.approved, r.pos.Approved)
	if err := r.recall(ctx); err != nil {
		return fmt.Errorf("recall what was published: %w", err)
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	r.report()
	return nil
}

// bounds are where a topic is read from, a position or its first record, and to.
func (r *Runner) bounds(ctx context.Context, t Topic, position []int64) (from, to []int64, err error) {
	from, to, err = r.cfg.Log.Bounds(ctx, t)
	if err != nil || position == nil {
		return from, to, err
	}
	if len(position) != len(to) {
		return nil, nil, fmt.Errorf("the position in %s is of %d partitions, and the topic has %d; remove the file: what it is for is read again from the log",
			r.cfg.StatePath, len(position), len(to))
	}
	return position, to, nil
}

// recall reads compensations and outcomes from where some of them may matter.
func (r *Runner) recall(ctx context.Context) error {
	past := newRecall(r.book, func(c *schemas.Compensation) (schemas.Compensation, error) { return r.revealed(ctx, c) })
	from, to, err := r.bounds(ctx, Outcomes, r.pos.Outcomes)
	if err != nil {
		return err
	}
	r.pos.Outcomes = from
	err = r.cfg.Log.Read(ctx, Outcomes, from, to, func(rec Record) error {
		if rec.Err != nil {
			r.quarantine("outcomes", rec, rec.Err)
		} else if rec.Event.Outcome != nil {
			past.outcome(rec.Event.Outcome)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if from, to, err = r.bounds(ctx, Compensations, r.pos.Compensations); err != nil {
		return err
	}
	r.pos.Compensations, r.tailed = from, to
	err = r.cfg.Log.Read(ctx, Compensations, from, to, func(rec Record) error {
		switch {
		case rec.Err != nil:
			r.quarantine("compensations", rec, rec.Err)
		case rec.Event.Decision != nil:
			d := rec.Event.Decision
			if err := r.decided(d); err != nil {
				r.quarantine("compensations", rec, err)
				break
			}
			if stops(d) {
				r.stopped = d.At
			}
			past.decision(d)
		case rec.Event.Compensation != nil:
			err := r.genuine(rec.Event.Compensation)
			if err == nil {
				return past.compensation(rec.Event.Compensation)
			}
			r.quarantine("compensations", rec, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	said, err := past.finish()
	if err != nil {
		return err
	}
	r.paused.Store(r.book.paused)
	r.log.Info("compensations recalled", "live", len(r.book.live), "unconfirmed", len(r.book.written), "paused", r.book.paused)
	for _, d := range past.unheard() {
		said = append(said, r.decide(ctx, &d)...)
	}
	return r.publish(ctx, said)
}

// errFull ends the catching up.
var errFull = errors.New("as many compensations as may be are live")

// catchUp reads divergences to the end of the topic and answers what is left of
// them then. It ends early if that is more than may be live; the rounds go on.
func (r *Runner) catchUp(ctx context.Context) error {
	from, to, err := r.bounds(ctx, Divergences, r.pos.Divergences)
	if err != nil {
		return err
	}
	r.pos.Divergences = append([]int64(nil), from...)
	var said []schemas.Event
	err = r.cfg.Log.Read(ctx, Divergences, from, to, func(rec Record) error {
		events, err := r.divergence(ctx, rec)
		if err != nil {
			return err
		}
		said = append(said, events...)
		if len(r.book.live) >= r.cfg.MaxLive {
			return errFull
		}
		return nil
	})
	switch {
	case errors.Is(err, errFull):
	case err != nil:
		return fmt.Errorf("read divergences: %w", err)
	default:
		r.pos.Divergences = to // also past what is no record
	}
	return r.answer(ctx, said)
}
