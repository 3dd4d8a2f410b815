package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/rollout/handover"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
)

// fenceOptions is how long a hand-over waits.
type fenceOptions struct{ timeout time.Duration }

func fenceFlag(cmd *cobra.Command) *fenceOptions {
	o := &fenceOptions{}
	cmd.Flags().DurationVar(&o.timeout, "fence-timeout", handover.DefaultTimeout,
		"how long a hand-over of keys waits for their routers, before it is taken back; longer than their lease, it outlasts one that is gone")
	return o
}

// over is a registry whose hand-overs wait. Where migrations are said, they wait for what these
// compare, too; out hears of each step.
func (o *fenceOptions) over(store *registry.Store, migrations *migrationsAt, out io.Writer) *handover.Fenced {
	f := &handover.Fenced{Registry: store, Timeout: o.timeout, Said: func(text string) { fmt.Fprintln(out, inert.Prose(text)) }}
	if migrations != nil {
		f.Drained = migrations.drained
	}
	return f
}

// errDrained ends the reading of what is measured: all of it was compared far enough.
var errDrained = errors.New("compared")

// drained waits until a rollout's migration has compared all that was written before a moment, by
// what it measures.
func (m *migrationsAt) drained(ctx context.Context, f *registry.Standing, before time.Time) error {
	if f.Rollout.Migration == "" {
		return nil
	}
	log, err := m.connect(ctx, f.Rollout.Migration)
	switch {
	case errors.Is(err, errNowhere): // what was measured came from elsewhere
		return nil
	case err != nil:
		return err
	}
	defer log.Close()
	ctx, done := context.WithCancelCause(ctx)
	defer done(nil)
	var h measure.History
	err = measure.Follow(ctx, log, before, func(r *measure.Record) {
		h.Add(r)
		if h.ComparedTo(r.To).After(before) {
			done(errDrained)
		}
	})
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errDrained):
		return nil
	case cause != nil:
		return cause
	}
	return err
}

func newRolloutRouters() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "routers",
		Short: "Say which processes a hand-over of keys waits for",
		Long: `Routers lists the processes that have joined to write by a rollout: by which epoch
each has said that it writes, when, and how long after it can read the registry no
more it goes on. One that is behind has not acknowledged what stands; one that is
gone did not answer a hand-over within its lease, and has not come back.

It exits 0, or 1 if one is behind or gone.`,
		Args: cobra.NoArgs,
	}
	at := registryFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return at.standing(cmd.Context(), func(state *registry.State) error {
			behind, err := printRouters(cmd.OutOrStdout(), state.Flags(), time.Now(), asJSON)
			if err == nil && behind {
				err = exitStatus(exitDiverged)
			}
			return err
		})
	}
	return cmd
}

// routerLine is a registry.Router on a line.
type routerLine struct {
	Kind  string `json:"kind"`
	Flag  string `json:"flag"`
	Stage string `json:"stage"` // where the flag is
	registry.Router
	State   string `json:"state"` // one of routerStates
	SaidAgo int64  `json:"said_ago_ms"`
}

func printRouters(w io.Writer, flags []*registry.Standing, now time.Time, asJSON bool) (behind bool, err error) {
	for _, f := range flags {
		for _, r := range f.Routers {
			line := routerLine{Kind: "router", Flag: f.Name, Stage: f.Flag.Place().String(), Router: r, State: stateOf(f, &r)}
			said := r.Joined
			if r.Acked.After(said) {
				said = r.Acked
			}
			line.SaidAgo = now.Sub(said).Milliseconds()
			behind = behind || line.State == "behind" || line.State == "gone"
			if asJSON {
				err = errors.Join(err, json.NewEncoder(w).Encode(line))
				continue
			}
			_, e := fmt.Fprintf(w, "%s %s: %s, epoch %d of %d (%s), said %s ago, lease %s\n", f.Name, inert.Text(r.ID), line.State, r.Epoch, f.Epoch, line.Stage,
				now.Sub(said).Round(time.Second), r.Lease())
			err = errors.Join(err, e)
		}
	}
	return behind, err
}

// routerStates are what stateOf says.
var routerStates = []string{"acknowledged", "holding", "behind", "gone"}

func stateOf(f *registry.Standing, r *registry.Router) string {
	switch {
	case r.Gone != "":
		return "gone"
	case r.Epoch != f.Epoch || f.Held != nil && r.Hold != f.Hold():
		return "behind"
	case f.Held != nil:
		return "holding"
	}
	return "acknowledged"
}
