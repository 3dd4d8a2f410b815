package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func newRolloutKill() *cobra.Command {
	var all, asJSON bool
	var migration string
	var watch time.Duration
	cmd := &cobra.Command{
		Use:   "kill NAME... --why TEXT",
		Short: "Put flags to their safe stage, at once and whatever else is written",
		Long: `Kill puts flags to the safe stage that their definitions declare. It asks for no
revision, no gate and nobody's consent, and wins over whatever is written beside
it: what was decided before the kill has no effect any more. A killed flag stays
there until it is revived.

It says how long it took from the call until the event stood in the log for
everybody. Processes that are cut off from the log are at their safe stage as
soon as their lease has run out.

With --migration it reads on in that migration's log, and says when the last
write that was tagged with an older epoch committed: within --watch, which is to
be no less than the processes' lease.`,
	}
	at, by := registryFlags(cmd), authorFlags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every flag")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.Flags().StringVar(&migration, "migration", "", "a migration.yaml in whose log the last write under the old epoch is looked for")
	cmd.Flags().DurationVar(&watch, "watch", follow.DefaultLease, "how long behind the kill writes are looked for")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		began := time.Now()
		if all {
			names = append(names, registry.All)
		}
		if len(names) == 0 || all && len(names) > 1 {
			return fmt.Errorf("name the flags, or --all")
		}
		var changes []registry.Change
		for _, name := range names {
			changes = append(changes, registry.Change{Flag: name, Op: registry.Kill})
		}
		var killed []*registry.Standing
		err := at.write(cmd.Context(), func(store *registry.Store) error {
			state, _, err := store.Submit(cmd.Context(), by.event(changes...))
			if err != nil {
				return explained(err)
			}
			took := time.Since(began)
			for _, f := range state.Flags() {
				if all || slices.Contains(names, f.Name) {
					killed = append(killed, f)
				}
			}
			if err := printStanding(cmd.OutOrStdout(), killed, asJSON); err != nil || asJSON {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "killed within %s\n", took.Round(time.Microsecond))
			return err
		})
		if err != nil || migration == "" {
			return err
		}
		return reportKill(cmd, migration, began, watch, killed, asJSON)
	}
	return cmd
}

// reportKill says when the last write under the old epoch committed.
func reportKill(cmd *cobra.Command, migration string, pressed time.Time, watch time.Duration, killed []*registry.Standing, asJSON bool) error {
	return withLog(cmd.Context(), migration, func(log *stream.Log) error {
		w := newKillWatch(pressed, watch, killed, log.Partitions())
		if err := watchKill(cmd.Context(), log, w); err != nil {
			return err
		}
		if !asJSON {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), w.says())
			return err
		}
		line := struct {
			Kind    string  `json:"kind"`
			Writes  int     `json:"old_writes"` // behind the press, under an older epoch
			LastMs  float64 `json:"last_old_write_ms"`
			WatchMs int64   `json:"watched_ms"`
		}{"kill", w.late, 0, watch.Milliseconds()}
		if w.late > 0 {
			line.LastMs = float64(w.last-w.pressed) / 1000
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(line)
	})
}

func newRolloutRevive() *cobra.Command {
	var measured string
	var without, glass, asJSON bool
	cmd := &cobra.Command{
		Use:   "revive NAME --why TEXT",
		Short: "Put a killed flag where its definition says again",
		Long: `Revive ends a kill. From the safe stage to the definition's it has to be a step of
the graph: apply a file with an earlier stage first where it is further. A step
forward needs its gate to pass, as with apply: by what its migration has measured since
the kill (--migration FILE, or on --brokers), or by what is given (--measured); or the
word that it goes without evidence.`,
		Args: cobra.ExactArgs(1),
	}
	at, by := registryFlags(cmd), authorFlags(cmd)
	fence := fenceFlag(cmd)
	migrations := migrationsFlag(cmd, at)
	cmd.Flags().StringVar(&measured, "measured", "", "a file of what was measured, or of an evaluation; - is standard input")
	cmd.Flags().BoolVar(&without, "without-evidence", false, "it goes forward though nothing was measured")
	cmd.Flags().BoolVar(&glass, "break-glass", false, "it goes forward without the agreement that it needs; it is kept, and listed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		change := registry.Change{Flag: args[0], Op: registry.Revive, WithoutEvidence: without, BreakGlass: glass}
		if measured != "" {
			m, err := loadMeasured(measured, cmd.InOrStdin())
			if err != nil {
				return err
			}
			change.Measured = &m
		}
		return at.write(cmd.Context(), func(store *registry.Store) error {
			state, err := store.Load(cmd.Context())
			if err != nil {
				return err
			}
			var judged map[string]rollout.Evaluation
			if f := state.Flag(change.Flag); f != nil {
				change.Base = f.Revision
				if judged, err = migrations.revival(cmd.Context(), f, &change); err != nil {
					return err
				}
			}
			event := by.event(change)
			if _, err := state.Decide(&event); err != nil && len(judged) == 0 && len(state.Fenced(&event)) == 0 { // what was judged is kept, whatever came of it
				return fmt.Errorf("%w; nothing was changed", err)
			}
			if state, _, err = fence.over(store, migrations, cmd.ErrOrStderr()).Submit(cmd.Context(), event); err != nil {
				return errors.Join(explained(err), printEvaluations(cmd.OutOrStdout(), judged, asJSON))
			}
			return printStanding(cmd.OutOrStdout(), []*registry.Standing{state.Flag(change.Flag)}, asJSON)
		})
	}
	return cmd
}

