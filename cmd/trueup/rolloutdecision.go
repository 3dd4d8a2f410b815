package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/rollout/decisions"
	"github.com/trueup-io/trueup/rollout/registry"
)

func newRolloutDecision() *cobra.Command {
	var epoch uint64
	var out string
	cmd := &cobra.Command{
		Use:   "decision NAME",
		Short: "Write what was decided of a flag, as decision records",
		Long: `Decision writes a record in the form of MADR 4 for each event that moved a flag:
what the gate said of what was measured, who agreed, who objected, and where that
stands in the registry. The same events give the same bytes.`,
		Args: cobra.ExactArgs(1),
	}
	at := registryFlags(cmd)
	cmd.Flags().Uint64Var(&epoch, "epoch", 0, "only of this epoch; all without")
	cmd.Flags().StringVar(&out, "out", "", "a directory for a file for each; printed without")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.read(cmd.Context(), func(store *registry.Store) error {
			found := 0
			if store != nil {
				reader := decisions.NewReader(args[0])
				err := store.Each(cmd.Context(), func(value []byte, o registry.Outcome) error {
					d, err := reader.Add(o.Offset, value)
					if err != nil || d == nil || epoch != 0 && d.Is.Epoch != epoch {
						return err
					}
					found++
					return writeDecision(cmd.OutOrStdout(), out, d)
				})
				if err != nil {
					return err
				}
			}
			if found == 0 {
				return fmt.Errorf("%s: the registry has no such decision of it", args[0])
			}
			return nil
		})
	}
	return cmd
}

// writeDecision prints a record, or writes it to a file of its own: dir/NAME-RECORD.md.
func writeDecision(w io.Writer, dir string, d *decisions.Decision) error {
	if dir == "" {
		_, err := fmt.Fprintln(w, d.Markdown())
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("decision records: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-%06d.md", d.Flag, d.Offset))
	if err := os.WriteFile(path, []byte(d.Markdown()), 0o600); err != nil {
		return fmt.Errorf("decision record: %w", err)
	}
	_, err := fmt.Fprintln(w, path)
	return err
}
