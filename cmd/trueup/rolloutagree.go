package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/rollout/registry"
)

// said writes what somebody says to the flags of a registry, and prints how they stand.
func (at *registryAt) said(cmd *cobra.Command, by *author, asJSON bool, changes ...registry.Change) error {
	return at.saidOf(cmd, by, asJSON, func(*registry.State) error { return nil }, changes...)
}

// saidOf is said for words that need to know what stands; ready completes the changes.
func (at *registryAt) saidOf(cmd *cobra.Command, by *author, asJSON bool, ready func(*registry.State) error, changes ...registry.Change) error {
	return at.write(cmd.Context(), func(store *registry.Store) error {
		state, err := store.Load(cmd.Context())
		if err != nil {
			return err
		}
		if err := ready(state); err != nil {
			return err
		}
		for i := range changes {
			if f := state.Flag(changes[i].Flag); f != nil && changes[i].Op == registry.Approve {
				changes[i].Base = f.Revision
			}
		}
		event := by.event(changes...)
		if _, err := state.Decide(&event); err != nil {
			return fmt.Errorf("%w; nothing was changed", err)
		}
		if state, _, err = store.Submit(cmd.Context(), event); err != nil {
			return explained(err)
		}
		var flags []*registry.Standing
		for _, c := range changes {
			flags = append(flags, state.Flag(c.Flag))
		}
		return printStanding(cmd.OutOrStdout(), flags, asJSON)
	})
}

func newRolloutApprove() *cobra.Command {
	var files, revivals, without []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "approve (-f FILE | --revive NAME)... --why TEXT",
		Short: "Say that somebody else may make files stand",
		Long: `Approve gives a word for files as they are, on what stands now, or for the revival
of a killed flag. It counts for whoever else applies them: not when the files or
what stands have changed, when a gate did not pass since, or when it has grown old
(governance in the flag's file).

Where a step forward does not fit what is there, it is looked at as by plan, printed,
and kept with the approval: what is found later is not approved by it.`,
		Args: cobra.NoArgs,
	}
	at, by := registryFlags(cmd), authorFlags(cmd)
	look := consumersFlag(cmd, migrationsFlag(cmd, at))
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "a file of kind Rollout; may be given more than once")
	cmd.Flags().StringArrayVar(&revivals, "revive", nil, "a killed flag that may be revived")
	cmd.Flags().StringArrayVar(&without, "without-evidence", nil, "a flag that may go forward though nothing was measured")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.MarkFlagsOneRequired("file", "revive")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		definitions, err := loadDefinitions(files)
		if err != nil {
			return err
		}
		var changes []registry.Change
		for _, d := range definitions {
			changes = append(changes, registry.Change{Flag: d.Rollout.Name, Op: registry.Approve, Definition: d.Source})
		}
		for _, name := range revivals {
			changes = append(changes, registry.Change{Flag: name, Op: registry.Approve})
		}
		for i := range changes {
			changes[i].WithoutEvidence = slices.Contains(without, changes[i].Flag)
		}
		return at.saidOf(cmd, by, asJSON, func(state *registry.State) error {
			plan, err := registry.NewPlan(state, definitions, time.Now())
			if err != nil {
				return err
			}
			reports, err := look.attach(cmd.Context(), plan, definitions, changes)
			if err != nil {
				return err
			}
			return printReports(cmd.OutOrStdout(), reports, asJSON)
		}, changes...)
	}
	return cmd
}

func newRolloutObject() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "object NAME --why TEXT",
		Short: "Hold a flag where it is until that is resolved",
		Long: `Object holds a flag: it does not go forward until the objection is resolved. It can
go back, be killed and be changed otherwise.`,
		Args: cobra.ExactArgs(1),
	}
	at, by := registryFlags(cmd), authorFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.said(cmd, by, asJSON, registry.Change{Flag: args[0], Op: registry.Object})
	}
	return cmd
}

func newRolloutResolve() *cobra.Command {
	var objection string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "resolve NAME --objection ID --why TEXT",
		Short: "End an objection",
		Args:  cobra.ExactArgs(1),
	}
	at, by := registryFlags(cmd), authorFlags(cmd)
	cmd.Flags().StringVar(&objection, "objection", "", "its id, as list has it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	if err := cmd.MarkFlagRequired("objection"); err != nil {
		panic(err)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.said(cmd, by, asJSON, registry.Change{Flag: args[0], Op: registry.Resolve, Objection: objection})
	}
	return cmd
}
