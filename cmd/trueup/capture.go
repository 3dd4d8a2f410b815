package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
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

--until now ends at what is committed when it starts; --until POS at a position,
as "pos" in the log or as the server says it (PostgreSQL: 16/B374D848, MySQL and
MariaDB: binlog.000042:1234); otherwise it goes on until it is stopped.`,
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
	if until, err = untilPos(m, side, until); err != nil {
		return fmt.Errorf("capture: --until %w, or \"now\"", err)
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

// untilPos is the pos at which a capture of a side that was asked for until ends.
func untilPos(m *schemas.Migration, side schemas.Side, until string) (pos string, err error) {
	switch {
	case until == "" || until == "now":
		return until, nil
	case m.Store(side).Driver == schemas.Postgres:
		return postgres.ParseUntil(until)
	}
	return mysql.ParseUntil(until)
}
