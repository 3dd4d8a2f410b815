package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

func newRollout() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "How far a migration has moved, for each key",
		Long: `A rollout is a file of kind Rollout that stands where the code does: the stage
that a migration is to be at, and at stage ramp the target's share of the keys.
What stands is in a registry: events on a topic of their own, of who moved which
flag, why and when. It is on Kafka (--brokers), or in a directory of its own.`,
	}
	cmd.AddCommand(newRolloutCheck(), newRolloutEval(), newRolloutGate(), newRolloutPlan(), newRolloutApply(), newRolloutKill(),
		newRolloutRevive(), newRolloutList(), newRolloutRouters(), newRolloutHistory(), newRolloutGuard(), newRolloutRehearse(), newRolloutUndoCost(), newRolloutAudit(),
		newRolloutApprove(), newRolloutObject(), newRolloutResolve(), newRolloutDecision(), newRolloutTimeline())
	return cmd
}

func newRolloutCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong in a rollout's file, and what it means",
		Long: `Check reads a rollout's file. What is wrong comes at once, with line and column,
and it exits 3; otherwise it says what the file means, and exits 0. It says, too,
if a temporary rollout has outlived its last day.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := schemas.LoadRollout(args[0])
			if err != nil {
				return err
			}
			return printRollout(cmd.OutOrStdout(), r, time.Now(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	return cmd
}

// rolloutLine is a rollout's definition on a line.
type rolloutLine struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Owner     string `json:"owner"`
	Controls  string `json:"controls"`
	Intent    string `json:"intent"`
	Expires   string `json:"expires,omitempty"`
	Stale     bool   `json:"stale"`
	Migration string `json:"migration,omitempty"`
	Stage     string `json:"stage"`
	Ramp      string `json:"ramp,omitempty"`
	SafeStage string `json:"safe_stage"`
	Pins      int    `json:"pins"`
	// Next is where the graph lets the rollout go from its stage.
	Next []schemas.RolloutStage `json:"next"`
}

func printRollout(w io.Writer, r *schemas.Rollout, now time.Time, asJSON bool) error {
	line := rolloutLine{Kind: "rollout", Name: r.Name, Owner: r.Owner, Controls: r.Controls, Intent: r.Intent, Stale: r.Expired(now),
		Migration: r.Migration, Stage: r.Stage.String(), SafeStage: r.SafeStage.String(), Pins: len(r.Pins), Next: rollout.Next(r.Stage)}
	if !r.Expires.IsZero() {
		line.Expires = r.Expires.Format(time.DateOnly)
	}
	if r.Stage == schemas.StageRamp {
		line.Ramp = r.Ramp.String()
	}
	if asJSON {
		return json.NewEncoder(w).Encode(line)
	}
	place := rollout.Ready(r).Place()
	_, err := fmt.Fprintf(w, "%s (%s): %s, %s, at %s, safe stage %s\n", line.Name, line.Owner, line.Controls, line.Intent, place, line.SafeStage)
	if err == nil && line.Stale {
		_, err = fmt.Fprintf(w, "stale: its last day was %s; %s decides whether it goes or stays\n", line.Expires, line.Owner)
	}
	return err
}

func newRolloutEval() *cobra.Command {
	var key []string
	var stale, asJSON bool
	cmd := &cobra.Command{
		Use:   "eval FILE --key TEXT",
		Short: "Say how a key is read and written under a rollout's file",
		Long: `Eval answers for one key as every process does that follows this file: from the
file and the key alone. A key of several parts is given part by part, in their
order: --key tenant-a --key 17.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := schemas.LoadRollout(args[0])
			if err != nil {
				return err
			}
			evaluate := rollout.Evaluate
			if stale {
				evaluate = rollout.EvaluateStale
			}
			return printDecision(cmd.OutOrStdout(), r.Name, key, evaluate(rollout.Ready(r), key), asJSON)
		},
	}
	cmd.Flags().StringArrayVar(&key, "key", nil, "a part of the key, as its canonical text")
	cmd.Flags().BoolVar(&stale, "stale", false, "answer as a process that no longer knows the stage")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	if err := cmd.MarkFlagRequired("key"); err != nil {
		panic(err)
	}
	return cmd
}

// decisionLine is a rollout.Decision on a line.
type decisionLine struct {
	Kind      string   `json:"kind"`
	Rollout   string   `json:"rollout"`
	Key       []string `json:"key"`
	Stage     string   `json:"stage"`
	Reason    string   `json:"reason"`
	Bucket    int      `json:"bucket"`
	Authority string   `json:"authority"`
	Reads     string   `json:"reads"`
	rollout.Axes
}

func printDecision(w io.Writer, name string, key []string, d rollout.Decision, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(decisionLine{"evaluation", name, key, d.Stage.String(), string(d.Reason), d.Bucket,
			d.Authority().String(), d.Axes.Reads.String(), d.Axes})
	}
	_, err := fmt.Fprintf(w, "%s %s: authority %s (reason: %s)\nwrites %s, reads %s, compares %s, syncs %s\nstage %s, bucket %d of %d\n",
		name, strings.Join(key, " "), d.Authority(), d.Reason, d.Axes.Writes, d.Axes.Reads, d.Axes.Compare, d.Axes.Sync,
		d.Stage, d.Bucket, schemas.Buckets)
	return err
}
