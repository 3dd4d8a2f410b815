package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/trueup-io/trueup/internal/demo/shop"
	"github.com/trueup-io/trueup/schemas"
)

// Options say what to show, and where.
type Options struct {
	Seed    int64
	Changes int // row changes, both sides counted; 0: DefaultChanges
	JSON    bool
	Keep    string   // a directory to keep, new or empty; "": a temporary one that is removed
	Brokers []string // none: the embedded broker
	Out     io.Writer
	Err     io.Writer
	Start   Start
	Log     *slog.Logger // nil: nothing is logged
}

// DefaultChanges keep a small machine busy for about 40 seconds.
const DefaultChanges = 60_000

// fewestChanges leave room for faults of every kind.
const fewestChanges = 2000

// settleWindow of both entities: longer than a busy machine keeps a legitimate
// write waiting.
const settleWindow = 2 * time.Second

func (o *Options) validate() error {
	switch {
	case o.Start == nil, o.Out == nil, o.Err == nil:
		return errors.New("demo: Start, Out and Err have to be given")
	case o.Changes < 0, o.Changes > 0 && o.Changes < fewestChanges:
		return fmt.Errorf("--changes %d: want at least %d, so that there is room for faults of every kind", o.Changes, fewestChanges)
	}
	return nil
}

// Run shows the demo and keeps the score. An error says that it could not be
// shown to its end; whether it showed what it should is the scorecard's to say.
func Run(ctx context.Context, o Options) (Scorecard, error) {
	if err := o.validate(); err != nil {
		return Scorecard{}, err
	}
	if o.Changes == 0 {
		o.Changes = DefaultChanges
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return newDemo(o, settleWindow).run(ctx)
}

// demo is one showing.
type demo struct {
	Options
	shop  shop.Config
	began time.Time
	// patience is how long nothing may come of what is still expected before it is given up.
	patience time.Duration
	keeper   *keeper
	view     view

	dir       directory
	servers   pair
	stores    *shop.Stores
	proxy     *proxy
	migration string // the path of migration.yaml
	name      string // of the migration
	pipeline  Pipeline
	stopping  func() error // stops the pipeline, once
	told      bool         // what stopping it came to was returned
	written   time.Time    // when the last write was made

	compared         shop.Comparison
	replayed         int    // divergences
	replayDifference string // "": none

	mu   sync.Mutex
	look look // under mu: what the view shows besides the keeper's score
}

// look is what is shown of a demo's state.
type look struct {
	stage    string
	dir      string
	pipeline Pipeline         // nil while it does not run
	where    string           // where its log is
	totals   *schemas.Summary // what it counted when it was stopped
	held     time.Time        // since when the target is held back; zero: it is not
}

func newDemo(o Options, window time.Duration) *demo {
	d := &demo{Options: o, began: time.Now(), patience: 5*window + 10*time.Second,
		shop: shop.Config{Seed: o.Seed, Changes: o.Changes, SettleWindow: window, Writers: shop.DefaultWriters}}
	d.view = newView(d)
	d.keeper = newKeeper(window, d.view.news)
	return d
}

// finished is the last stage.
const finished = "finished"

// errStopped says that whoever started the demo wanted it to end.
var errStopped = errors.New("stopped, and everything that was started with it,")

// errEnded says that the pipeline ended before it was told to.
var errEnded = errors.New("the pipeline ended early")

func (d *demo) run(ctx context.Context) (card Scorecard, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var last closing
	defer func() { err = errors.Join(err, last.run()) }()
	last.add(d.view.begin())

	stages := []struct {
		says string
		do   func(context.Context) error
	}{
		{"starting a private PostgreSQL and a private MariaDB", func(ctx context.Context) error { return d.prepare(ctx, &last) }},
		{"starting Trueup", func(ctx context.Context) error { return d.startPipeline(ctx, cancel, &last) }},
		{"writing to both stores, and planting faults", d.write},
		{"waiting until everything is found and healed", d.drain},
		{"comparing the stores in full", func(ctx context.Context) error { return d.compare(ctx, &card) }},
		{"replaying the log", func(ctx context.Context) error { return d.replay(ctx, &card) }},
		{"stopping", d.stop},
	}
	for _, stage := range stages {
		d.say(stage.says)
		if err := stage.do(ctx); err != nil {
			switch cause := context.Cause(ctx); { // what failed for it is of no interest
			case errors.Is(cause, errEnded):
				err = cause
			case errors.Is(cause, context.Canceled):
				return card, fmt.Errorf("%w while %s", errStopped, stage.says)
			}
			return card, fmt.Errorf("%s: %w", stage.says, err)
		}
	}
	d.say(finished)
	d.keeper.score(&card)
	card.Kind, card.Seed, card.Wall = "scorecard", d.Seed, secondsOf(time.Since(d.began))
	return card, d.view.conclude(card)
}

// say has the view tell what happens now.
func (d *demo) say(stage string) {
	d.mu.Lock()
	d.look.stage = stage
	d.mu.Unlock()
	d.Log.Info("demo stage", "stage", stage)
	d.view.stage(stage)
}

// closing is what has to be undone at the end, latest first.
type closing []func() error

func (c *closing) add(f func() error) { *c = append(*c, f) }

func (c *closing) run() error {
	var errs []error
	for i := len(*c) - 1; i >= 0; i-- {
		errs = append(errs, (*c)[i]())
	}
	return errors.Join(errs...)
}

func sleep(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
