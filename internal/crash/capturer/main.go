// Command capturer captures one database of PostgreSQL or MariaDB into a log that brokers
// carry, up to a position, and ends. It is made to be killed: tests build it
// with the tag crashsites, start it again after each kill, and look at what it
// has left.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// spec is what the first argument says.
type spec struct {
	Migration string        // the name under which the log is
	Rules     string        // path of a migration.yaml
	Brokers   []string      // that carry the log
	Driver    string        // mariadb; "": postgres
	DSN, Slot string        // the slot is PostgreSQL's
	State     string        // path of the state file
	Spill     string        // directory in which large transactions wait
	Until     string        // the position at which to end; "": go on until killed
	Baseline  string        // path of a baseline's state file: what tables hold is read too, and to the end; "": it is not
	Pause     time.Duration // between changes, so that a moment's workload has many progress records
}

// spillBytes is what may wait in memory: little, so that what waits is spilled.
const spillBytes = 8 << 10

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "capturer:", err)
		os.Exit(3)
	}
}

func run(ctx context.Context) error {
	if !crash.Enabled {
		return errors.New("built without the tag " + crash.Tag)
	}
	if len(os.Args) != 2 {
		return errors.New("want one argument: what to capture, as JSON")
	}
	var s spec
	if err := json.Unmarshal([]byte(os.Args[1]), &s); err != nil {
		return fmt.Errorf("read the argument: %w", err)
	}
	m, err := schemas.LoadMigration(s.Rules)
	if err != nil {
		return err
	}
	rules, err := m.Rules()
	if err != nil {
		return err
	}
	log, err := stream.Connect(ctx, stream.Config{Migration: s.Migration, Brokers: s.Brokers})
	if err != nil {
		return err
	}
	defer log.Close()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	src, err := s.source(rules, logger)
	if err != nil {
		return err
	}
	runner, err := capture.NewRunner(capture.RunnerConfig{Side: schemas.Legacy, Source: sourceName, Rules: rules, StatePath: s.State,
		SaveEvery: time.Millisecond, Log: logger}, log)
	if err != nil {
		return err
	}
	start, err := runner.Prepare(ctx, src)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var rows *baseline.Runner
	if s.Baseline != "" {
		rows, err = baseline.New(baseline.Config{Side: schemas.Legacy, Source: sourceName, Epoch: 1, Rules: rules, Store: src.Baseline(),
			StatePath: s.Baseline, Parallel: 2, ChunkRows: chunkRows, Log: logger})
		if err != nil {
			return err
		}
		var names []string
		for _, e := range rules.Entities() {
			names = append(names, e.Name)
		}
		rows.Want(names)
		go func() { _ = rows.Run(ctx) }() // it ends only with its context
	}
	go s.endAt(ctx, runner, rows, cancel)
	return runner.Run(ctx, src, start)
}

// sourceName stands in event ids.
const sourceName = "crash"

// source makes what is captured.
func (s *spec) source(rules *schemas.Rules, logger *slog.Logger) (paced, error) {
	if s.Driver != "" {
		cfg := mysql.Config{Side: schemas.Legacy, Source: sourceName, Driver: s.Driver, DSN: s.DSN, Rules: rules, Logger: logger, SpillDir: s.Spill, TxnMemory: spillBytes}
		if err := cfg.Validate(); err != nil {
			return paced{}, err
		}
		return paced{mysql.New(cfg), s.Pause}, nil
	}
	cfg := postgres.Config{Side: schemas.Legacy, Source: sourceName, DSN: s.DSN, Slot: s.Slot, Publication: "trueup", Rules: rules, Logger: logger,
		SpillDir: s.Spill, SpillBytes: spillBytes}
	if err := cfg.Validate(); err != nil {
		return paced{}, err
	}
	return paced{postgres.New(cfg), s.Pause}, nil
}

// chunkRows makes a small table have many chunks.
const chunkRows = 40

// endAt stops the capture once everything up to the position is durable, and
// what is to be read, where rows is not nil, is.
func (s *spec) endAt(ctx context.Context, runner *capture.Runner, rows *baseline.Runner, stop func()) {
	if s.Until == "" {
		return
	}
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for runner.Status().AckedPos < s.Until || rows != nil && !covered(rows) {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
	stop()
}

func covered(rows *baseline.Runner) bool {
	return !slices.ContainsFunc(rows.Status(), func(s baseline.EntityStatus) bool { return !s.Covered })
}

// readable is a source of which the rows can be read that were there before.
type readable interface {
	capture.Source
	Baseline() baseline.Store
}

// paced is a source that takes its time.
type paced struct {
	readable
	pause time.Duration
}

// Run implements capture.Source.
func (p paced) Run(ctx context.Context, start capture.Start, epoch uint32, sink capture.Sink, acked func() (capture.Resume, bool)) error {
	to := slow{sink, p.pause}
	if rows, ok := sink.(baseline.Sink); ok {
		return p.readable.Run(ctx, start, epoch, slowRows{to, rows}, acked)
	}
	return p.readable.Run(ctx, start, epoch, to, acked)
}

// slowRows passes on what only a baseline says.
type slowRows struct {
	slow
	rows baseline.Sink
}

// Covered implements baseline.Sink.
func (s slowRows) Covered(ctx context.Context, c *schemas.Covered) error {
	return s.rows.Covered(ctx, c)
}

// Void implements baseline.Sink.
func (s slowRows) Void(ctx context.Context, g *schemas.Gap) error { return s.rows.Void(ctx, g) }

// Durable implements baseline.Sink.
func (s slowRows) Durable(fn func()) { s.rows.Durable(fn) }

type slow struct {
	capture.Sink
	pause time.Duration
}

// Borrows implements capture.Borrower.
func (s slow) Borrows() bool { return capture.Lends(s.Sink) }

// Change implements capture.Sink.
func (s slow) Change(ctx context.Context, c *schemas.Change) error {
	wait := time.NewTimer(s.pause)
	defer wait.Stop()
	<-wait.C
	return s.Sink.Change(ctx, c)
}
