package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// discard drains a backlog into a sink that forgets what it is given.
func discard(sh *shape) func(context.Context, *session, string) ([]line, error) {
	return drain(sh, func(_ context.Context, _ *session, t postgresTask, run func(postgresTask) (sample, error)) (sample, error) {
		return run(t)
	})
}

// toLog drains a backlog into the embedded broker, in a process of its own, until
// everything is acknowledged and confirmed.
func toLog(sh *shape) func(context.Context, *session, string) ([]line, error) {
	return drain(sh, func(ctx context.Context, s *session, t postgresTask, run func(postgresTask) (sample, error)) (sample, error) {
		dir, err := s.directory("log")
		if err != nil {
			return sample{}, err
		}
		t.DataDir = dir
		broker, err := startBroker(ctx, brokerTask{Dir: dir})
		if err != nil {
			return sample{}, err
		}
		result, err := run(t)
		err = errors.Join(err, broker.stop(), os.RemoveAll(dir))
		result.Broker = broker.cpu()
		return result, err
	})
}

// drain measures how fast a backlog is drained, beside pg_recvlogical.
func drain(sh *shape, around func(context.Context, *session, postgresTask, func(postgresTask) (sample, error)) (sample, error)) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, s *session, name string) ([]line, error) {
		w, err := s.backlog(ctx, sh)
		if err != nil {
			return nil, err
		}
		subject := func(round int) (sample, error) {
			p, err := w.take(&w.subjects)
			if err != nil {
				return sample{}, err
			}
			result, err := around(ctx, s, postgresTask{Shape: sh.name, DSN: w.dsn, Place: p, Rows: sh.rows + 1, Profile: s.profilePath(name, round)},
				func(t postgresTask) (sample, error) { return runCapture(ctx, "capture postgres", t) })
			return result, errors.Join(err, w.free(ctx, p))
		}
		against := func(int) (sample, error) {
			p, err := w.take(&w.limits)
			if err != nil {
				return sample{}, err
			}
			result, err := recvlogical(ctx, w, p)
			return result, errors.Join(err, w.free(ctx, p))
		}
		l, err := comparison{unit: "rows/s", subject: subject, limit: "pg_recvlogical", against: against}.measure(name)
		return []line{l}, err
	}
}

func (s *session) profilePath(name string, round int) string {
	if s.profile == "" {
		return ""
	}
	return filepath.Join(s.profile, fmt.Sprintf("%s.%d.pprof", name, round))
}

// recvlogical drains the backlog with PostgreSQL's own client into /dev/null.
func recvlogical(ctx context.Context, w *workload, p place) (sample, error) {
	program, err := postgresProgram("pg_recvlogical")
	if err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, program, "-d", w.dsn, "--slot", p.Slot, "--start", "--no-loop", "-f", "/dev/null",
		"--endpos", w.end, "-o", "proto_version=1", "-o", "publication_names="+publication)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, out)
	}
	return sample{Units: w.shape.rows, Elapsed: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// postgresProgram finds a client program of the newest version that is installed.
func postgresProgram(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return slices.Max(found), nil
	}
	return exec.LookPath(name)
}

// runCapture runs a capture in a process of its own until it is done.
func runCapture(ctx context.Context, what string, task any) (sample, error) {
	c, err := startChild(ctx, what, task)
	if err != nil {
		return sample{}, err
	}
	var result sample
	err = errors.Join(c.read(&result), c.stop())
	result.CPU = c.cpu()
	return result, err
}

// postgresTask captures a backlog in a process of its own.
type postgresTask struct {
	Shape   string
	DSN     string
	Place   place
	Rows    int    // how many are to come; 0: go on until stopped
	DataDir string // of the embedded broker, which runs; empty with no Brokers: to discard
	Brokers []string
	Log     string // its name; empty: logName
	Profile string
}

