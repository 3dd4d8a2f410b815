package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/bench/peers"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/stream"
)

// comparing says how a log is compared.
type comparing struct {
	dropped    bool // settled keys are forgotten
	kafka      bool // one node of Apache Kafka carries the log, not the embedded broker
	changelog  bool // there is a topic for the state
	partitions int
	processes  int
}

// window is the settle window of what is compared: at 200,000 changes a second,
// 100,000 keys are under way at a time.
const window = "1s"

func (s *session) historyShape(dropped bool) historyShape {
	h := historyShape{Keys: s.keys, Writes: 2 * s.keys, Before: dropped, Window: window, Apart: 2000}
	if s.keys > 1_000_000 {
		h.Writes = s.keys + s.keys/5
	}
	return h
}

// reconcileLog measures how fast a log that stands on a broker is compared,
// transactions on and the state in Pebble, by processes of their own on the same
// cores as the broker; beside Pebble alone, which does the same reads and writes.
func reconcileLog(how comparing) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, s *session, name string) (_ []line, err error) {
		shape := s.historyShape(how.dropped)
		l, err := s.startLog(ctx, how)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, l.stop()) }()
		if err := l.fill(ctx, shape); err != nil {
			return nil, err
		}
		subject := func(round int) (sample, error) { return l.compare(ctx, s, name, round, shape, how.processes) }
		against := func(int) (sample, error) {
			trace, err := s.traceOf(shape)
			if err != nil {
				return sample{}, err
			}
			return trace.raw(s)
		}
		n := rounds
		if s.keys > 1_000_000 {
			n = 1
		}
		l2, err := comparison{unit: "events/s", subject: subject, limit: "pebble alone", against: against, rounds: n}.measure(name)
		return []line{l2}, err
	}
}

// benchLog is a log on a broker in a process of its own.
type benchLog struct {
	dir      string
	config   stream.Config
	embedded *child
	kafka    *servers.Kafka
	copied   bool // whoever compares keeps the state on the changelog, too
}

func (s *session) startLog(ctx context.Context, how comparing) (_ *benchLog, err error) {
	l := &benchLog{config: stream.Config{Migration: logName, Partitions: how.partitions}}
	if l.dir, err = s.directory("log"); err != nil {
		return nil, err
	}
	if !how.kafka {
		l.config.DataDir = l.dir
		l.embedded, err = startBroker(ctx, brokerTask{Dir: l.dir, Partitions: how.partitions, Changelog: how.changelog})
		return l, err
	}
	if l.kafka, err = servers.StartKafka(ctx, servers.KafkaOptions{Dir: l.dir, JVM: []string{"-Xmx512m"}}); err != nil {
		return nil, err
	}
	l.config.Brokers = l.kafka.Brokers
	open, err := stream.Open(ctx, l.config) // makes the topics
	if err != nil {
		return nil, errors.Join(err, l.kafka.Stop())
	}
	return l, open.Close()
}

func (l *benchLog) stop() error {
	var err error
	if l.kafka != nil {
		err = l.kafka.Stop()
	} else {
		err = l.embedded.stop()
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// fill writes a whole history.
func (l *benchLog) fill(ctx context.Context, shape historyShape) (err error) {
	log, err := stream.Connect(ctx, l.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	p, err := log.Producer(stream.ProducerConfig{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	h, err := newHistory(shape, nil)
	if err != nil {
		return err
	}
	h.emit = toLogOf(ctx, log, p, h.entity)
	if err := h.all(); err != nil {
		return err
	}
	return p.Flush(ctx)
}

// compare has the log compared from its beginning, with new state, by a group that
// is new, too.
func (l *benchLog) compare(ctx context.Context, s *session, name string, round int, shape historyShape, processes int) (sample, error) {
	result, err := l.compareOnce(ctx, s, name, round, shape, processes)
	return result, errors.Join(err, l.forgetGroup(ctx, processes))
}

// compareOnce has the log compared from its beginning, with new state.
func (l *benchLog) compareOnce(ctx context.Context, s *session, name string, round int, shape historyShape, processes int) (sample, error) {
	broker := l.brokerCPU()
	all, err := l.start(ctx, s, name, round, shape, processes)
	if err != nil {
		return sample{}, err
	}
	var result sample
	var began, ended time.Time
	equal := int64(0)
	for _, c := range all {
		var got compared
		if err := c.read(&got); err != nil {
			return sample{}, err
		}
		result.Units += int(got.Records)
		result.RSS = max(result.RSS, got.RSS)
		result.CPU += got.CPU
		if began.IsZero() || got.Began.Before(began) {
			began = got.Began
		}
		if got.Ended.After(ended) {
			ended = got.Ended
		}
		if equal += got.Equal; got.Diverged > 0 {
			return sample{}, fmt.Errorf("%d keys diverged in two equal histories", got.Diverged)
		}
	}
	result.Broker = l.brokerCPU() - broker
	for _, c := range all {
		err = errors.Join(err, c.stop())
	}
	result.Elapsed = ended.Sub(began)
	if equal < int64(shape.Keys) {
		err = errors.Join(err, fmt.Errorf("%d keys are equal, of %d", equal, shape.Keys))
	}
	return result, err
}

// brokerCPU is what the broker has taken until now; 0 where the system does not say.
func (l *benchLog) brokerCPU() time.Duration {
	var pid int
	if l.kafka != nil {
		pid = l.kafka.PID()
	} else {
		pid = l.embedded.cmd.Process.Pid
	}
	u, err := peers.UsageOf(pid)
	if err != nil {
		return 0
	}
	return u.CPU
}

func instance(n int) string { return fmt.Sprintf("bench-%d", n) }

func (l *benchLog) start(ctx context.Context, s *session, name string, round int, shape historyShape, processes int) ([]*child, error) {
	var all []*child
	for n := range processes {
		dir, err := s.directory("state")
		if err != nil {
			return nil, err
		}
		t := compareTask{Shape: shape, DataDir: l.config.DataDir, Brokers: l.config.Brokers, StateDir: dir, Instance: instance(n), Changelog: l.copied,
			Share: l.config.Partitions / processes}
		if n == 0 {
			if name != "" {
				t.Profile = s.profilePath(name, round)
			}
		}
		c, err := startChild(ctx, "compare", t)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// forgetGroup has the next comparison begin as the first one did.
func (l *benchLog) forgetGroup(ctx context.Context, processes int) error {
	log, err := stream.Connect(ctx, l.config)
	if err != nil {
		return err
	}
	brokers := log.Brokers()
	if err := log.Close(); err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	group := "trueup." + logName + ".reconcile"
	leave := kadm.LeaveGroup(group)
	for n := range processes {
		leave = leave.InstanceIDs(instance(n))
	}
	admin := kadm.NewClient(client)
	if _, err := admin.LeaveGroup(ctx, leave); err != nil {
		return fmt.Errorf("leave group: %w", err)
	}
	if _, err := admin.DeleteGroup(ctx, group); err != nil {
		return fmt.Errorf("delete group: %w", err)
	}
	return nil
}
