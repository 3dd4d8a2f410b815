package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
)

// showGuards prints what the running process says of its rules and guards.
func showGuards(cmd *cobra.Command, file string, asJSON bool) error {
	m, err := loadMigration(file)
	if err != nil {
		return err
	}
	s, err := statusOrNothing(m)
	if err != nil {
		return fmt.Errorf("compensations %w", err)
	}
	c, w := &s.Compensations, cmd.OutOrStdout()
	if asJSON {
		return json.NewEncoder(w).Encode(c)
	}
	if age := time.Since(s.At); age > staleAfter {
		fmt.Fprintf(w, "NOT RUNNING: what follows is from %s ago\n", age.Round(time.Second))
	}
	state := "writing"
	if c.Paused {
		state = "PAUSED; trueup compensations resume"
	}
	fmt.Fprintf(w, "%s; %d live, %d of them wait for a person\n", state, c.Live, c.Waiting)
	for _, result := range sorted(c.Results) {
		fmt.Fprintf(w, "  %d %s\n", c.Results[result], result)
	}
	fmt.Fprintln(w, "rules, and how many events each was chosen for:")
	for _, r := range c.Rules {
		fmt.Fprintf(w, "  %-16s %-24s %-16s %-8s %d\n", r.Entity, r.Rule, r.Policy, r.Mode, r.Hits)
	}
	printHeld(w, c)
	for _, b := range c.Breakers {
		fmt.Fprintf(w, "! breaker %s, open since %s: %s\n  %s\n", inert.Text(b.ID), b.Since, inert.Line(b.Reason), inert.Line(b.WayOut))
	}
	return nil
}

// printHeld says what keeps repairs from being written.
func printHeld(w io.Writer, c *compensationStatus) {
	for _, why := range sorted(c.Held) {
		fmt.Fprintf(w, "  %d held: %s\n", c.Held[why], inert.Line(why))
	}
}
