package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const (
	followRate  = 2000 // writes a second, each a change of either side
	followTime  = 8 * time.Second
	followTick  = 50 * time.Millisecond // between two progress records of a side
	followWarm  = 2 * time.Second
	followEvery = 50 // one of so many writes never reaches the target
)

// reconcileDelay measures how long it takes from the progress that makes a
// verdict due, as it is handed to the producer, until the divergence is read by a
// consumer of committed events.
func reconcileDelay(ctx context.Context, s *session, name string) (_ []line, err error) {
	p50 := line{Bench: name + ".p50", Unit: "ms", Rounds: rounds}
	p99 := line{Bench: name + ".p99", Unit: "ms", Rounds: rounds}
	for round := range rounds {
		took, rss, err := s.follow(ctx, name, round)
		if err != nil {
			return nil, err
		}
		slices.Sort(took)
		for l, share := range map[*line]float64{&p50: 0.50, &p99: 0.99} {
			if v := took[int(share*float64(len(took)-1))].Seconds() * 1000; round == 0 || v < l.Value {
				l.Value = v
			}
			l.RSS, l.PerSecond = max(l.RSS, rss), 2*followRate
		}
	}
	return []line{p50, p99}, nil
}

// follow has a log compared while it is written, and returns the delays.
func (s *session) follow(ctx context.Context, name string, round int) (_ []time.Duration, rss int, err error) {
	shape := historyShape{Keys: followRate * int(followTime/time.Second), Window: "200ms", Apart: 20, Diverge: followEvery}
	l, err := s.startLog(ctx, comparing{partitions: 4})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	log, err := stream.Connect(ctx, l.config)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	dir, err := s.directory("state")
	if err != nil {
		return nil, 0, err
	}
	c, err := startChild(ctx, "compare", compareTask{Shape: shape, DataDir: l.config.DataDir, StateDir: dir, Instance: instance(0),
		Follow: true, Profile: s.profilePath(name, round)})
	if err != nil {
		return nil, 0, err
	}
	var due progressTimes
	tail, stop := context.WithCancel(ctx)
	var took []time.Duration
	ended := make(chan error, 1)
	go func() {
		ended <- log.Tail(tail, log.Topics().Divergences, nil, func(r stream.Record) error {
			d, err := schemas.ParseDivergenceJSON(r.Value)
			if err == nil && d.Stage == schemas.Opened {
				if said, ok := due.at(d.OpenedAt); ok {
					took = append(took, time.Since(said))
				}
			}
			return err
		})
	}()
	err = due.write(ctx, log, shape)
	time.Sleep(time.Second) //nolint:forbidigo // what is due is published by another process, which says nothing when it has none
	stop()
	if terr := <-ended; !errors.Is(terr, context.Canceled) {
		err = errors.Join(err, terr)
	}
	var got compared
	err = errors.Join(err, c.in.Close(), c.read(&got), c.cmd.Wait())
	if err == nil && len(took) < 100 {
		err = errors.New("fewer than 100 divergences were published")
	}
	return took, got.RSS, err
}

// progressTimes is when each progress was handed over, by its time.
type progressTimes struct {
	mu   sync.Mutex
	said map[schemas.Micros]time.Time // guarded by mu
}

func (p *progressTimes) at(t schemas.Micros) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	said, ok := p.said[t]
	return said, ok
}

// write writes the history at its own pace.
func (p *progressTimes) write(ctx context.Context, log *stream.Log, shape historyShape) (err error) {
	p.said = map[schemas.Micros]time.Time{}
	producer, err := log.Producer(stream.ProducerConfig{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	h, err := newHistory(shape, nil)
	if err != nil {
		return err
	}
	h.emit = toLogOf(ctx, log, producer, h.entity)
	if err := h.begin(); err != nil {
		return err
	}
	began := time.Now()
	for next := began; time.Since(began) < followTime; next = next.Add(followTick) {
		time.Sleep(time.Until(next)) //nolint:forbidigo // the load is by the clock
		for range int(followRate * followTick / time.Second) {
			if err := h.writeOne(schemas.MicrosOf(time.Now())); err != nil {
				return err
			}
		}
		for _, side := range schemas.Sides {
			now := time.Now()
			t := schemas.MicrosOf(now)
			if side == schemas.Target && len(h.behind) > 0 {
				t = h.behind[0].at - 1
			}
			if now.Sub(began) > followWarm {
				p.mu.Lock()
				if _, ok := p.said[t]; !ok {
					p.said[t] = now
				}
				p.mu.Unlock()
			}
			if err := h.progress(side, t); err != nil {
				return err
			}
		}
	}
	return producer.Flush(ctx)
}

// reconcileRestore measures how fast state that is lost is made anew from the log:
// what was published is not published again. Beside the first comparison of the
// same log.
func reconcileRestore(ctx context.Context, s *session, name string) (_ []line, err error) {
	shape := s.historyShape(false)
	shape.Writes = shape.Keys
	l, err := s.startLog(ctx, comparing{partitions: 4})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	if err := l.fill(ctx, shape); err != nil {
		return nil, err
	}
	first, err := l.compareOnce(ctx, s, "", 0, shape, 1)
	if err != nil {
		return nil, err
	}
	n := rounds
	if s.keys > 1_000_000 {
		n = 1
	}
	c := comparison{unit: "keys/s", rounds: n, limit: "the first comparison",
		subject: func(round int) (sample, error) { return l.restored(ctx, s, name, round, shape) },
		against: func(int) (sample, error) { return perKey(first, shape), nil }}
	line1, err := c.measure(name)
	if err != nil {
		return nil, err
	}
	return []line{line1}, l.forgetGroup(ctx, 1)
}

func perKey(s sample, shape historyShape) sample {
	s.Units = s.Units * shape.Keys / (2 * shape.Writes)
	return s
}

func (l *benchLog) restored(ctx context.Context, s *session, name string, round int, shape historyShape) (sample, error) {
	got, err := l.compareOnce(ctx, s, name, round, shape, 1)
	return perKey(got, shape), err
}
