package main

import (
	"context"
	"errors"
	"os"
	"runtime/pprof"
	"time"

	"github.com/trueup-io/trueup/reconcile/runner"
	"github.com/trueup-io/trueup/stream"
)

// compareTask compares a log in a process of its own, as trueup run does, until it
// has taken everything, or has been stopped.
type compareTask struct {
	Shape    historyShape
	DataDir  string   // of the embedded broker, which runs
	Brokers  []string // of Kafka, instead
	StateDir string
	Instance string
	Profile  string
	Share    int  // of the partitions that it is to have at its end; 0: any
	Follow   bool // go on until stopped

	Changelog bool // keep the state on the changelog, too
}

// compared is what a comparing process says of itself.
type compared struct {
	Began, Ended time.Time // the first record taken, the last one
	Records      int64     // taken between these
	All          int64
	RSS          int
	CPU          time.Duration
	StateBytes   int64
	Equal        int64
	Diverged     int64
}

func (t compareTask) log() stream.Config {
	return stream.Config{Migration: logName, DataDir: t.DataDir, Brokers: t.Brokers, Changelog: t.Changelog}
}

func (t compareTask) run(ctx context.Context) (err error) {
	rules, err := t.Shape.rules()
	if err != nil {
		return err
	}
	l, err := stream.Connect(ctx, t.log())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	ends, err := l.EndOffsets(ctx, l.Topics().Changes)
	if err != nil {
		return err
	}
	r, err := runner.New(runner.Config{Rules: rules, Log: l, StateDir: t.StateDir, Instance: t.Instance})
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
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(run) }()
	c, err := t.watch(run, r, ends)
	stop()
	err = errors.Join(err, <-ended, r.Close())
	if err != nil {
		return err
	}
	c.RSS, c.CPU = residentPeak(), cpuTime()
	return answer(c)
}

// watch looks at the comparison until it has taken everything.
func (t compareTask) watch(ctx context.Context, r *runner.Runner, ends []int64) (compared, error) {
	var c compared
	var first, half int64 // half: when the heap is looked at; 0: not, or not again
	if t.Profile != "" {
		for _, end := range ends {
			half += end / 2
		}
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		s := r.Status()
		switch {
		case s.Records.Consumed == 0:
		case c.Began.IsZero():
			c.Began, first = s.At, s.Records.Consumed
		case s.Records.Consumed > c.All:
			c.Ended = s.At
		}
		c.All = max(c.All, s.Records.Consumed)
		c.Records, c.Equal, c.Diverged = c.All-first, s.Keys.Equal, s.Keys.Diverged
		if len(s.Stopped) > 0 {
			return c, errors.New("a partition was stopped")
		}
		if half != 0 && c.All > half {
			half = 0
			if err := writeHeap(t.Profile + ".heap"); err != nil {
				return c, err
			}
		}
		if !t.Follow && (t.Share == 0 || len(s.Next) == t.Share) && caughtUp(&s, ends) {
			return c, nil
		}
		select {
		case <-ctx.Done():
			if t.Follow {
				return c, nil
			}
			return c, ctx.Err()
		case <-tick.C:
		}
	}
}

// caughtUp says whether the partitions that this process has are all taken.
func caughtUp(s *runner.Status, ends []int64) bool {
	if len(s.Next) == 0 {
		return false
	}
	for p, next := range s.Next {
		if next < ends[p] {
			return false
		}
	}
	return true
}

// writeHeap writes what is alive.
func writeHeap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}
