package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/baseline"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/schemas"
)

// standing are rows that a table has before anybody captures it.
var standing = &shape{name: "standing", rows: 1_000_000, perTxn: 10_000, columns: columns7, values: values7, fields: fields7}

// postgresBaseline reads a table's rows, placed in the stream and handed to a
// sink that forgets them, beside one COPY of the table to nowhere.
func postgresBaseline(ctx context.Context, s *session, name string) ([]line, error) {
	w, err := s.emptyWorkload(ctx, standing)
	if err != nil {
		return nil, err
	}
	err = w.connected(ctx, func(conn *pgx.Conn) error {
		if err := w.write(ctx, conn); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "vacuum analyze orders"); err != nil {
			return err
		}
		for range rounds {
			if err := w.open(ctx, conn); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("write rows: %w", err)
	}
	subject := func(round int) (sample, error) {
		p, err := w.take(&w.subjects)
		if err != nil {
			return sample{}, err
		}
		result, err := runCapture(ctx, "baseline", baselineTask{DSN: w.dsn, Place: p, Profile: s.profilePath(name, round)})
		return result, errors.Join(err, w.free(ctx, p))
	}
	against := func(int) (result sample, err error) {
		err = w.connected(ctx, func(conn *pgx.Conn) error {
			began := time.Now()
			tag, err := conn.PgConn().CopyTo(ctx, io.Discard, "copy orders to stdout")
			result = sample{Units: int(tag.RowsAffected()), Elapsed: time.Since(began)}
			return err
		})
		return result, err
	}
	l, err := comparison{unit: "rows/s", subject: subject, limit: "COPY TO", against: against}.measure(name)
	return []line{l}, err
}

// baselineTask reads the rows in a process of its own.
type baselineTask struct {
	DSN     string
	Place   place // of a PostgreSQL
	MariaDB bool
	Profile string
}

// stored is a source whose tables' rows can be read.
type stored interface {
	capture.Source
	Baseline() baseline.Store
}

func (t baselineTask) open() (stored, *schemas.Rules, error) {
	if t.MariaDB {
		rules, err := standing.binlogRules()
		return mysql.New(binlogConfig(t.DSN, rules)), rules, err
	}
	rules, err := standing.rules()
	return postgres.New(sourceConfig(t.DSN, t.Place.Slot, rules)), rules, err
}

func (t baselineTask) run(ctx context.Context) error {
	if t.Profile != "" {
		f, err := os.Create(t.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	src, rules, err := t.open()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "trueup-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	runner, err := baseline.New(baseline.Config{Side: schemas.Legacy, Source: sourceName, Epoch: 1, Rules: rules, Store: src.Baseline(),
		StatePath: filepath.Join(dir, "state.json")})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	sink := &rowCounter{runner: runner, done: make(chan struct{})}
	var parts sync.WaitGroup
	var failed error
	parts.Go(func() {
		if failed = src.Run(running, t.Place.Start, 1, sink, sink.acked); errors.Is(failed, context.Canceled) {
			failed = nil
		}
		stop()
	})
	parts.Go(func() { _ = runner.Run(running) }) // it ends only with its context
	began := time.Now()
	runner.Want([]string{"order"})
	select {
	case <-sink.done:
	case <-running.Done():
	}
	took := time.Since(began)
	stop()
	parts.Wait()
	if status := runner.Status()[0]; failed == nil && !status.Covered {
		failed = fmt.Errorf("the table is not covered: %s", status.Problem)
	}
	if err := errors.Join(failed, src.Close(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	return answer(sample{Units: sink.rows, Elapsed: took, RSS: residentPeak()})
}

// rowCounter is a sink that counts and forgets. Everything is durable with the
// next progress.
type rowCounter struct {
	runner  *baseline.Runner
	rows    int
	waiting []func()
	once    sync.Once
	done    chan struct{} // closed when the runner has nothing left
	mu      sync.Mutex
	resume  capture.Resume // under mu
}

func (c *rowCounter) Change(_ context.Context, change *schemas.Change) error {
	if change.Op == schemas.OpRead {
		c.rows++
	}
	return nil
}

func (c *rowCounter) Progress(_ context.Context, _ schemas.Progress, resume capture.Resume) error {
	c.mu.Lock()
	c.resume = resume
	c.mu.Unlock()
	for _, fn := range c.waiting {
		fn()
	}
	c.waiting = c.waiting[:0]
	if c.rows > 0 && c.runner.Idle() {
		c.once.Do(func() { close(c.done) })
	}
	return nil
}

func (c *rowCounter) Covered(context.Context, *schemas.Covered) error { return nil }

func (c *rowCounter) Void(context.Context, *schemas.Gap) error { return nil }

func (c *rowCounter) Durable(fn func()) { c.waiting = append(c.waiting, fn) }

func (c *rowCounter) acked() (capture.Resume, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resume, c.resume != ""
}
