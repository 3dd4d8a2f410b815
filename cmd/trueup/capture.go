package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/schemas"
)

func newCapture() *cobra.Command {
	var o struct {
		file, side, until string
		stdout            bool
	}
	cmd := &cobra.Command{
		Use:   "capture -f migration.yaml --side legacy|target --stdout",
		Short: "Print a side's changes as JSON Lines",
		Long: `Capture prints the committed changes of one side as JSON Lines, with no broker.
It goes on where the last such capture ended; the first one begins at the
store's present position. It has a position (on PostgreSQL: a slot) of its own,
apart from "trueup run".

--until now ends at what is committed when it starts; --until POS at a position;
otherwise it goes on until it is stopped.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !o.stdout {
				return errors.New("capture: say --stdout; to write to the log, use \"trueup run --only capture\"")
			}
			side, err := schemas.ParseSide(o.side)
			if err != nil {
				return fmt.Errorf("capture: --side: %w", err)
			}
			return captureToStdout(cmd, o.file, side, o.until)
		},
	}
	fileFlag(cmd, &o.file)
	cmd.Flags().StringVar(&o.side, "side", "", "legacy or target")
	cmd.Flags().StringVar(&o.until, "until", "", "end at \"now\" or at a position")
	cmd.Flags().BoolVar(&o.stdout, "stdout", false, "print to standard output")
	return cmd
}

func captureToStdout(cmd *cobra.Command, file string, side schemas.Side, until string) (err error) {
	m, err := loadMigration(file)
	if err != nil {
		return err
	}
	rules, err := rulesOf(m)
	if err != nil {
		return err
	}
	if err := m.RequireStores(); err != nil {
		return err
	}
	src, err := newSource(m, rules, side, "_stdout", newLogger(cmd.ErrOrStderr()))
	if err != nil {
		return err
	}
	dir, err := datadir.Claim(filepath.Join(m.DataDir, "stdout-"+side.String()), m.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Release()) }()
	return capture.Print(cmd.Context(), capture.PrintConfig{Side: side, Source: sourceName(m, side), StatePath: dir.Path("capture.json"),
		Until: until, Rules: rules.Version}, src, cmd.OutOrStdout())
}
