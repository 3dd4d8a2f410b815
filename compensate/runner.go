package compensate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// Config says what a Runner works with. Rules, Log, StatePath and Key are needed, and
// an applier for each side that may be written.
type Config struct {
	Rules     *schemas.Rules
	Log       Log
	Appliers  map[schemas.Side]Applier // by the side that they write: the follower's
	StatePath string                   // compensate.json in the data directory
	Key       *Key                     // signs what is planned here, and tells it from what others put on the topic
	Logger    *slog.Logger             // nil: nothing is logged

	// Parallel is how many rows are written at once; 0: 4, which lets them share the store's flushes.
	Parallel int
	// MaxLive bounds the compensations that wait for a person or to be written, each with its row; 0: 20 000. At the
	// bound no more divergences are taken.
	MaxLive int
	// Lag says how far a side's frontier lies behind its store's present; nil: nobody knows, and no write waits for it.
	Lag func(schemas.Side) time.Duration
	// Reach says up to which position a source has been captured; nil, or false: not known.
	Reach func(source string) (epoch uint32, pos string, ok bool)
	// Rollout is where the rollout stands that the migration moves by, nil for nowhere; false: not known, and nothing is
	// written meanwhile. A nil Rollout: the migration moves by none.
	Rollout func() (place *schemas.Placed, known bool)

	// RetryEvery is how long to wait for a store that does not answer, and for rows that a foreign key needs; 0: 1 s.
	RetryEvery time.Duration
}

// Validate returns what is missing.
func (c *Config) Validate() error {
	if c.Rules == nil || c.Log == nil || c.StatePath == "" || c.Key == nil {
		return errors.New("compensate: rules, a log, a path for the position and a key are needed")
	}
	var errs []error
	for _, e := range c.Rules.Entities() {
		switch e.Compensate.Mode {
		case ModeReport, ModePropose, ModeApply:
		default:
			errs = append(errs, fmt.Errorf("entity %s: compensation mode %q: want report, propose or apply", e.Name, e.Compensate.Mode))
		}
	}
	for _, side := range schemas.Sides {
		if c.writes(side) && c.Appliers[side] == nil {
			errs = append(errs, fmt.Errorf("the %s store is written, and nothing is there to write it", side))
		}
	}
	return errors.Join(errs...)
}

// writes says whether the rules have a side written.
func (c *Config) writes(side schemas.Side) bool {
	return slices.ContainsFunc(c.Rules.Entities(), func(e *schemas.Entity) bool { return c.Rules.CanWrite(e, side) })
}

// Runner answers divergences with compensations, has them written, and publishes
// both and what became of them: at least once, with deterministic ids.
//
// At the start it recalls what it had published, and reads on to the end of the
// divergences before anything is written: what has been planned may be overtaken
// there. Then it goes in rounds:
//
//	take divergences and decisions ─► plan ─► publish ─► save the position ─► write ─► publish outcomes
//
// Nothing is written that was not published before, and nothing is planned anew
// before the outcomes of the round are published; so whatever a crash leaves
// unsaid can be found out by reading the topics and the ledger.
type Runner struct {
	cfg Config
	log *slog.Logger

	paused atomic.Bool // set by the tail of decisions, before anybody else hears of it; read before each write

	// stopped is when the newest pause, or end of one, was decided: of the start, then of the tail of decisions.
	stopped schemas.Micros

	// Of Run's goroutine.
	book      *book
	pos       position
	published int // events since history was made to begin later

	divergences chan Record
	decisions   chan Record
	tick        <-chan time.Time

	mu     sync.Mutex
	status Status  // under mu
	tailed []int64 // under mu: the compensations topic before these offsets was read, and its decisions stand in the queue
}

// Queues between the tails and the rounds. Divergences: enough for a round while
// the one before is written. Decisions: people's pace; while the queue is full a
// pause is not read, so it has room for a script that approves by the hundred.
const (
	divergencesQueued = 1024
	decisionsQueued   = 1024
)

// NewRunner returns a Runner for Run.
func NewRunner(cfg Config) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 4
	}
	if cfg.MaxLive <= 0 {
		cfg.MaxLive = 20_000
	}
	if cfg.RetryEvery <= 0 {
		cfg.RetryEvery = time.Second
	}
	return &Runner{
		cfg:         cfg,
		log:         cfg.Logger.With("stage", "compensate"),
		book:        newBook(cfg.Rules, cfg.Log.Limit(), cfg.Key),
		divergences: make(chan Record, divergencesQueued),
		decisions:   make(chan Record, decisionsQueued),
	}, nil
}

// Close closes the log's adapter and the appliers. Run must have returned.
func (r *Runner) Close() error {
	errs := []error{r.cfg.Log.Close()}
	for _, side := range schemas.Sides {
		if closer, ok := r.cfg.Appliers[side].(io.Closer); ok {
			errs = append(errs, closer.Close())
		}
	}
	return errors.Join(errs...)
}

// Run works until ctx ends, which is no error, or until something is wrong that
// waiting does not mend. A store that does not answer is waited for. It may be
// called once.
func (r *Runner) Run(ctx context.Context) error {
	err := r.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	r.log.Error("compensations stopped", "err", err)
	return fmt.Errorf("compensate: %w", err)
}

func (r *Runner) run(parent context.Context) error {
	if err := r.start(parent); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(parent)
	ticker := time.NewTicker(r.cfg.RetryEvery)
	defer ticker.Stop()
	r.tick = ticker.C

	var tails sync.WaitGroup
	defer tails.Wait()
	defer fail(nil) // before the wait
	tail := func(what string, t Topic, from []int64, forward func(context.Context, Record) error) {
		tails.Go(func() {
			err := r.cfg.Log.Tail(ctx, t, from, func(rec Record) error { return forward(ctx, rec) })
			fail(fmt.Errorf("read %s: %w", what, err))
		})
	}
	tail("divergences", Divergences, append([]int64(nil), r.pos.Divergences...), r.forwardDivergence)
	tail("decisions", Compensations, append([]int64(nil), r.tailed...), r.forwardDecision)
	for {
		if err := r.round(ctx); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

func (r *Runner) forwardDivergence(ctx context.Context, rec Record) error {
	select {
	case r.divergences <- rec:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forwardDecision hands on what people decided, and leaves out what was published
// here. A pause takes effect at once: before the next write, whatever the round is
// at.
func (r *Runner) forwardDecision(ctx context.Context, rec Record) error {
	d := decisionOf(rec)
	if rec.Event != nil && rec.Event.Compensation != nil {
		if err := r.genuine(rec.Event.Compensation); err != nil {
			r.quarantine("compensations", rec, err)
		}
	}
	if d != nil {
		if err := r.decided(d); err != nil {
			r.quarantine("compensations", rec, err)
			d = nil
		}
	}
	if d != nil && stops(d) {
		r.stopped = d.At
		r.paused.Store(d.Action == schemas.Pause)
	}
	if d != nil || rec.Err != nil {
		select {
		case r.decisions <- rec:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tailed[rec.Partition] = rec.Offset + 1
	return nil
}

func decisionOf(rec Record) *schemas.Decision {
	if rec.Event == nil {
		return nil
	}
	return rec.Event.Decision
}
