package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/internal/spans"
	"github.com/trueup-io/trueup/internal/watch"
	"github.com/trueup-io/trueup/reconcile/runner"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// stages says which stages a process runs.
type stages struct{ capture, reconcile, compensate, subscribe bool }

// pipelineConfig says what a pipeline runs.
type pipelineConfig struct {
	migration *schemas.Migration
	stages    stages
	newEpoch  map[schemas.Side]bool
	listen    string        // where metrics and health are served; empty: nowhere
	debug     string        // where metrics and profiles are, on a loopback address; empty: nowhere
	otlp      string        // where spans are sent; empty: nowhere
	resume    []string      // halted entities to take up again
	measure   time.Duration // how often what was measured is written; 0: measureEvery
	log       *slog.Logger
}

// pipeline is the stages of one process, in the order of the data.
type pipeline struct {
	cfg     pipelineConfig
	rules   *schemas.Rules
	dir     *datadir.Dir
	log     *stream.Log
	started time.Time

	captures   []*captured
	reconciler *runner.Runner
	repairs    *compensate.Runner
	events     *watch.Watcher // knows what is open; nil: this process does not compare
	spans      *spans.Spans   // nil: nobody asked for them
	settling   *watch.Settling
	measured   *measure.Collector // what gates judge by; nil: this process does not compare
	room       headroom           // guarded by saving

	subscriptions *subscriptions // nil: nobody is told

	moving *moving // follows the rollout; nil: the migration moves by none

	saving   sync.Mutex                 // one status is written at a time
	unsaved  string                     // why the last one is not on disk, guarded by saving; empty: it is
	latest   atomic.Pointer[statusFile] // the last one written, read by the observer
	observer *observer                  // nil: nobody listens
	debugger *debugger                  // nil: nobody listens
}

// captured is one side's capture.
type captured struct {
	side   schemas.Side
	source source
	runner *capture.Runner
	start  capture.Start
	gap    bool             // it does not run
	rows   *baseline.Runner // reads the tables' rows; nil: it has a gap, or its store cannot be read so
}

// openPipeline prepares everything and starts nothing that goes on by itself,
// the embedded broker apart. What it says of stores comes before it changes
// anything.
func openPipeline(ctx context.Context, cfg pipelineConfig) (p *pipeline, err error) {
	m := cfg.migration
	rules, err := m.Rules()
	if err != nil {
		return nil, err
	}
	for _, name := range cfg.resume {
		if _, ok := rules.Entity(name); !ok {
			return nil, fmt.Errorf("--resume %s: %s has no such entity", name, m.Path)
		}
	}
	if err := preflight(ctx, cfg); err != nil {
		return nil, err
	}
	p = &pipeline{cfg: cfg, rules: rules, started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
			p = nil
		}
	}()
	if cfg.listen != "" {
		if p.observer, err = observe(cfg.listen, &p.latest); err != nil {
			return p, err
		}
	}
	if cfg.debug != "" {
		registry := p.registry()
		if registry == nil {
			registry = newRegistry(&p.latest)
		}
		if p.debugger, err = observeDebug(cfg.debug, registry); err != nil {
			return p, err
		}
	}
	if p.dir, err = datadir.Claim(m.DataDir, m.Name); err != nil {
		return p, err
	}
	if hides(rules) {
		key, err := compensate.LoadKey(keyPath(m))
		if err != nil {
			return p, err
		}
		rules = rules.Masked(key.Mask)
		p.rules = rules
	}
	at, err := framed(ctx, m, logConfig(m, cfg.log))
	if err != nil {
		return p, err
	}
	at.Changelog = m.Log.Changelog && cfg.stages.reconcile // nobody else reads or writes it
	if p.log, err = stream.Open(ctx, at); err != nil {
		return p, err
	}
	if cfg.stages.capture {
		if err := p.openCaptures(ctx); err != nil {
			return p, err
		}
	}
	if cfg.stages.reconcile {
		if err := p.openComparison(ctx); err != nil {
			return p, err
		}
	}
	if p.moving, err = newMoving(p); err != nil {
		return p, err
	}
	if cfg.stages.compensate {
		if p.repairs, err = p.newRepairs(cfg.log); err != nil {
			return p, err
		}
	}
	if cfg.stages.subscribe {
		if p.subscriptions, err = p.newSubscriptions(ctx); err != nil {
			return p, err
		}
	}
	return p, nil
}

// registry is what metrics are served from, nil where they are not.
func (p *pipeline) registry() *prometheus.Registry {
	switch {
	case p.observer != nil:
		return p.observer.registry
	case p.debugger != nil:
		return p.debugger.registry
	}
	return nil
}

