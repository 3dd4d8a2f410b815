package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// measuredSlack is how much more is read than the longest window: a record that is not
// written yet may be as old.
const measuredSlack = 10 * time.Minute

// migrationsAt says where migrations have their logs: in their files, or else on the
// registry's brokers.
type migrationsAt struct {
	files []string
	at    *registryAt
}

func migrationsFlag(cmd *cobra.Command, at *registryAt) *migrationsAt {
	m := &migrationsAt{at: at}
	cmd.Flags().StringArrayVar(&m.files, "migration", nil,
		"the migration.yaml that a rollout moves by; may be given more than once; without, it is looked for on --brokers")
	return m
}

// errNowhere is a migration whose log nobody has said the place of.
var errNowhere = errors.New("it is not said where its log is")

// config is where a migration's log is.
func (m *migrationsAt) config(name string) (stream.Config, error) {
	for _, file := range m.files {
		one, err := loadMigration(file)
		if err != nil {
			return stream.Config{}, err
		}
		if one.Name == name {
			return logConfig(one, nil), nil
		}
	}
	if len(m.at.brokers) == 0 {
		return stream.Config{}, fmt.Errorf("migration %s: %w: name its file with --migration, or the brokers with --brokers", name, errNowhere)
	}
	return stream.Config{Migration: name, Brokers: m.at.brokers}, nil
}

// connect reaches what a migration measures.
func (m *migrationsAt) connect(ctx context.Context, name string) (*stream.Log, error) {
	cfg, err := m.config(name)
	if err != nil {
		return nil, err
	}
	cfg.Only = []string{stream.TopicsOf(name).Measured}
	return stream.Connect(ctx, cfg)
}

// evaluate judges the gate before a stage by what the rollout's migration measured up to
// a moment, and no sooner than since: what was before the flag came to its place says
// nothing for the next.
func (m *migrationsAt) evaluate(ctx context.Context, r *schemas.Rollout, to schemas.RolloutStage, at, since time.Time) (rollout.Evaluation, error) {
	log, err := m.connect(ctx, r.Migration)
	if err != nil {
		return rollout.Evaluation{}, err
	}
	defer log.Close()
	criteria := r.Gates[to]
	history, err := measure.Load(ctx, log, at.Add(-measure.Windows(criteria)-measuredSlack))
	if err != nil {
		return rollout.Evaluation{}, err
	}
	return rollout.Judge(r, to, history.Measured(r.Name, criteria, at, since)), nil
}

// evaluations are those of the steps forward of a plan whose rollouts name a migration,
// but for those that need none. Where nobody said where a migration is, there is none.
func (m *migrationsAt) evaluations(ctx context.Context, state *registry.State, plan *registry.Plan, files []registry.Definition, needs func(flag string) bool) (map[string]rollout.Evaluation, error) {
	out := map[string]rollout.Evaluation{}
	for _, d := range files {
		step := plan.Step(d.Rollout.Name)
		if step == nil || !step.Forward || d.Rollout.Migration == "" || !needs(step.Flag) {
			continue
		}
		var since time.Time
		if f := state.Flag(step.Flag); f != nil {
			since = f.Placed
		}
		e, err := m.evaluate(ctx, d.Rollout, d.Rollout.Stage, time.Now(), since)
		switch {
		case errors.Is(err, errNowhere):
		case err != nil:
			return nil, fmt.Errorf("%s: %w", step.Flag, err)
		default:
			out[step.Flag] = e
		}
	}
	return out, nil
}

// revival gives a revival that goes forward what the rollout's migration has measured since the
// kill, where it has no other evidence and is to have some, and returns how its gate is
// judged by it; none: it needs none, or nobody said where the migration is.
func (m *migrationsAt) revival(ctx context.Context, f *registry.Standing, c *registry.Change) (map[string]rollout.Evaluation, error) {
	t, ok := f.Revival()
	if !ok || !t.Forward || c.Measured != nil || c.WithoutEvidence || f.Rollout.Migration == "" {
		return nil, nil
	}
	e, err := m.evaluate(ctx, f.Rollout, t.To.Stage, time.Now(), f.Placed)
	switch {
	case errors.Is(err, errNowhere):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	c.Measured = &e.Measured
	return map[string]rollout.Evaluation{f.Name: e}, nil
}

// attach gives changes that go forward what their migrations measured, where they have
// no other evidence and are to have some, and returns how their gates are judged by it.
func (m *migrationsAt) attach(ctx context.Context, state *registry.State, plan *registry.Plan, files []registry.Definition, changes []registry.Change) (map[string]rollout.Evaluation, error) {
	bare := map[string]*registry.Change{}
	for i := range changes {
		if c := &changes[i]; c.Measured == nil && !c.WithoutEvidence {
			bare[c.Flag] = c
		}
	}
	evaluations, err := m.evaluations(ctx, state, plan, files, func(flag string) bool { return bare[flag] != nil })
	for flag, e := range evaluations {
		bare[flag].Measured = &e.Measured
	}
	return evaluations, err
}
