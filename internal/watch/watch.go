// Package watch follows the topics of events and knows what is open, since when,
// and what is being done about it.
//
// It promises to change nothing and to hold nobody up: it belongs to no group,
// and the pipeline does not wait for it. What it says is as of the records that it
// has read; Behind says how many it has not. Its memory is bounded: of every open
// divergence it keeps some bytes, of the Detailed oldest everything that a list
// shows.
//
//	divergences, compensations, outcomes → Watcher → Snapshot, and Observers' calls
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// Observer is told of events in the order of their partition; the three topics
// are followed beside one another. Live ones were published after the Watcher
// began; the others are told again at each start, and after what could not be
// followed. Calls come one at a time, and must not block.
type Observer interface {
	// Divergence is an event of a divergence, and when it was published.
	Divergence(d *schemas.Divergence, published time.Time, live bool)
	// Compensation is a planned repair.
	Compensation(c *schemas.Compensation, published time.Time, live bool)
	// Outcome is what became of a repair.
	Outcome(o *schemas.Outcome, published time.Time, live bool)
}

// Config says what is followed.
type Config struct {
	Log       *stream.Log
	Observers []Observer
	Logger    *slog.Logger
}

// Watcher follows the events.
type Watcher struct {
	cfg   Config
	began time.Time

	mu   sync.Mutex
	book *book // guarded by mu
}

// New returns a Watcher. What it reads goes on from the beginning of the topics.
func New(cfg Config) *Watcher {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Watcher{cfg: cfg, began: time.Now(), book: newBook()}
}

// retryAfter is how long a Watcher waits before it begins anew.
const retryAfter = 5 * time.Second

// Run follows until ctx is done. Where a topic cannot be followed on, such as one
// whose oldest records went before they were read, it begins anew: nothing else
// depends on it.
func (w *Watcher) Run(ctx context.Context) error {
	for {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		w.cfg.Logger.Warn("what is open is counted anew", "stage", "watch", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryAfter):
		}
		w.mu.Lock()
		w.book = newBook()
		w.mu.Unlock()
	}
}

var errEnded = errors.New("it ended")

func (w *Watcher) follow(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	topics := w.cfg.Log.Topics()
	for _, topic := range []string{topics.Divergences, topics.Compensations, topics.Outcomes} {
		starts, err := w.cfg.Log.StartOffsets(ctx, topic)
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		from := make(map[int32]int64, len(starts))
		for p, offset := range starts {
			from[int32(p)] = offset
		}
		g.Go(func() error {
			err := w.cfg.Log.Tail(ctx, topic, from, func(r stream.Record) error {
				w.take(&r)
				return nil
			})
			if err == nil {
				err = errEnded
			}
			return fmt.Errorf("topic %s: %w", topic, err)
		})
	}
	return g.Wait()
}

func (w *Watcher) take(r *stream.Record) {
	e, err := schemas.ParseEventJSON(r.Value)
	if err != nil {
		return // the listings name it
	}
	live := !r.Time.Before(w.began)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case e.Divergence != nil:
		w.book.divergence(e.Divergence, r.Partition)
		for _, o := range w.cfg.Observers {
			o.Divergence(e.Divergence, r.Time, live)
		}
	case e.Compensation != nil:
		w.book.compensation(e.Compensation)
		for _, o := range w.cfg.Observers {
			o.Compensation(e.Compensation, r.Time, live)
		}
	case e.Outcome != nil:
		w.book.outcome(e.Outcome)
		for _, o := range w.cfg.Observers {
			o.Outcome(e.Outcome, r.Time, live)
		}
	}
}

// Snapshot is what is open in the partitions that mine takes; nil: in all.
func (w *Watcher) Snapshot(mine func(partition int32) bool) Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.book.snapshot(mine)
}
