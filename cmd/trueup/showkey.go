package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/story"
	"github.com/trueup-io/trueup/stream"
)

func newShowKey() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ENTITY KEY... -f migration.yaml",
		Short: "Say why a key is equal, diverged or unknown: which versions of both sides were paired, by what, and how far it is proven",
		Long: `Show judges one key anew, from what the log has of it: which version of the
follower is which of the authority, by a write id that both carry or by what
their rows hold, under which rules; since when each side is covered, up to when
it is complete; and both histories side by side in time. No store is asked.

KEY is the key as the entity's canonical fields have it, a word for each field:
trueup show order 42, trueup show line 42 1.

It reads the key's partition from its beginning. What the log no longer has, it
says. It exits 0 if the key is equal, 1 if it diverges, 2 if that is not known.`,
		Args: cobra.MatchAll(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := loadMigration(file)
			if err != nil {
				return err
			}
			rules, err := rulesOf(m)
			if err != nil {
				return err
			}
			var k *story.Key
			err = withLogOf(cmd.Context(), m, func(log *stream.Log) error {
				said := time.Now()
				k, err = story.ReadKey(cmd.Context(), story.Config{Log: log, Rules: rules, Migration: m.Name, Owner: m.Owner, Progress: func(done, total int64) {
					if now := time.Now(); now.Sub(said) > 2*time.Second {
						said = now
						fmt.Fprintf(cmd.ErrOrStderr(), "trueup: show: %d of %d records of its partition read\n", done, total)
					}
				}}, args[0], args[1:])
				return err
			})
			if err != nil {
				return fmt.Errorf("show: %w", err)
			}
			if asJSON {
				err = k.JSON(cmd.OutOrStdout())
			} else {
				err = k.Text(cmd.OutOrStdout(), cells(cmd.OutOrStdout()))
			}
			switch {
			case err != nil:
				return err
			case k.Verdict == story.VerdictDiverged:
				return exitStatus(exitDiverged)
			case k.Verdict != story.VerdictEqual:
				return exitStatus(exitInconclusive)
			}
			return nil
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	return cmd
}
