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
			if cause := context.Cause(ctx); errors.Is(cause, errEnded) {
				err = cause // what failed for it is of no interest
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

// startPipeline starts Trueup on the migration and listens to it.
func (d *demo) startPipeline(ctx context.Context, cancel context.CancelCauseFunc, last *closing) error {
	p, err := d.Start(ctx, d.migration)
	if err != nil {
		return err
	}
	listening := make(chan struct{})
	stopped := make(chan struct{})
	d.pipeline = p
	d.stopping = sync.OnceValue(func() error {
		close(stopped)
		err := p.Stop()
		<-listening
		return err
	})
	last.add(d.stopping)
	go func() {
		defer close(listening)
		for e := range p.Events() {
			d.keeper.take(e, time.Now())
		}
		select {
		case <-stopped:
		default:
			cancel(errEnded)
		}
	}()
	d.mu.Lock()
	d.look.pipeline, d.look.where = p, p.Where()
	d.mu.Unlock()
	d.Log.Info("pipeline started", "log", p.Where(), "migration", d.migration)
	return nil
}

// stop stops the pipeline, and keeps what it counted for the last picture.
func (d *demo) stop(context.Context) error {
	totals := d.pipeline.Totals()
	d.mu.Lock()
	d.look.pipeline, d.look.totals = nil, &totals
	d.mu.Unlock()
	return d.stopping()
}

func (d *demo) write(ctx context.Context) error {
	defer func() { d.written = time.Now() }()
	return shop.Run(ctx, d.stores, d.shop, d.keeper, d.holdBack)
}

// holdBack keeps the target's log from Trueup for a time, while the shop goes on
// writing, and waits until Trueup has caught up.
func (d *demo) holdBack(ctx context.Context, length time.Duration) error {
	if err := d.awaitSettled(ctx, time.Now().Add(3*d.shop.SettleWindow)); err != nil {
		return err
	}
	d.proxy.hold()
	defer d.proxy.release()
	from := time.Now()
	d.keeper.beginSpell(from)
	d.setHeld(from)
	defer d.setHeld(time.Time{})
	d.Log.Info("target held back", "seconds", length.Seconds())
	d.view.note(fmt.Sprintf("the target is held back for %.0f s; the shop goes on writing", length.Seconds()))
	if err := sleep(ctx, length); err != nil {
		return err
	}
	d.proxy.release()
	held := time.Since(from)
	d.Log.Info("target released")
	d.view.note("the target is released")
	caught, err := d.awaitCaught(ctx, time.Now().Add(catchUpLimit))
	if err != nil {
		return err
	}
	if !caught {
		d.Log.Warn("target released, and not caught up", "after", catchUpLimit)
	}
	d.keeper.endSpell(held)
	return nil
}

func (d *demo) setHeld(from time.Time) {
	d.mu.Lock()
	d.look.held = from
	d.mu.Unlock()
}

// catchUpLimit is when the script goes on although Trueup lags behind.
const catchUpLimit = 30 * time.Second

// awaitSettled waits until everything planted so far is found and healed: while
// the target is held back nothing can be.
func (d *demo) awaitSettled(ctx context.Context, limit time.Time) error {
	for {
		if settled, _ := d.keeper.settled(); settled || time.Now().After(limit) {
			return nil
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// awaitCaught waits until everything committed before now was compared.
func (d *demo) awaitCaught(ctx context.Context, limit time.Time) (bool, error) {
	for {
		caught, err := d.pipeline.Caught(ctx)
		if err != nil || caught {
			return caught, err
		}
		if time.Now().After(limit) {
			return false, nil
		}
		if err := sleep(ctx, poll); err != nil {
			return false, err
		}
	}
}

// poll is how often a condition is looked at that nothing signals.
const poll = 50 * time.Millisecond

// drain waits until everything planted was found and healed, and one settle
// window more, in which nothing else may come. It gives up when nothing has come
// for long: the score says the rest.
func (d *demo) drain(ctx context.Context) error {
	for {
		settled, quiet := d.keeper.settled()
		if quiet.Before(d.written) {
			quiet = d.written
		}
		wait := d.patience
		if settled {
			wait = d.shop.SettleWindow
		}
		if left := time.Until(quiet.Add(wait)); left > 0 {
			if err := sleep(ctx, min(left, poll)); err != nil {
				return err
			}
			continue
		}
		// Whatever was due by now has been judged when this returns.
		if _, err := d.awaitCaught(ctx, time.Now().Add(d.patience)); err != nil {
			return err
		}
		if _, latest := d.keeper.settled(); !latest.After(quiet) {
			return nil
		}
	}
}

func (d *demo) compare(ctx context.Context, card *Scorecard) error {
	found, err := d.stores.Compare(ctx)
	if err != nil {
		return err
	}
	card.StoresEqual = found.Different == 0
	d.compared = found
	d.Log.Info("stores compared", "orders", found.Orders, "lines", found.Lines, "different", found.Different)
	return nil
}

func (d *demo) replay(ctx context.Context, card *Scorecard) error {
	published, replayed, err := d.pipeline.Replay(ctx)
	if err != nil {
		return err
	}
	difference := firstDifference(published, replayed)
	card.ReplayIdentical = difference == ""
	d.replayed, d.replayDifference = len(published), difference
	d.Log.Info("log replayed", "divergences", len(published), "identical", card.ReplayIdentical)
	return nil
}

// firstDifference says where two listings part, "" if they are the same.
func firstDifference(published, replayed [][]byte) string {
	for i := range min(len(published), len(replayed)) {
		if string(published[i]) != string(replayed[i]) {
			return fmt.Sprintf("line %d: published %s, replayed %s", i+1, published[i], replayed[i])
		}
	}
	if len(published) != len(replayed) {
		return fmt.Sprintf("%d lines were published, %d replayed", len(published), len(replayed))
	}
	return ""
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
