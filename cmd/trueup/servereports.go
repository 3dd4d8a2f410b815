package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/stream"
)

// reportWait is how long a report may take to be written.
const reportWait = 5 * time.Second

// reportsTo writes what applications report to the logs of their migrations, which are
// connected to at the first report and as long as they take them.
type reportsTo struct {
	migrations *migrationsAt

	mu   sync.Mutex
	logs map[string]*reportLog // guarded by mu; by migration
}

// reportLog is a migration's log that takes reports.
type reportLog struct {
	log    *stream.Log
	writer *stream.Writer
}

func (l *reportLog) close() error { return errors.Join(l.writer.Close(), l.log.Close()) }

func newReportsTo(m *migrationsAt) *reportsTo {
	return &reportsTo{migrations: m, logs: map[string]*reportLog{}}
}

// write is api.Server.Report.
func (t *reportsTo) write(ctx context.Context, migration string, r *measure.Report) error {
	value, err := r.Record().Encode()
	if err != nil {
		return fmt.Errorf("report of %s: %w", r.Reporter, err)
	}
	l, err := t.open(ctx, migration)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reportWait)
	defer cancel()
	if err := l.writer.Write(ctx, stream.Record{Topic: l.log.Topics().Measured, Value: value}); err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.drop(migration, l)
		}
		return fmt.Errorf("report of %s to migration %s: %w; send it again, it counts once", r.Reporter, migration, err)
	}
	return nil
}

func (t *reportsTo) open(ctx context.Context, migration string) (*reportLog, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.logs[migration]; l != nil {
		return l, nil
	}
	log, err := t.migrations.connect(ctx, migration)
	if err != nil {
		return nil, err
	}
	w, err := log.Writer()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	l := &reportLog{log, w}
	t.logs[migration] = l
	return l, nil
}

// drop ends a connection that took nothing, so that the next report makes a new one.
func (t *reportsTo) drop(migration string, l *reportLog) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.logs[migration] == l {
		delete(t.logs, migration)
		_ = l.close() // it is broken
	}
}

// close ends all connections.
func (t *reportsTo) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	for _, l := range t.logs {
		err = errors.Join(err, l.close())
	}
	clear(t.logs)
	return err
}
