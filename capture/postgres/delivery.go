package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

const (
	// progressTxns is after how many transactions progress is said at once.
	progressTxns = 1000
	// progressGap is how soon it is said after fewer: a progress stands in
	// every partition, so one per small transaction would be most of the log.
	progressGap = 3 * time.Millisecond
)

// delivery hands changes and progress to the sink, in order. It outlives
// connections, and is used by one goroutine at a time.
type delivery struct {
	cfg    *Config
	epoch  uint32
	sink   capture.Sink
	bounds *bounds
	stats  *counters
	where  *positions
	rows   beside // what is read of the tables meanwhile

	timeline int32          // of the server that streams
	reached  lsn            // everything that commits before it was handed over
	handed   lsn            // where the transaction of the latest change commits
	stamp    schemas.Micros // of the latest transaction with one of the server's own
	txns     int            // handed over since progress was said
	last     lastRow        // nothing, but in the zoo

	said     lsn            // reached, as of the latest progress
	saidTS   schemas.Micros // its time
	saidAt   time.Time
	frontier schemas.Micros // as of the latest look
}

// change hands a change of the transaction that commits at p over.
func (d *delivery) change(ctx context.Context, p lsn, c *schemas.Change) error {
	d.handed = p // whether the sink takes it or not
	d.rows.changed(c)
	if err := d.sink.Change(ctx, c); err != nil {
		return &sinkError{fmt.Errorf("hand over change at %s: %w", c.Pos, err)}
	}
	d.stats.changes.Add(1)
	return nil
}

// complete notes that a transaction was handed over whole.
func (d *delivery) complete(t done) {
	crash.Site("capture.postgres.transaction_complete")
	d.reached = max(d.reached, t.end)
	d.stamp = max(d.stamp, t.stamp)
	d.txns++
}

// pass notes that nothing in scope commits before p but what was handed over.
func (d *delivery) pass(p lsn) { d.reached = max(d.reached, p) }

// within says that the sink has changes of a transaction that is not complete:
// no progress can stand between them.
func (d *delivery) within() bool { return d.handed >= d.reached }

// due returns when progress should be said next.
func (d *delivery) due() time.Time {
	switch every := d.cfg.ProgressEvery; {
	case d.txns >= progressTxns:
		return d.saidAt
	case d.txns > 0:
		return d.saidAt.Add(progressGap)
	case d.frontier > d.saidTS || d.reached > d.said:
		return d.saidAt.Add(every / 2)
	default:
		return d.saidAt.Add(every)
	}
}

// tell says progress if it is due, and returns how long it is until then.
func (d *delivery) tell(ctx context.Context) (time.Duration, error) {
	if d.within() {
		return d.cfg.ProgressEvery, nil
	}
	if d.txns > 0 {
		// Whatever the frontier is, it is not due: most batches of a busy stream end here.
		if wait := time.Until(d.due()); wait > 0 {
			return wait, nil
		}
	}
	d.frontier = d.bounds.reach(d.reached, d.stamp)
	offset, off := d.bounds.clock(d.cfg.Clock())
	if off == 0 {
		d.frontier = 0 // the clocks were not compared yet
	}
	now := time.Now()
	if wait := d.due().Sub(now); wait > 0 {
		return wait, nil
	}
	p := schemas.Progress{Side: d.cfg.Side, Source: d.cfg.Source, Epoch: d.epoch,
		// The next transaction's commit record may start at reached.
		Pos: posText(d.reached - 1), TS: d.frontier, ClockOffset: offset, ClockError: off}
	d.where.handed.Store(uint64(d.reached)) // the sink may acknowledge it before it returns
	if err := d.sink.Progress(ctx, p, position{d.reached, d.timeline}.resume()); err != nil {
		return 0, &sinkError{fmt.Errorf("hand over progress to %s: %w", p.Pos, err)}
	}
	d.said, d.saidTS, d.saidAt, d.txns = d.reached, p.TS, now, 0
	d.stats.said(p)
	return d.due().Sub(now), nil
}

// run delivers what comes through the queue until that is closed or the
// connection ends. Ctx is the sink's: a connection that is lost cuts no call
// to the sink short.
func (d *delivery) run(ctx, connection context.Context, q *queue, a *assembler, r *run, s *stream) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		b, ok, err := q.take()
		if err != nil {
			return err
		}
		if connection.Err() != nil {
			return context.Cause(connection)
		}
		if ok {
			if err := d.batch(ctx, a, b); err != nil {
				return err
			}
		}
		if err := d.between(ctx, a); err != nil {
			return err
		}
		if !d.within() && a.between() {
			select {
			case lost := <-r.sampler.lost:
				if err := r.stop(lost); err != nil {
					return err
				}
			default:
			}
		}
		wait, err := d.tell(ctx)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		timer.Reset(wait)
		select {
		case <-connection.Done():
		case <-q.ready:
		case <-timer.C:
		case <-d.rows.windows.News():
			signal(s.ping)
		case <-r.sampler.sampled:
			// The server says by itself only now and then how far it is.
			if newest, ok := d.bounds.newest(); ok && newest.flush > d.reached {
				signal(s.ping)
			}
		}
	}
}

// batch delivers what was received together.
func (d *delivery) batch(ctx context.Context, a *assembler, b batch) error {
	for _, m := range b.messages {
		if m.body == "" {
			// Within a transaction it says nothing: that one commits earlier and is not complete.
			if a.between() {
				d.pass(m.end)
			}
			continue
		}
		if zooZ2 && d.last.knows(m) {
			continue
		}
		t, err := a.message(m.body, m.sent, b.received)
		if err != nil {
			return fmt.Errorf("after %s: %w", d.reached, err)
		}
		if t.end == 0 {
			continue
		}
		d.complete(t)
		if err := d.between(ctx, a); err != nil {
			return err
		}
		if d.txns >= progressTxns {
			if _, err := d.tell(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