// openComparison opens the comparison, and what looks at it. What nobody asked for
// is not measured, but for how long writes take to be on both sides.
func (p *pipeline) openComparison(ctx context.Context) (err error) {
	cfg := runner.Config{Rules: p.rules, Log: p.log, StateDir: p.dir.Path("state"), Logger: p.cfg.log}
	if len(p.cfg.migration.Log.Brokers) > 0 { // others may share the partitions, each with a directory of its own
		name, err := p.dir.Instance()
		if err != nil {
			return err
		}
		cfg.Instance = "reconcile-" + name
	}
	events := watch.Config{Log: p.log, Logger: p.cfg.log, Observers: []watch.Observer{&journal{log: p.cfg.log}}}
	var m *instruments
	if r := p.registry(); r != nil {
		m = newInstruments(p.rules)
		m.register(r)
		events.Observers = append(events.Observers, m)
	}
	if p.cfg.otlp != "" {
		if p.spans, err = spans.Open(ctx, spans.Config{Endpoint: p.cfg.otlp, Rules: p.rules, Migration: p.cfg.migration.Name, Version: version,
			Logger: p.cfg.log}); err != nil {
			return err
		}
		events.Observers = append(events.Observers, p.spans)
	}
	p.settling, p.measured = watch.NewSettling(), measure.NewCollector(p.rules, time.Now())
	events.Observers = append(events.Observers, p.measured)
	sample := watch.NewConsistency(func(entity string, first schemas.Side, took time.Duration, traceID string) {
		p.settling.Add(entity, first, took)
		p.measured.Consistent(took)
		if m != nil {
			m.consistent(entity, first, took, traceID)
		}
	})
	cfg.Seen = func(r *stream.Record, rec *schemas.Record) {
		sample.Record(r.Key, rec)
		p.measured.Record(rec)
		if p.spans != nil {
			p.spans.Seen(rec, r.Time)
		}
	}
	p.events = watch.New(events)
	p.reconciler, err = runner.New(cfg)
	return err
}

