package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/reconcile/changelog"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/stream"
)

// copiedLog is a log of a history, on the embedded broker, with a topic for the state.
func (s *session) copiedLog(ctx context.Context, shape historyShape) (*benchLog, error) {
	l, err := s.startLog(ctx, comparing{partitions: 4, changelog: true})
	if err != nil {
		return nil, err
	}
	if err := l.fill(ctx, shape); err != nil {
		return nil, errors.Join(err, l.stop())
	}
	return l, nil
}

// reconcileChangelog measures what a changelog costs: the comparison of a log with
// one, beside that of the same log without.
func reconcileChangelog(ctx context.Context, s *session, name string) (_ []line, err error) {
	shape := s.historyShape(false)
	l, err := s.copiedLog(ctx, shape)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	n := rounds
	if s.keys > 1_000_000 {
		n = 1
	}
	got, err := comparison{unit: "events/s", rounds: n, limit: "without a changelog",
		subject: func(round int) (sample, error) {
			if err := l.emptyChangelog(ctx); err != nil { // or there is nothing to compare
				return sample{}, err
			}
			l.copied = true
			return l.compare(ctx, s, name, round, shape, 1)
		},
		against: func(round int) (sample, error) {
			l.copied = false
			return l.compare(ctx, s, "", round, shape, 1)
		}}.measure(name)
	return []line{got}, err
}

// reconcileRestoreChangelog measures how fast state is taken from the changelog, beside
// how fast it is made from the log.
func reconcileRestoreChangelog(ctx context.Context, s *session, name string) (_ []line, err error) {
	shape := s.historyShape(false)
	shape.Writes = shape.Keys
	l, err := s.copiedLog(ctx, shape)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	l.copied = true
	if _, err := l.compare(ctx, s, "", 0, shape, 1); err != nil {
		return nil, err
	}
	l.copied = false
	n := rounds
	if s.keys > 1_000_000 {
		n = 1
	}
	got, err := comparison{unit: "keys/s", rounds: n, limit: "from the log",
		subject: func(int) (sample, error) { return l.takeChangelog(ctx, s, shape) },
		against: func(round int) (sample, error) {
			got, err := l.compare(ctx, s, "", round, shape, 1)
			return perKey(got, shape), err
		}}.measure(name)
	return []line{got}, err
}

// withChangelog runs fn with the log and its changelog.
func (l *benchLog) withChangelog(ctx context.Context, fn func(*stream.Log) error) error {
	cfg := l.config
	cfg.Changelog = true
	log, err := stream.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(fn(log), log.Close())
}

func (l *benchLog) emptyChangelog(ctx context.Context) error {
	return l.withChangelog(ctx, func(log *stream.Log) error {
		for p := range int32(log.Partitions()) {
			end, err := log.ChangelogEnd(ctx, p)
			if err == nil {
				_, err = log.TrimChangelog(ctx, p, end)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// takeChangelog restores every partition into a state that is new, one after the other.
func (l *benchLog) takeChangelog(ctx context.Context, s *session, shape historyShape) (got sample, err error) {
	rules, err := shape.rules()
	if err != nil {
		return got, err
	}
	dir, err := s.directory("state")
	if err != nil {
		return got, err
	}
	err = l.withChangelog(ctx, func(log *stream.Log) (err error) {
		topic, _ := log.Topic(log.Topics().Changes)
		db, err := state.Open(state.Config{Dir: dir, Identity: state.Identity{Migration: logName, Log: topic.ID.String(), Partitions: topic.Partitions}})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		began := time.Now()
		for p := range int32(topic.Partitions) {
			found, err := changelog.Restore(ctx, changelog.Config{Log: log, State: db.Partition(p), Committed: -1, ID: changelog.Identity{
				Migration: rules.Migration, Log: topic.ID.String(), Partition: p, State: reconcile.StateFormat, Rules: rules.Version}})
			if err != nil {
				return err
			}
			if !found.Whole {
				return fmt.Errorf("partition %d was not restored: %s", p, found.Refused)
			}
		}
		got.Elapsed, got.Units = time.Since(began), shape.Keys
		return nil
	})
	return got, err
}
