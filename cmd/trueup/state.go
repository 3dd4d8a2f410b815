package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/schemas"
)

func newState() *cobra.Command {
	cmd := &cobra.Command{Use: "state", Short: "Copy the comparison's state, and take partitions of it to another host"}
	cmd.AddCommand(newCheckpoint(), newRestore())
	return cmd
}

func newCheckpoint() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "checkpoint -f migration.yaml DIR",
		Short: "Copy the comparison's state to a new directory",
		Long: `Checkpoint copies the state of all partitions that this data directory has to DIR,
which must not be there. The process that compares has to be stopped meanwhile:
files are linked where they can be, so that it takes seconds.

A state that is lost is made anew from the log, all of it. From a checkpoint it
goes on where that was made.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withState(file, hasRun, func(m *schemas.Migration, path string) error {
				id, err := state.ReadIdentity(path)
				if errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("checkpoint: %s has no state: nothing was compared there", m.DataDir)
				}
				if err != nil {
					return err
				}
				db, err := state.Open(state.Config{Dir: path, Identity: id})
				if err != nil {
					return err
				}
				have, err := db.Partitions()
				err = errors.Join(err, db.Checkpoint(id, filepath.Clean(args[0])), db.Close())
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s holds %s\n", args[0], partitionsText(have))
				return nil
			})
		},
	}
	fileFlag(cmd, &file)
	return cmd
}

func newRestore() *cobra.Command {
	var file string
	var partitions []int32
	var replace bool
	cmd := &cobra.Command{
		Use:   "restore -f migration.yaml DIR",
		Short: "Take partitions of a checkpoint into the comparison's state",
		Long: `Restore takes partitions of a checkpoint into this data directory's state: all that
it has, or those that --partition names. The process that compares has to be
stopped meanwhile. What came to the log since the checkpoint is read when it
runs again, and nothing is published twice.

A partition of which this state has something is refused without --replace.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			isOurs := func(m *schemas.Migration) error {
				id, err := state.ReadIdentity(args[0])
				switch {
				case errors.Is(err, fs.ErrNotExist):
					return fmt.Errorf("restore: %s is no checkpoint: \"trueup state checkpoint\" makes one, where the partitions were compared", args[0])
				case err != nil:
					return err
				case id.Migration != m.Name:
					return fmt.Errorf("checkpoint %s is of migration %q, this is %q", args[0], id.Migration, m.Name)
				}
				return nil
			}
			return withState(file, isOurs, func(m *schemas.Migration, path string) (err error) {
				from, id, err := state.OpenCheckpoint(args[0])
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, from.Close()) }()
				db, err := state.Open(state.Config{Dir: path, Identity: id})
				if err != nil {
					return err
				}
				restored, err := db.Restore(from, partitions, replace)
				if err = errors.Join(err, db.Close()); errors.Is(err, state.ErrHasState) {
					return fmt.Errorf("%w; --replace throws that away", err)
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "restored %s\n", partitionsText(restored))
				return nil
			})
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().Int32SliceVar(&partitions, "partition", nil, "only these")
	cmd.Flags().BoolVar(&replace, "replace", false, "throw away what this state has of them")
	return cmd
}

// withState claims the migration's data directory, so that nothing runs there, if
// nothing speaks against it before it is made.
func withState(file string, before func(*schemas.Migration) error, do func(m *schemas.Migration, path string) error) error {
	m, err := loadMigration(file)
	if err != nil {
		return err
	}
	if err := before(m); err != nil {
		return err
	}
	dir, err := datadir.Claim(m.DataDir, m.Name)
	if err != nil {
		return err
	}
	return errors.Join(do(m, dir.Path("state")), dir.Release())
}

// hasRun refuses a data directory that nothing was ever done in.
func hasRun(m *schemas.Migration) error {
	_, err := os.Stat(m.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("checkpoint: %s has no state: nothing was compared there", m.DataDir)
	}
	return err
}

func partitionsText(partitions []int32) string {
	if len(partitions) == 0 {
		return "no partition"
	}
	return "partitions " + strings.Trim(fmt.Sprint(partitions), "[]")
}
