package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/undo"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func newRolloutUndoCost() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "undo-cost NAME -f migration.yaml",
		Short: "Say what going back to legacy would lose",
		Long: `Undo-cost reads the log since the target has authority for some keys, and counts the
keys whose latest value legacy does not have: what a rollback to a stage at which
legacy has authority would lose, or is still on its way there. It also says
whether there is a way back at all.

It exits 0 if nothing would be lost, 1 if something would, and 2 if that is not
certain.`,
		Args: cobra.ExactArgs(1),
	}
	at := registryFlags(cmd)
	fileFlag(cmd, &file)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := loadMigration(file)
		if err != nil {
			return err
		}
		var flag *registry.Standing
		err = at.standing(cmd.Context(), func(state *registry.State) error {
			flag = state.Flag(args[0])
			return nil
		})
		switch {
		case err != nil:
			return err
		case flag == nil:
			return fmt.Errorf("%s: there is no such flag; `trueup rollout list` says which there are", args[0])
		}
		report, err := undoCost(cmd.Context(), m, flag, nil)
		if err != nil {
			return err
		}
		if err := printUndoCost(cmd.OutOrStdout(), report, asJSON); err != nil {
			return err
		}
		switch {
		case report.Lost > 0 || report.NoReturn != "":
			return exitStatus(exitDiverged)
		case len(report.Uncertain) > 0:
			return exitStatus(exitInconclusive)
		}
		return nil
	}
	return cmd
}

// undoLine is an undo.Report on a line.
type undoLine struct {
	Kind string `json:"kind"`
	*undo.Report
}

// undoCost asks a migration's log what going back of a flag would lose; to is where, nil: to
// where legacy has authority for all keys.
func undoCost(ctx context.Context, m *schemas.Migration, flag *registry.Standing, to *rollout.Flag) (report *undo.Report, err error) {
	if flag.Crossed.IsZero() {
		return nothingLost(ctx, flag, to)
	}
	rules, err := rulesOf(m)
	if err != nil {
		return nil, err
	}
	err = withLogOf(ctx, m, func(log *stream.Log) error {
		report, err = undo.Ask(ctx, log, rules, undoQuestion(flag, to), time.Now())
		return err
	})
	return report, err
}

// nothingLost is the answer where legacy has authority for all keys: it needs no log.
func nothingLost(ctx context.Context, flag *registry.Standing, to *rollout.Flag) (*undo.Report, error) {
	return undo.Ask(ctx, nil, nil, undoQuestion(flag, to), time.Now())
}

func undoQuestion(flag *registry.Standing, to *rollout.Flag) undo.Question {
	return undo.Question{Flag: flag.Flag, To: to, Placed: flag.Placed, Crossed: flag.Crossed}
}

// undoCost asks what going back of a flag would lose, where its migration's file is given.
func (m *migrationsAt) undoCost(ctx context.Context, flag *registry.Standing, to *rollout.Flag) (*undo.Report, error) {
	if flag.Crossed.IsZero() {
		return nothingLost(ctx, flag, to)
	}
	for _, file := range m.files {
		one, err := loadMigration(file)
		if err != nil {
			return nil, err
		}
		if one.Name == flag.Rollout.Migration {
			return undoCost(ctx, one, flag, to)
		}
	}
	return nil, fmt.Errorf("migration %s: %w: the keys of its entities are in its file; name it with --migration", flag.Rollout.Migration, errNowhere)
}

func printUndoCost(w io.Writer, l *undo.Report, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(undoLine{"undo_cost", l})
	}
	if l.Since == nil {
		_, err := fmt.Fprintf(w, "%s is at %s: legacy has authority for all keys, and going back loses nothing\n", l.Flag, l.Place)
		return err
	}
	text := fmt.Sprintf("%s is at %s: the target has authority since %s\n%d keys were written there since, and legacy lacks what %d of them are now\n",
		l.Flag, l.Place, l.Since.Format(time.RFC3339), l.Keys, l.Lost)
	if l.Oldest != nil {
		text += fmt.Sprintf("  the oldest since %s\n", l.Oldest.Format(time.RFC3339))
	}
	for _, k := range l.Examples {
		text += fmt.Sprintf("  %s %s\n", k.Entity, inert.Text(fmt.Sprintf("%q", k.Key)))
	}
	text += fmt.Sprintf("legacy was read up to %.1f s ago: what is newer may be on its way\n", float64(l.LagMs)/1000)
	if l.NoReturn != "" {
		text += "there is no way back: " + l.NoReturn + "\n"
	}
	for _, why := range l.Uncertain {
		text += "not certain: " + inert.Line(why) + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
