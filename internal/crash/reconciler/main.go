// Command reconciler compares the partitions of a log that its group gives it,
// until it is told to stop. It is made to be killed and paused: tests build it
// with the tag crashsites, run several of it, and look at what was published.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/trueup-io/trueup/reconcile/runner"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// spec is what the first argument says.
type spec struct {
	Rules     string        // path of a migration.yaml
	Brokers   []string      // that carry the log
	State     string        // directory
	Instance  string        // in the group
	Batch     int           // records at a time
	Session   time.Duration // how long the group waits for a member that says nothing
	Changelog bool          // whether the state is kept on a topic, too
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "reconciler:", err)
		os.Exit(3)
	}
}

func run(ctx context.Context) (err error) {
	if len(os.Args) != 2 {
		return errors.New("want one argument: what to compare, as JSON")
	}
	var s spec
	if err := json.Unmarshal([]byte(os.Args[1]), &s); err != nil {
		return fmt.Errorf("read the argument: %w", err)
	}
	m, err := schemas.LoadMigration(s.Rules)
	if err != nil {
		return err
	}
	rules, err := m.Rules()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	l, err := stream.Open(ctx, stream.Config{Migration: rules.Migration, Brokers: s.Brokers, Changelog: s.Changelog, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	r, err := runner.New(runner.Config{Rules: rules, Log: l, StateDir: s.State, Instance: s.Instance, MaxBatch: s.Batch,
		SessionTimeout: s.Session, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.Run(ctx)
}
