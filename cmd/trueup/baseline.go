package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/schemas"
)

func newBaseline() *cobra.Command {
	var file string
	var entities []string
	var asJSON, again bool
	cmd := &cobra.Command{
		Use:   "baseline -f migration.yaml",
		Short: "Read the rows that the tables have already, so that they are compared",
		Long: `Baseline reads the rows of both stores into the log while their changes go on,
and writes nothing to the stores. Without it a key is compared once both sides
have changed it.

What was read once is not read again, since its changes are followed. --again
reads it from the beginning all the same, after changes that are in no log, or to
be sure: what was known of these entities is void, and their keys are unknown
until they are read.

Where "trueup run" runs on the data directory, that process reads; otherwise this
one captures both sides and reads until it is done. Ctrl-C stops it, and the next
one goes on from there.

It exits 0 when everything asked for is read, 2 when something is left, 3 when a
table cannot be read.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := loadMigration(file)
			if err != nil {
				return err
			}
			if err := m.RequireStores(); err != nil {
				return err
			}
			if entities, err = chosen(m, entities); err != nil {
				return err
			}
			b := &baselineRun{migration: m, entities: entities, again: again, show: newBaselineView(cmd.OutOrStdout(), asJSON)}
			return b.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().StringSliceVar(&entities, "entity", nil, "only these entities")
	cmd.Flags().BoolVar(&again, "again", false, "read what was read before, too, from the beginning")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	return cmd
}

// chosen returns the named entities of the migration, all of them if none is
// named.
func chosen(m *schemas.Migration, names []string) ([]string, error) {
	rules, err := rulesOf(m)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range rules.Entities() {
		all = append(all, e.Name)
	}
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		if _, ok := rules.Entity(name); !ok {
			return nil, fmt.Errorf("baseline: --entity %q: %s has %s", name, m.Path, strings.Join(all, ", "))
		}
	}
	return names, nil
}

// baselineRun is one run of the command.
type baselineRun struct {
	migration *schemas.Migration
	entities  []string
	again     bool
	show      *baselineView
}

func (b *baselineRun) run(ctx context.Context, errs io.Writer) error {
	if _, err := os.Stat(b.migration.DataDir); errors.Is(err, fs.ErrNotExist) {
		return b.alone(ctx, errs) // which makes it once everything else is there
	}
	dir, err := datadir.Claim(b.migration.DataDir, b.migration.Name)
	if errors.Is(err, datadir.ErrInUse) {
		return b.follow(ctx)
	}
	if err != nil {
		return err
	}
	if err := dir.Release(); err != nil {
		return err
	}
	return b.alone(ctx, errs)
}

// request is where the process that reads looks for what to read.
func (b *baselineRun) request() string {
	return b.migration.DataDir + string(os.PathSeparator) + requestFile
}

// alone captures both sides and reads until everything is covered.
func (b *baselineRun) alone(ctx context.Context, errs io.Writer) error {
	p, err := openPipeline(ctx, pipelineConfig{migration: b.migration, stages: stages{capture: true}, newEpoch: map[schemas.Side]bool{}, log: newLogger(errs)})
	if err != nil {
		return err
	}
	if err := (baselineRequest{b.entities, b.again}).write(b.request()); err != nil {
		return errors.Join(err, p.close())
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.run(running) }()
	tick := time.NewTicker(viewEvery)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case err = <-ended:
			done = true
			ended <- err
		case <-tick.C:
			r, rerr := readRequest(b.request())
			if r == nil || !r.Again { // what it says before is of the reading before
				b.show.draw(p.status(running, time.Now()))
			}
			done = r == nil && rerr == nil
		}
	}
	stop()
	if err = <-ended; errors.Is(err, context.Canceled) {
		err = nil // by us, or by who runs the command
	}
	s := p.status(context.WithoutCancel(ctx), time.Now())
	err = errors.Join(err, p.close(), withdraw(b.request()))
	if err != nil {
		return err
	}
	return b.verdict(s)
}

// follow asks the process that runs, and shows how far it is.
func (b *baselineRun) follow(ctx context.Context) error {
	if err := (baselineRequest{b.entities, b.again}).write(b.request()); err != nil {
		return err
	}
	for {
		if !pause(ctx, viewEvery) {
			return errors.Join(withdraw(b.request()), b.stopped())
		}
		r, err := readRequest(b.request())
		if err != nil {
			return err
		}
		s, err := readStatus(b.migration.DataDir)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if r == nil || !r.Again { // what it says before is of the reading before
			b.show.draw(s)
		}
		switch {
		case r == nil:
			return b.verdict(s)
		case len(s.Sides) == 0 && time.Since(s.At) <= staleAfter:
			return errors.Join(withdraw(b.request()), fmt.Errorf("baseline: process %d has the data directory and captures nothing: run it with the stage capture", s.PID))
		case time.Since(s.At) > staleAfter:
			return fmt.Errorf("baseline: the process that reads has stopped; start \"trueup run -f %[1]s\" or \"trueup baseline -f %[1]s\", which goes on", b.migration.Path)
		}
	}
}

func (b *baselineRun) stopped() error {
	s, err := readStatus(b.migration.DataDir)
	if err != nil || s == nil {
		return err
	}
	return b.verdict(s)
}

// verdict shows how it ended, and returns the exit code.
func (b *baselineRun) verdict(s *statusFile) error {
	if err := b.show.end(s); err != nil {
		return err
	}
	left := false
	var errs []error
	for _, side := range schemas.Sides {
		if gap := s.Sides[side.String()].Gap; gap != "" {
			errs = append(errs, fmt.Errorf("baseline: %s has stopped: %s", side, gap))
		}
		for _, name := range s.uncovered(side, b.entities) {
			left = true
			for _, e := range s.Sides[side.String()].Baseline {
				if e.Entity == name && e.Problem != "" {
					errs = append(errs, fmt.Errorf("baseline: %s of %s: %s", name, side, e.Problem))
				}
			}
		}
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case left:
		return exitStatus(exitInconclusive)
	}
	return nil
}
