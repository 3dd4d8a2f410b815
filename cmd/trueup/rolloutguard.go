package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/guard"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

func newRolloutGuard() *cobra.Command {
	var who, listen string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Take rollouts back by themselves when what is measured says so",
		Long: `Guard follows what the migrations of all rollouts measure, and takes a rollout back
when one of the triggers holds that its file has for the stage that it is at
(rollback). It never takes one forward, and any number of guards may run.

Before it takes keys from the target back to legacy it asks what that loses
(--migration FILE), and says so with the rollback. Where a file has a limit
(rollback.maxLost) and more would be lost, or that is not certain, it objects instead,
and a person decides.

With --listen it serves /metrics, and /readyz, which is 503 while nothing is guarded.

It prints each rollback that took effect, and runs until it is stopped.`,
		Args: cobra.NoArgs,
	}
	at := registryFlags(cmd)
	migrations := migrationsFlag(cmd, at)
	cmd.Flags().StringVar(&who, "as", "guard", "whose name is on the rollbacks")
	cmd.Flags().StringVar(&listen, "listen", "", "an address, host:port, for metrics and health; whoever reaches it can read the names of flags")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		logger := newLogger(cmd.ErrOrStderr())
		return at.write(cmd.Context(), func(store *registry.Store) error {
			g := guard.New(guard.Config{Registry: store, Follow: migrations.follow, Cost: migrations.undoCost, Who: who, Logger: logger,
				Held: func(f *registry.Standing, r rollout.Retreat) { printStays(cmd.OutOrStdout(), f, r, asJSON) },
				Done: func(f *registry.Standing, r rollout.Retreat) { printRetreat(cmd.OutOrStdout(), f, r, asJSON) }})
			return beside(cmd.Context(), "--listen", listen, func() http.Handler { return guardPage(g.Status) }, func(ctx context.Context, at net.Addr) error {
				if at != nil {
					logger.Info("metrics are served", "stage", "guard", "listen", at.String())
				}
				return g.Run(ctx)
			})
		})
	}
	return cmd
}

// follow is guard.Config.Follow.
func (m *migrationsAt) follow(ctx context.Context, name string, since time.Time, fn func(*measure.Record)) (err error) {
	log, err := m.connect(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return measure.Follow(ctx, log, since, fn)
}

// retreatLine is a rollback on a line.
type retreatLine struct {
	Kind     string `json:"kind"`
	Revision uint64 `json:"revision,omitempty"`
	rollout.Retreat
}

// printRetreat says what went back. What cannot be written is in the registry all the same.
func printRetreat(w io.Writer, f *registry.Standing, r rollout.Retreat, asJSON bool) {
	if asJSON {
		_ = json.NewEncoder(w).Encode(retreatLine{"rollback", f.Revision, r})
		return
	}
	alone := ""
	if len(r.Keys) > 0 {
		alone = fmt.Sprintf(", %d keys alone", len(r.Keys))
	}
	fmt.Fprintf(w, "%s went back from %s to %s%s, revision %d: %s\n", r.Rollout, r.From, r.To, alone, f.Revision, inert.Prose(r.Sentence()))
}

// printStays says what stays where it is, though a trigger holds.
func printStays(w io.Writer, f *registry.Standing, r rollout.Retreat, asJSON bool) {
	if asJSON {
		_ = json.NewEncoder(w).Encode(retreatLine{"held", f.Revision, r})
		return
	}
	fmt.Fprintf(w, "%s stays at %s, and does not go back to %s by itself, revision %d: %s\n", r.Rollout, r.From, r.To, f.Revision, inert.Prose(r.Sentence()))
}

func newRolloutRehearse() *cobra.Command {
	var from, to string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rehearse FILE --from TIME",
		Short: "Say what would have taken a rollout back in the past",
		Long: `Rehearse goes through what a rollout's migration has measured since a moment, as
if the rollout had come to the stage and share of its file then, and says when
which of the file's triggers would have taken it back, and where to. It writes
nothing.

It exits 0 if nothing would have taken it back, otherwise 1.`,
		Args: cobra.ExactArgs(1),
	}
	at := &registryAt{}
	cmd.Flags().StringSliceVar(&at.brokers, "brokers", nil, "Kafka brokers that the migration's log is on")
	migrations := migrationsFlag(cmd, at)
	cmd.Flags().StringVar(&from, "from", "", "since when, as 2026-11-23T10:00:00Z")
	cmd.Flags().StringVar(&to, "to", "", "up to when; now, unless given")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	if err := cmd.MarkFlagRequired("from"); err != nil {
		panic(err)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := schemas.LoadRollout(args[0])
		if err != nil {
			return err
		}
		begin, err := moment("--from", from)
		if err != nil {
			return err
		}
		end := time.Now()
		if to != "" {
			if end, err = moment("--to", to); err != nil {
				return err
			}
		}
		return migrations.rehearse(cmd, r, begin, end, asJSON)
	}
	return cmd
}

func moment(flag, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s %s: want a time like 2026-11-23T10:00:00Z", flag, text)
	}
	return t, nil
}

// rehearsalLine is what a trigger began to say at a moment.
type rehearsalLine struct {
	Kind    string          `json:"kind"`
	At      time.Time       `json:"at"`
	Verdict rollout.Verdict `json:"verdict"`
	rollout.Retreat
}

func (m *migrationsAt) rehearse(cmd *cobra.Command, r *schemas.Rollout, from, to time.Time, asJSON bool) error {
	f := &registry.Standing{Name: r.Name, Rollout: r, Flag: rollout.Ready(r), Placed: from}
	triggers := guard.Triggers(f)
	if len(triggers) == 0 {
		return fmt.Errorf("%s: nothing would take %s back from %s: it names no migration, or has no trigger for that stage", r.Path, r.Name, f.Flag.Place())
	}
	log, err := m.connect(cmd.Context(), r.Migration)
	if err != nil {
		return err
	}
	defer log.Close()
	said, back := map[string]rollout.Verdict{}, false
	out := cmd.OutOrStdout()
	h := &measure.History{}
	err = measure.Each(cmd.Context(), log, from.Add(-guard.Longest(r)), func(record *measure.Record) {
		h.Add(record)
		if record.To.Before(from) || record.To.After(to) {
			return
		}
		for _, t := range triggers {
			retreat, verdict := guard.Judge(h, f, &t, record.To)
			if said[t.Name] == verdict {
				continue
			}
			said[t.Name] = verdict
			back = back || verdict == rollout.Pass && retreat.To != ""
			if asJSON {
				_ = json.NewEncoder(out).Encode(rehearsalLine{"rehearsal", record.To, verdict, retreat})
				continue
			}
			fmt.Fprintf(out, "%s %s: %s\n", record.To.Format(time.RFC3339), rehearsed(verdict, retreat), inert.Prose(retreat.Why))
		}
	})
	if err == nil && back {
		err = exitStatus(exitDiverged)
	}
	return err
}

// rehearsed is a trigger's verdict as people say it.
func rehearsed(v rollout.Verdict, r rollout.Retreat) string {
	switch v {
	case rollout.Pass:
		return "goes back to " + r.To
	case rollout.Unknown:
		return "unknown"
	}
	return "stays"
}