func newRolloutList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Say which flags stand, and where",
		Args:  cobra.NoArgs,
	}
	at := registryFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return at.standing(cmd.Context(), func(state *registry.State) error {
			if err := printStanding(cmd.OutOrStdout(), state.Flags(), asJSON); err != nil || asJSON {
				return err
			}
			writeUnreadable(cmd.OutOrStdout(), state)
			return nil
		})
	}
	return cmd
}

// standingLine is a registry.Standing on a line.
type standingLine struct {
	Kind      string               `json:"kind"`
	Flag      string               `json:"flag"`
	Owner     string               `json:"owner"`
	Lifecycle string               `json:"lifecycle"`
	Stage     string               `json:"stage"` // where it is
	Ramp      string               `json:"ramp,omitempty"`
	Declared  string               `json:"declared"` // where its definition says that it is
	Revision  uint64               `json:"revision"`
	Epoch     uint64               `json:"epoch"`
	Killed    *registry.Provenance `json:"killed,omitempty"`
	// RolledBack is by what it is where it is, until a definition is applied again.
	RolledBack *registry.Provenance `json:"rolled_back,omitempty"`
	Stale      bool                 `json:"stale"`
	Changed    registry.Provenance  `json:"changed"`
	// Escalation is who is asked when the owner does not answer.
	Escalation string                `json:"escalation,omitempty"`
	Approvals  []registry.Approval   `json:"approvals,omitempty"`
	Objections []registry.Provenance `json:"objections,omitempty"`
	Returned   [][]string            `json:"returned,omitempty"` // keys that went back to legacy alone
	BrokeGlass *registry.Provenance  `json:"broke_glass,omitempty"`
	// Routers are how many processes a hand-over waits for; Held is one that is under way, and Waiting for whom it waits.
	Routers int            `json:"routers"`
	Held    *registry.Held `json:"held,omitempty"`
	Waiting []string       `json:"waiting,omitempty"`
}

func printStanding(w io.Writer, flags []*registry.Standing, asJSON bool) error {
	for _, f := range flags {
		place := f.Flag.Place()
		line := standingLine{Kind: "flag", Flag: f.Name, Owner: f.Rollout.Owner, Lifecycle: f.Rollout.Lifecycle, Stage: place.Stage.String(),
			Declared: f.Rollout.Stage.String(), Revision: f.Revision, Epoch: f.Epoch, Killed: f.Killed, Changed: f.Changed,
			Stale:      f.Rollout.Lifecycle != schemas.LifecycleArchived && f.Rollout.Expired(time.Now()),
			Escalation: f.Rollout.Governance.Escalation, Approvals: f.Approvals, Objections: f.Objections, Returned: f.Returned, BrokeGlass: f.BrokeGlass, Routers: len(f.Routers), Held: f.Held}
		for _, r := range f.Waiting() {
			line.Waiting = append(line.Waiting, r.ID)
		}
		if f.Back != nil {
			line.RolledBack = f.RolledBack
		}
		if place.Stage == schemas.StageRamp {
			line.Ramp = place.Ramp.String()
		}
		if asJSON {
			if err := json.NewEncoder(w).Encode(line); err != nil {
				return err
			}
			continue
		}
		more := ""
		if f.Killed != nil {
			more += fmt.Sprintf(", killed by %s: %s", inert.Text(f.Killed.Who), inert.Line(f.Killed.Why))
		}
		if f.Back != nil {
			if len(f.Returned) > 0 {
				more += fmt.Sprintf(", %d keys back at legacy alone", len(f.Returned))
			}
			more += fmt.Sprintf(", rolled back by %s: %s", inert.Text(f.RolledBack.Who), inert.Line(f.RolledBack.Why))
		}
		for _, a := range f.Approvals {
			more += ", approved by " + inert.Text(a.Who)
		}
		for _, o := range f.Objections {
			more += fmt.Sprintf(", %s objects (%s): %s", inert.Text(o.Who), inert.Text(o.Event), inert.Line(o.Why))
		}
		if f.BrokeGlass != nil {
			more += fmt.Sprintf(", glass broken by %s: %s", inert.Text(f.BrokeGlass.Who), inert.Line(f.BrokeGlass.Why))
		}
		if f.Held != nil {
			_, to := f.Held.Places()
			more += fmt.Sprintf(", held by %s on the way to %s", inert.Text(f.Held.Who), to)
		}
		if line.Stale {
			more += ", stale since " + f.Rollout.Expires.Format(time.DateOnly)
		}
		if _, err := fmt.Fprintf(w, "%s (%s): %s, at %s, revision %d, epoch %d%s\n", f.Name, inert.Text(f.Rollout.Owner), f.Rollout.Lifecycle, place, f.Revision, f.Epoch, more); err != nil {
			return err
		}
	}
	return nil
}

func newRolloutHistory() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Print every event of the registry, and what became of it, as JSON Lines",
		Args:  cobra.NoArgs,
	}
	at := registryFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return at.read(cmd.Context(), func(store *registry.Store) error {
			if store == nil {
				return nil
			}
			return store.Each(cmd.Context(), func(value []byte, o registry.Outcome) error {
				line := struct {
					Kind    string           `json:"kind"`
					Outcome registry.Outcome `json:"outcome"`
					Event   json.RawMessage  `json:"event,omitempty"`
				}{Kind: "event", Outcome: o}
				if json.Valid(value) {
					line.Event = value
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(line)
			})
		})
	}
	return cmd
}
