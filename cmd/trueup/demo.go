package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/demo"
	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func newDemo() *cobra.Command {
	o := demo.Options{}
	var logFile string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch two real databases diverge under planted faults, and be healed",
		Long: `Demo starts a private PostgreSQL and a private MariaDB, writes orders to both
from several writers, plants faults of every kind, holds one side back for a
spell, and shows what Trueup finds, why, and what it heals. Everything is
removed afterwards, unless --keep names a directory for it.

It exits 0 only if nothing was missed, nothing was reported falsely, everything
was healed, an independent comparison finds the stores equal, and a replay of
the log gives the same divergences byte for byte.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out, o.Err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if logFile != "" {
				f, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
				if err != nil {
					return fmt.Errorf("demo: %w", err)
				}
				defer f.Close()
				o.Log = newLogger(f)
			}
			o.Start = func(ctx context.Context, path string) (demo.Pipeline, error) { return startForDemo(ctx, path, o.Log) }
			card, err := demo.Run(cmd.Context(), o)
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			if !card.OK() {
				return exitStatus(exitDiverged)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Int64Var(&o.Seed, "seed", 1, "of the plan of writes and faults")
	f.IntVar(&o.Changes, "changes", demo.DefaultChanges, "row changes, both sides counted")
	f.BoolVar(&o.JSON, "json", false, "print only the scorecard, as JSON")
	f.StringVar(&o.Keep, "keep", "", "keep everything in this directory")
	f.StringSliceVar(&o.Brokers, "brokers", nil, "put the log on these Kafka brokers instead of the embedded one")
	f.StringVar(&logFile, "log", "", "write the pipeline's own log to this file")
	return cmd
}

// demoPipeline is a pipeline that the demo watches.
type demoPipeline struct {
	p      *pipeline
	cancel context.CancelFunc
	events chan schemas.Event
	done   chan struct{} // closed when everything has stopped

	once sync.Once
	err  error // of the stages; read after done
}

// eventBuffer is how many events may wait for the demo's view: a storm of faults.
const eventBuffer = 1024

func startForDemo(ctx context.Context, path string, l *slog.Logger) (demo.Pipeline, error) {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	m, err := loadMigration(path)
	if err != nil {
		return nil, err
	}
	p, err := openPipeline(ctx, pipelineConfig{migration: m, stages: stages{true, true, true, true}, log: l})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &demoPipeline{p: p, cancel: cancel, events: make(chan schemas.Event, eventBuffer), done: make(chan struct{})}
	var tails sync.WaitGroup
	tailing, stopTailing := context.WithCancel(context.WithoutCancel(ctx))
	topics := p.log.Topics()
	tailErrors := make([]error, 3)
	for i, topic := range []string{topics.Divergences, topics.Compensations, topics.Outcomes} {
		tails.Go(func() { tailErrors[i] = d.tail(tailing, topic) })
	}
	go func() {
		defer close(d.done)
		err := p.run(ctx)
		stopTailing()
		tails.Wait()
		close(d.events)
		d.err = errors.Join(err, errors.Join(tailErrors...), p.close())
	}()
	return d, nil
}

// tail passes on a topic's events from its beginning.
func (d *demoPipeline) tail(ctx context.Context, topic string) error {
	starts, err := d.p.log.StartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	from := map[int32]int64{}
	for p, o := range starts {
		from[int32(p)] = o
	}
	err = d.p.log.Tail(ctx, topic, from, func(r stream.Record) error {
		e, err := schemas.ParseEventJSON(r.Value)
		if err != nil {
			return fmt.Errorf("topic %s partition %d offset %d: %w", topic, r.Partition, r.Offset, err)
		}
		select {
		case d.events <- *e:
		case <-ctx.Done():
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Events implements demo.Pipeline.
func (d *demoPipeline) Events() <-chan schemas.Event { return d.events }

// caughtPatience is how long one call of Caught waits.
const caughtPatience = 2 * time.Second

// Caught implements demo.Pipeline.
func (d *demoPipeline) Caught(ctx context.Context) (bool, error) {
	called := schemas.MicrosOf(time.Now())
	ctx, cancel := context.WithTimeout(ctx, caughtPatience)
	defer cancel()
	for {
		s := d.p.reconciler.Status()
		if s.Partitions == d.p.log.Partitions() && s.Frontier[schemas.Legacy] > called && s.Frontier[schemas.Target] > called {
			return true, nil
		}
		select {
		case <-d.done:
			return false, errors.Join(errors.New("the pipeline has stopped"), d.err)
		default:
		}
		if !pause(ctx, 20*time.Millisecond) {
			return false, nil
		}
	}
}

// Totals implements demo.Pipeline.
func (d *demoPipeline) Totals() schemas.Summary { return d.p.reconciler.Status().Keys }

// Where implements demo.Pipeline.
func (d *demoPipeline) Where() string { return d.p.log.Describe() }

// Replay implements demo.Pipeline.
func (d *demoPipeline) Replay(ctx context.Context) (was, found [][]byte, err error) {
	return replayExport(ctx, d.p.log, d.p.rules)
}

// replayExport replays the log as "trueup log cat | trueup audit --file -"
// would, and returns the published divergences and the replayed ones as JSON
// lines in the same order.
func replayExport(ctx context.Context, log *stream.Log, rules *schemas.Rules) (was, found [][]byte, err error) {
	ranges, err := parseRange(ctx, log, "", "", -1)
	if err != nil {
		return nil, nil, err
	}
	published, err := published(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	in, out := io.Pipe()
	go func() { out.CloseWithError(catLog(ctx, log, ranges, out, io.Discard)) }()
	defer in.Close()
	r, err := replay.New(rules)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	lines := schemas.NewLineReader(in, 0)
	for {
		rec, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if err := r.Step(rec); err != nil {
			return nil, nil, err
		}
	}
	if _, err := r.Finish(); err != nil {
		return nil, nil, err
	}
	err = r.Divergences(func(d *schemas.Divergence) error {
		found = append(found, schemas.AppendDivergenceJSON(nil, d))
		return nil
	})
	return jsonLines(published), found, err
}

func jsonLines(found []schemas.Divergence) [][]byte {
	out := make([][]byte, len(found))
	for i := range found {
		out[i] = bytes.Clone(schemas.AppendDivergenceJSON(nil, &found[i]))
	}
	return out
}

// Stop implements demo.Pipeline.
func (d *demoPipeline) Stop() error {
	d.once.Do(d.cancel)
	<-d.done
	return d.err
}
