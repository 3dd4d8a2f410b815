package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/undo"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// undoSlack is how long before the target got authority the log is read from: both sides'
// part of a write stands in it by then.
const undoSlack = 10 * time.Minute

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
		line, err := undoCost(cmd.Context(), m, flag, time.Now())
		if err != nil {
			return err
		}
		if err := printUndoCost(cmd.OutOrStdout(), line, asJSON); err != nil {
			return err
		}
		switch {
		case line.Lost > 0 || line.NoReturn != "":
			return exitStatus(exitDiverged)
		case len(line.Uncertain) > 0:
			return exitStatus(exitInconclusive)
		}
		return nil
	}
	return cmd
}

// undoLine is an undo.Cost on a line.
type undoLine struct {
	Kind  string     `json:"kind"`
	Flag  string     `json:"flag"`
	Place string     `json:"place"`
	Since *time.Time `json:"since,omitempty"` // the target has authority for some keys; nil: it has for none
	undo.Cost
	LagMs int64 `json:"legacy_lag_ms"` // how old the frontier is
	// NoReturn says why there is no way back; empty: there is one.
	NoReturn  string   `json:"no_return,omitempty"`
	Uncertain []string `json:"uncertain,omitempty"` // why there may be more
}

func undoCost(ctx context.Context, m *schemas.Migration, flag *registry.Standing, now time.Time) (*undoLine, error) {
	line := &undoLine{Kind: "undo_cost", Flag: flag.Name, Place: flag.Flag.Place().String(), Cost: undo.Cost{ByEntity: map[string]int64{}, Examples: []undo.Key{}}}
	if flag.Flag.Place().Stage == schemas.StageComplete {
		line.NoReturn = "legacy is not written since " + flag.Placed.Format(time.RFC3339)
	}
	if flag.Crossed.IsZero() {
		return line, nil
	}
	line.Since = &flag.Crossed
	rules, err := rulesOf(m)
	if err != nil {
		return nil, err
	}
	tally := undo.NewTally(flag.Flag, rules, flag.Crossed)
	err = withLogOf(ctx, m, func(log *stream.Log) error { return line.read(ctx, log, tally) })
	if err != nil {
		return nil, err
	}
	line.Cost = tally.Cost()
	for i, k := range line.Examples {
		line.Examples[i].Key = rules.HideKeyOf(k.Entity, k.Key)
	}
	for _, entity := range line.Truncated {
		line.Uncertain = append(line.Uncertain, entity+" was emptied at once meanwhile")
	}
	if line.Frontier.IsZero() {
		line.Uncertain = append(line.Uncertain, "the log does not say how far legacy was read")
	} else {
		line.LagMs = max(now.Sub(line.Frontier).Milliseconds(), 0)
	}
	return line, nil
}

// read gives the tally what the log has since, and says what it has not.
func (l *undoLine) read(ctx context.Context, log *stream.Log, tally *undo.Tally) error {
	topic := log.Topics().Changes
	from, err := log.OffsetsAt(ctx, topic, l.Since.Add(-undoSlack))
	if err != nil {
		return err
	}
	starts, err := log.StartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	ends, err := log.EndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	bad := 0
	for p := range from {
		if from[p] <= starts[p] && starts[p] > 0 {
			l.Uncertain = append(l.Uncertain, fmt.Sprintf("of partition %d the log no longer has all since %s", p, l.Since.Format(time.RFC3339)))
		}
		err := eachRecord(ctx, log, []offsets{{int32(p), from[p], ends[p]}}, func(r *schemas.Record) error { tally.Record(r); return nil },
			func(int32, int64, error) { bad++ })
		if err != nil {
			return err
		}
		tally.Close()
	}
	if bad > 0 {
		l.Uncertain = append(l.Uncertain, fmt.Sprintf("%d records cannot be read; `trueup log cat` names them", bad))
	}
	return nil
}

func printUndoCost(w io.Writer, l *undoLine, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(l)
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
		text += "not certain: " + inert.Text(why) + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