func (t postgresTask) run(ctx context.Context) (err error) {
	sh, err := shapeOf(t.Shape)
	if err != nil {
		return err
	}
	rules, err := sh.rules()
	if err != nil {
		return err
	}
	if t.Profile != "" {
		f, err := os.Create(t.Profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	src := &counted{Source: postgres.New(sourceConfig(t.DSN, t.Place.Slot, rules)), rows: t.Rows}
	began := time.Now()
	if t.DataDir == "" && len(t.Brokers) == 0 {
		err = src.toNowhere(ctx, t.Place.Start)
	} else {
		err = src.toLog(ctx, stream.Config{Migration: cmp.Or(t.Log, logName), DataDir: t.DataDir, Brokers: t.Brokers}, t.Place.Start, rules, 0)
	}
	if err != nil {
		return err
	}
	return answer(sample{Units: src.taken, Elapsed: time.Since(began), RSS: residentPeak()})
}

// counted is a source that ends when it has captured so many rows.
type counted struct {
	capture.Source
	rows  int // 0: never
	taken int // of the delivering goroutine; read when Run has returned
}

// errDone ends a source that has captured what it was to.
var errDone = errors.New("done")

func (c *counted) Run(ctx context.Context, start capture.Start, epoch uint32, sink capture.Sink, acked func() (capture.Resume, bool)) error {
	err := c.Source.Run(ctx, start, epoch, &countingSink{sink, c}, acked)
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// countingSink passes on, and counts.
type countingSink struct {
	to capture.Sink
	of *counted
}

func (s *countingSink) Borrows() bool { return capture.Lends(s.to) }

func (s *countingSink) Change(ctx context.Context, c *schemas.Change) error {
	s.of.taken++
	return s.to.Change(ctx, c)
}

func (s *countingSink) Progress(ctx context.Context, p schemas.Progress, resume capture.Resume) error {
	if err := s.to.Progress(ctx, p, resume); err != nil {
		return err
	}
	switch c := s.of; {
	case c.rows == 0 || c.taken < c.rows:
		return nil
	case c.taken > c.rows:
		return fmt.Errorf("%d rows captured, %d were written", c.taken, c.rows)
	}
	return errDone
}

// toNowhere captures into a sink that takes complete changes and forgets them.
func (c *counted) toNowhere(ctx context.Context, start capture.Start) error {
	sink := new(forgetful)
	return errors.Join(c.Run(ctx, start, 1, sink, sink.acked), c.Close(ctx))
}

// forgetful is a Sink of the delivering goroutine; acked is asked by another.
type forgetful struct{ latest latest }

// Borrows implements capture.Borrower.
func (f *forgetful) Borrows() bool { return true }

func (f *forgetful) acked() (capture.Resume, bool) { return f.latest.get() }

// Change takes only a change that is complete.
func (f *forgetful) Change(_ context.Context, c *schemas.Change) error {
	if c.Mapping == "" || c.Digest == (schemas.Digest{}) {
		return fmt.Errorf("change at %s has no digest", c.Pos)
	}
	return nil
}

func (f *forgetful) Progress(_ context.Context, _ schemas.Progress, resume capture.Resume) error {
	f.latest.set(resume)
	return nil
}

// toLog captures as "trueup run" does. It returns when everything is durable in
// the log and confirmed to the server.
func (c *counted) toLog(ctx context.Context, to stream.Config, from capture.Start, rules *schemas.Rules, buffer int) (err error) {
	open := stream.Open
	if len(to.Brokers) == 0 {
		open = stream.Connect
	}
	l, err := open(ctx, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	state, err := os.MkdirTemp("", "trueup-bench-state-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(state)) }()
	r, err := capture.NewRunner(capture.RunnerConfig{Side: schemas.Legacy, Source: sourceName, Rules: rules,
		StatePath: filepath.Join(state, "capture.json"), BufferBytes: buffer}, l)
	if err != nil {
		return err
	}
	started := &opened{Source: c, at: from}
	start, err := r.Prepare(ctx, started)
	if err != nil {
		return err
	}
	return r.Run(ctx, started, start)
}

// opened is a source that was opened before: the runner's state file, which would
// know that, is new.
type opened struct {
	capture.Source
	at capture.Start
}

// Open proves continuity with where it was opened first.
func (o *opened) Open(ctx context.Context, _ capture.Resume, _ string, _ ...string) (capture.Start, error) {
	return o.Source.Open(ctx, o.at.Resume, o.at.Identity)
}