// preflight is "trueup check", of which only what keeps Trueup from running
// counts. What is wrong with a slot does not where it is given up, for a new
// epoch; nor the table of an entity that was captured before, which halts alone.
func preflight(ctx context.Context, cfg pipelineConfig) error {
	m, newEpoch := cfg.migration, cfg.newEpoch
	findings, err := checkAll(ctx, m)
	if err != nil {
		return err
	}
	started := map[string]bool{}
	for _, side := range schemas.Sides {
		started[side.String()] = capture.Started(filepath.Join(cfg.migration.DataDir, captureFile(side)))
	}
	var errs []error
	for _, f := range findings {
		if f.Subject == repairLogin && !cfg.stages.compensate {
			continue
		}
		side, _ := schemas.ParseSide(f.Where) // none: the log's or the data directory's
		if newEpoch[side] && f.Subject == "slot "+slotName(m, side, "") {
			continue
		}
		if f.Severity == capture.Fail && f.Entity != "" && started[f.Where] && !newEpoch[side] {
			cfg.log.Warn("a table is not as it should be", "side", f.Where, "entity", f.Entity, "subject", f.Subject, "err", f.Detail, "remedy", f.Remedy)
			continue
		}
		if f.Severity == capture.Fail {
			e := fmt.Errorf("%s: %s: %s", f.Where, f.Subject, f.Detail)
			if f.Remedy != "" {
				e = fmt.Errorf("%w; remedy: %s", e, f.Remedy)
			}
			errs = append(errs, e)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("nothing was started or changed:\n%w", errors.Join(errs...))
	}
	return nil
}

// captureFile is the state file of a side's capture.
func captureFile(side schemas.Side) string { return "capture-" + side.String() + ".json" }

// openCaptures takes positions in both stores, and on the first start says in
// the log under which rules it begins.
func (p *pipeline) openCaptures(ctx context.Context) error {
	for _, side := range schemas.Sides {
		src, err := newSource(p.cfg.migration, p.rules, side, "", p.cfg.log)
		if err != nil {
			return err
		}
		r, err := capture.NewRunner(capture.RunnerConfig{Side: side, Source: sourceName(p.cfg.migration, side), Rules: p.rules,
			StatePath: p.dir.Path(captureFile(side)), NewEpoch: p.cfg.newEpoch[side], Resume: p.cfg.resume,
			BufferBytes: bufferBytes(p.cfg.migration, side), Log: p.cfg.log}, p.log)
		if err != nil {
			return err
		}
		c := &captured{side: side, source: src, runner: r}
		p.captures = append(p.captures, c)
		c.start, err = r.Prepare(ctx, src)
		var gap *capture.GapError
		if errors.As(err, &gap) {
			p.cfg.log.Error("a side does not start", "stage", "capture", "side", side.String(), "err", err)
			c.gap = true
			continue
		}
		if err != nil {
			return err
		}
	}
	if err := p.openBaselines(); err != nil {
		return err
	}
	return p.sayRules(ctx)
}

// controlFile remembers which rules this data directory has put into the log.
const controlFile = "control.json"

// sayRules writes a control record to every partition where the rules in force
// are new. On a log that is empty, with both positions taken, it also says
// whether the tables were empty.
func (p *pipeline) sayRules(ctx context.Context) error {
	path := p.dir.Path(controlFile)
	var said struct{ Rules string }
	if b, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(b, &said); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	if said.Rules == p.rules.Version {
		return nil
	}
	control := controlOf(p.rules)
	fresh, err := p.logIsEmpty(ctx)
	if err != nil {
		return err
	}
	if fresh {
		empty, err := p.storesAreEmpty(ctx)
		if err != nil {
			return err
		}
		if empty {
			control.Baseline = schemas.BaselineEmpty
		} else {
			p.cfg.log.Warn("the tables have rows already: a key is compared once both sides have changed it, or its rows are read",
				"stage", "capture", "remedy", "trueup baseline -f "+p.cfg.migration.Path)
		}
	}
	w, err := p.log.Writer()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Write(ctx, capture.Everywhere(p.log, &schemas.Record{Control: control})...); err != nil {
		return fmt.Errorf("write control record: %w", err)
	}
	if control.Baseline == schemas.BaselineEmpty {
		if err := p.coverEmpty(); err != nil {
			return err
		}
	}
	said.Rules = p.rules.Version
	b, err := json.Marshal(said)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

func controlOf(rules *schemas.Rules) *schemas.Control {
	c := &schemas.Control{Rules: rules.Version, Definition: rules.Definition, Entities: map[string]schemas.EntityControl{}}
	for i, e := range rules.Entities() {
		one := schemas.EntityControl{Authority: e.Authority, SettleWindow: schemas.Micros(e.SettleWindow.Microseconds())}
		if i == 0 {
			c.Authority, c.SettleWindow = one.Authority, one.SettleWindow
		}
		if one.Authority != c.Authority || one.SettleWindow != c.SettleWindow {
			c.Entities[e.Name] = one
		}
	}
	return c
}

func (p *pipeline) logIsEmpty(ctx context.Context) (bool, error) {
	ends, err := p.log.EndOffsets(ctx, p.log.Topics().Changes)
	if err != nil {
		return false, err
	}
	for _, end := range ends {
		if end > 0 {
			return false, nil
		}
	}
	return true, nil
}

func (p *pipeline) storesAreEmpty(ctx context.Context) (bool, error) {
	for _, c := range p.captures {
		if c.gap {
			return false, nil
		}
		empty, err := c.source.Empty(ctx)
		if err != nil {
			return false, fmt.Errorf("look whether the tables of %s are empty: %w", c.side, err)
		}
		if !empty {
			return false, nil
		}
	}
	return true, nil
}

// run runs the stages until ctx is done or one of them cannot go on. A side
// with a gap stops alone.
func (p *pipeline) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range p.captures {
		if c.gap {
			continue
		}
		g.Go(func() error {
			err := c.runner.Run(ctx, c.source, c.start)
			var gap *capture.GapError
			if errors.As(err, &gap) {
				return nil // it has been said, and stands in the status
			}
			return err
		})
		if c.rows != nil {
			g.Go(func() error {
				if err := c.rows.Run(ctx); ctx.Err() == nil {
					return err
				}
				return nil // it was told to stop
			})
		}
	}
	if len(p.captures) > 0 {
		g.Go(func() error { return p.serveBaselines(ctx) })
	}
	if p.reconciler != nil {
		g.Go(func() error { return p.reconciler.Run(ctx) })
	}
	if p.events != nil {
		g.Go(func() error { return p.events.Run(ctx) })
		g.Go(func() error { return p.measure(ctx) })
	}
	if p.moving != nil {
		g.Go(func() error { return p.moving.run(ctx) })
	}
	if p.repairs != nil {
		g.Go(func() error { return p.repairs.Run(ctx) })
	}
	if p.subscriptions != nil {
		if p.subscriptions.events != nil {
			p.subscriptions.events.Done = ctx
		}
		g.Go(func() error { return p.subscriptions.run(ctx) })
	}
	if p.observer != nil {
		p.observer.events = p.serveEvents()
		g.Go(func() error { return p.observer.run(ctx) })
	}
	if p.debugger != nil {
		g.Go(func() error { return p.debugger.run(ctx) })
	}
	g.Go(func() error { p.writeStatus(ctx); return nil })
	g.Go(func() error {
		select {
		case <-p.log.Failed():
			return p.log.Err()
		case <-ctx.Done():
			return nil
		}
	})
	return g.Wait()
}

func (p *pipeline) close() error {
	var errs []error
	if p.observer != nil {
		errs = append(errs, p.observer.close())
	}
	if p.debugger != nil {
		errs = append(errs, p.debugger.close())
	}
	if p.reconciler != nil {
		errs = append(errs, p.reconciler.Close())
	}
	if p.repairs != nil {
		errs = append(errs, p.repairs.Close())
	}
	if p.spans != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		if err := p.spans.Close(ctx); err != nil {
			p.cfg.log.Warn("the last spans were not sent", "stage", "spans", "err", err)
		}
		cancel()
	}
	for _, c := range p.captures {
		errs = append(errs, c.source.Close(context.Background()))
	}
	if p.log != nil {
		errs = append(errs, p.log.Close())
	}
	if p.dir != nil {
		errs = append(errs, p.dir.Release())
	}
	return errors.Join(errs...)
}
