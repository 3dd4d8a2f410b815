// Package servertest gives tests the servers of package servers: one of each kind
// for a test binary, started when the first test asks for it and stopped by Main.
//
// It promises that a test which needs a server that is not installed is skipped
// with a word on what is missing, and fails instead where TRUEUP_REQUIRE_ALL=1
// says that nothing may be skipped; that databases are fresh and go away with
// their test; and that no goroutine outlives the tests, the servers' own included.
//
// It assumes that TestMain calls Main, and that tests leave a shared server
// running and its settings as they were: one that kills or configures a server
// starts its own.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/internal/servers"
)

// Main runs the tests, stops the servers that they shared, and exits: with the
// tests' code, or 1 if a server did not stop or a goroutine is left.
func Main(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

type suite struct{ tests *testing.M }

// Run is called by goleak, which looks for goroutines after it.
func (s suite) Run() int {
	code := s.tests.Run()
	if err := errors.Join(postgres.stop(), mariadb.stop(), mariadb11.stop(), mysql.stop(), kafka.stop()); err != nil {
		fmt.Fprintln(os.Stderr, "stop shared servers:", err)
		code = max(code, 1)
	}
	return code
}

var (
	postgres = shared[*servers.Postgres]{start: func(ctx context.Context) (*servers.Postgres, error) {
		return servers.StartPostgres(ctx, servers.PostgresOptions{})
	}}
	mariadb = shared[*servers.MariaDB]{start: func(ctx context.Context) (*servers.MariaDB, error) {
		return servers.StartMariaDB(ctx, servers.MariaDBOptions{})
	}}
	mariadb11 = shared[*servers.MariaDB]{start: func(ctx context.Context) (*servers.MariaDB, error) {
		bin, err := servers.FetchMariaDB(ctx, servers.MariaDB11)
		if err != nil {
			return nil, err
		}
		return servers.StartMariaDB(ctx, servers.MariaDBOptions{Bin: bin})
	}}
	mysql = shared[*servers.MySQL]{start: func(ctx context.Context) (*servers.MySQL, error) {
		return servers.StartMySQL(ctx, servers.MySQLOptions{})
	}}
	kafka = shared[*servers.Kafka]{start: func(ctx context.Context) (*servers.Kafka, error) {
		return servers.StartKafka(ctx, servers.KafkaOptions{})
	}}
)

// Postgres returns the PostgreSQL server that the tests of this binary share.
func Postgres(t testing.TB) *servers.Postgres {
	t.Helper()
	return postgres.get(t)
}

// MariaDB returns the MariaDB server that the tests of this binary share.
func MariaDB(t testing.TB) *servers.MariaDB {
	t.Helper()
	return mariadb.get(t)
}

// MariaDB11 returns the server of servers.MariaDB11 that the tests of this binary
// share.
func MariaDB11(t testing.TB) *servers.MariaDB {
	t.Helper()
	return mariadb11.get(t)
}

// MySQL returns the MySQL server that the tests of this binary share.
func MySQL(t testing.TB) *servers.MySQL {
	t.Helper()
	return mysql.get(t)
}

// Kafka returns the Kafka node that the tests of this binary share.
func Kafka(t testing.TB) *servers.Kafka {
	t.Helper()
	return kafka.get(t)
}

// Check ends the test if err is not nil: skipped if it says that a server is not
// installed (and skipping is allowed), failed otherwise. It is for tests that
// start servers of their own.
func Check(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, servers.ErrMissing) && !required():
		t.Skipf("needs a real server: %v", err)
	default:
		t.Fatal(err)
	}
}

// required says whether everything has to run, as in CI.
func required() bool { return os.Getenv("TRUEUP_REQUIRE_ALL") == "1" }

// shared is a server that is started once; so is its failure to start.
type shared[S interface{ Stop() error }] struct {
	start func(context.Context) (S, error)

	mu      sync.Mutex
	started bool // under mu, as are server and err
	server  S
	err     error
}

func (s *shared[S]) get(t testing.TB) S {
	t.Helper()
	s.mu.Lock()
	if !s.started {
		s.started = true
		// The test's own context would end the start with the first test.
		s.server, s.err = s.start(context.WithoutCancel(t.Context()))
	}
	server, err := s.server, s.err
	s.mu.Unlock()
	Check(t, err)
	return server
}

func (s *shared[S]) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started || s.err != nil {
		return nil
	}
	return s.server.Stop()
}
