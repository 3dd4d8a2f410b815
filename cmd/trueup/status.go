package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
)

func newStatus() *cobra.Command {
	var file string
	var watch, asJSON bool
	cmd := &cobra.Command{
		Use:   "status -f migration.yaml",
		Short: "Say whether the stores are equal, how sure that is, and what is open or late",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := loadMigration(file)
			if err != nil {
				return err
			}
			if watch && !asJSON {
				return watchStatus(cmd.Context(), m, cmd.OutOrStdout())
			}
			for {
				s, err := statusOrNothing(m)
				if err != nil {
					return err
				}
				if asJSON {
					err = json.NewEncoder(cmd.OutOrStdout()).Encode(s)
				} else {
					printStatus(cmd.OutOrStdout(), s, time.Now())
				}
				if err != nil {
					return err
				}
				if !watch {
					return s.exit(time.Now())
				}
				if !pause(cmd.Context(), time.Second) {
					return nil
				}
			}
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().BoolVar(&watch, "watch", false, "show it as a screen, again every second; with --json a line a second")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	return cmd
}

// pause waits for d, and returns false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// exit is the exit code of a status.
func (s *statusFile) exit(now time.Time) error {
	unknown := int64(0)
	for _, n := range s.Keys.Unknown {
		unknown += n
	}
	switch {
	case s.Keys.Diverged > 0:
		return exitStatus(exitDiverged)
	case unknown > 0 || s.Keys.Compared == 0 || now.Sub(s.At) > staleAfter || len(s.Problems) > 0:
		return exitStatus(exitInconclusive)
	}
	return nil
}

func printStatus(w io.Writer, s *statusFile, now time.Time) {
	fmt.Fprintf(w, "migration %s, rules %s\nlog       %s\n", s.Migration, s.Rules, s.Log)
	if age := now.Sub(s.At); age > staleAfter {
		fmt.Fprintf(w, "NOT RUNNING: what follows is from %s ago\n", age.Round(time.Second))
	} else {
		fmt.Fprintf(w, "running   process %d, for %s\n", s.PID, now.Sub(s.Started).Round(time.Second))
	}
	answer := "EQUAL as far as compared"
	switch {
	case s.Keys.Diverged > 0:
		answer = "DIVERGED"
	case s.Keys.Compared == 0:
		answer = s.nothing()
	case len(s.Problems) > 0:
		answer = "NOT SURE: see below"
	}
	fmt.Fprintf(w, "\n%s: %d %s compared, %d equal, %d diverged\n", answer, s.Keys.Compared, plural(int(s.Keys.Compared), "key", "keys"), s.Keys.Equal, s.Keys.Diverged)
	for _, reason := range sorted(s.Keys.Unknown) {
		fmt.Fprintf(w, "  unknown (%s): %d\n", reason, s.Keys.Unknown[reason])
	}
	if s.Open != nil && s.Open.Count > 0 {
		fmt.Fprintf(w, "  open for up to %s: \"trueup divergences list --open\" shows them\n", sinceText(s.Open.Since, now))
	}
	fmt.Fprintln(w)
	for _, name := range sorted(s.Sides) {
		side := s.Sides[name]
		fmt.Fprintf(w, "%-7s %s, epoch %d, at %s, complete up to %s (%.1f s ago), %d %s captured\n", name, side.Source, side.Epoch,
			side.Position, side.Frontier, float64(side.LagMs)/1000, side.Changes, plural(int(side.Changes), "change", "changes"))
		if side.Slot != nil {
			fmt.Fprintf(w, "        %s%s\n", inert.Line(side.Slot.String()), seenText(side.Slot, now))
		}
		if side.Binlog != nil {
			fmt.Fprintf(w, "        %s\n", inert.Line(side.Binlog.String()))
		}
		if u := side.UnknownStatements; u != nil && u.Count > 0 {
			fmt.Fprintf(w, "        statements in the binlog that this version does not know: %d; make sure that they changed no mapped table. The latest, at %s: %s\n",
				u.Count, inert.Text(u.Pos), inert.Line(u.Latest))
		}
		for _, f := range side.Warnings {
			fmt.Fprintf(w, "        warning: %s: %s\n          %s\n", inert.Text(f.Subject), inert.Line(f.Detail), inert.Line(f.Remedy))
		}
	}
	for _, name := range sorted(s.Sides) {
		for i := range s.Sides[name].Baseline {
			fmt.Fprintf(w, "rows of %s\n", s.Sides[name].Baseline[i].text(name))
		}
	}
	printCoverage(w, s)
	r := s.Records
	fmt.Fprintf(w, "records %d consumed = %d applied + %d duplicate + %d out of scope + %d quarantined + %d waiting; %d behind\n",
		r.Consumed, r.Applied, r.Duplicate, r.OutOfScope, r.Quarantined, r.Waiting, r.Behind)
	printChangelog(w, s.Changelog)
	printAdvice(w, s)
	if c := s.Compensations; c.Running {
		state := ""
		if c.Paused {
			state = ", PAUSED"
		}
		fmt.Fprintf(w, "repairs %d live%s", c.Live, state)
		for _, result := range sorted(c.Results) {
			fmt.Fprintf(w, ", %d %s", c.Results[result], result)
		}
		fmt.Fprintln(w)
		printHeld(w, &c)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "! %s\n", inert.Line(p))
	}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
