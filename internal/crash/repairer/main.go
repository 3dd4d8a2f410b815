// Command repairer repairs one store from a log that brokers carry, until nothing
// is left to be written, and ends. It is made to be killed: tests build it with
// the tag crashsites, start it again after each kill, and look at what it has
// left.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/compensate/mysql"
	"github.com/trueup-io/trueup/compensate/postgres"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// spec is what the first argument says.
type spec struct {
	Migration string   // the name under which the log is
	Rules     string   // path of a migration.yaml
	Brokers   []string // that carry the log
	DSN       string   // of the target
	State     string   // directory of the position and the key
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "repairer:", err)
		os.Exit(3)
	}
}

func run(ctx context.Context) error {
	if !crash.Enabled {
		return errors.New("built without the tag " + crash.Tag)
	}
	if len(os.Args) != 2 {
		return errors.New("want one argument: what to repair, as JSON")
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
	log, err := stream.Open(ctx, stream.Config{Migration: s.Migration, Brokers: s.Brokers, Partitions: 2})
	if err != nil {
		return err
	}
	return errors.Join(repair(ctx, &s, m, rules, log), log.Close())
}

func repair(ctx context.Context, s *spec, m *schemas.Migration, rules *schemas.Rules, log *stream.Log) error {
	to, err := compensate.NewStreamLog(log, rules)
	if err != nil {
		return err
	}
	var a compensate.Applier
	tables := compensate.TablesOf(rules, schemas.Target)
	if m.Store(schemas.Target).Driver == schemas.Postgres {
		a, err = postgres.Open(postgres.Config{DSN: s.DSN, Side: schemas.Target, Tables: tables})
	} else {
		a, err = mysql.Open(mysql.Config{DSN: s.DSN, Side: schemas.Target, Tables: tables})
	}
	if err != nil {
		return errors.Join(err, to.Close())
	}
	key, err := compensate.LoadKey(filepath.Join(s.State, "repair.key"))
	if err != nil {
		return err
	}
	// One write at a time, so that a site's n-th hit is the same one every time.
	r, err := compensate.NewRunner(compensate.Config{Rules: rules, Log: to, Appliers: map[schemas.Side]compensate.Applier{schemas.Target: a},
		StatePath: filepath.Join(s.State, "compensate.json"), Key: key, Parallel: 1, RetryEvery: 20 * time.Millisecond,
		Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for {
		select {
		case err := <-done:
			cancel()
			return errors.Join(err, r.Close())
		case <-time.After(10 * time.Millisecond):
			// It has read the divergences to their end, and written what follows from them.
			if status := r.Status(); status.Rules != nil && status.Live == 0 {
				cancel()
				return errors.Join(<-done, r.Close())
			}
		}
	}
}
