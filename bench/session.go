package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/trueup-io/trueup/internal/servers"
)

// session is what benchmarks of one run share. It is used by one goroutine.
type session struct {
	prefix  string // of the benchmarks that were asked for
	keys    int    // distinct ones of what is compared
	profile string // directory for profiles; empty: none are taken

	dir       string // temporary; empty: nothing has needed it yet
	postgres  *servers.Postgres
	workloads map[*shape]*workload
	binlogs   map[*shape]*binlog
	kafka     *servers.Kafka
	trace     *stateTrace // the last one: of ten million keys it takes minutes to make
}

// directory returns a new directory that goes with the session.
func (s *session) directory(name string) (string, error) {
	if s.dir == "" {
		var err error
		if s.dir, err = os.MkdirTemp("", "trueup-bench-*"); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(s.dir, name+"-*")
}

// traceOf returns what a history asks of its state.
func (s *session) traceOf(shape historyShape) (*stateTrace, error) {
	if s.trace == nil || s.trace.shape != shape {
		s.trace = nil // before the next is made beside it
		var err error
		if s.trace, err = traceState(shape); err != nil {
			return nil, err
		}
	}
	return s.trace, nil
}

// server returns the session's PostgreSQL.
func (s *session) server(ctx context.Context) (*servers.Postgres, error) {
	if s.postgres != nil {
		return s.postgres, nil
	}
	var err error
	s.postgres, err = servers.StartPostgres(ctx, servers.PostgresOptions{Settings: map[string]string{
		"max_replication_slots": "64", // each drains the backlog once
		"max_wal_size":          "4GB",
		"shared_buffers":        "256MB",
		"autovacuum":            "off", // of tables that are only inserted into, in the middle of a measurement
	}})
	if err != nil {
		return nil, fmt.Errorf("a server to capture from: %w", err)
	}
	return s.postgres, nil
}

// profiled takes a profile of this process, if any are asked for, until stop.
func (s *session) profiled(name string, round int) (stop func(error) error, err error) {
	path := s.profilePath(name, round)
	if path == "" {
		return func(err error) error { return err }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func(err error) error {
		pprof.StopCPUProfile()
		return errors.Join(err, f.Close())
	}, nil
}

func (s *session) close() error {
	var err error
	if s.postgres != nil {
		err = s.postgres.Stop()
	}
	for _, b := range s.binlogs {
		err = errors.Join(err, b.server.Stop())
	}
	if s.kafka != nil {
		err = errors.Join(err, s.kafka.Stop())
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
