package main

import (
	"context"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func newCompensations() *cobra.Command {
	var file, why string
	var asJSON bool
	cmd := &cobra.Command{Use: "compensations", Short: "List repairs, and decide on them"}
	pf := cmd.PersistentFlags()
	pf.StringVarP(&file, "file", "f", "", "the migration.yaml")
	pf.BoolVar(&asJSON, "json", false, "print JSON Lines")
	if err := cmd.MarkPersistentFlagRequired("file"); err != nil {
		panic(err)
	}
	cmd.AddCommand(&cobra.Command{Use: "list", Short: "List repairs, each with what became of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listCompensations(cmd, file, asJSON) }})
	for _, one := range []struct {
		action schemas.Action
		use    string
		short  string
	}{
		{schemas.Approve, "approve ID", "Have a proposed repair written"},
		{schemas.Reject, "reject ID", "Have a proposed repair dropped"},
		{schemas.Pause, "pause", "Write no repair from now on"},
		{schemas.Resume, "resume", "Write repairs again"},
	} {
		args := cobra.NoArgs
		if strings.HasSuffix(one.use, " ID") {
			args = cobra.ExactArgs(1)
		}
		c := &cobra.Command{Use: one.use, Short: one.short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
			return withLog(cmd.Context(), file, func(log *stream.Log) error {
				d := schemas.Decision{Action: one.action, Why: why, At: schemas.MicrosOf(time.Now()), By: userName()}
				if len(args) > 0 {
					id, err := compensationID(cmd.Context(), log, args[0])
					if err != nil {
						return err
					}
					d.CompensationID = id
				}
				return decide(cmd.Context(), log, d)
			})
		}}
		c.Flags().StringVar(&why, "why", "", "the reason, for the record")
		cmd.AddCommand(c)
	}
	return cmd
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// compensationID completes the beginning of an id.
func compensationID(ctx context.Context, log *stream.Log, prefix string) (string, error) {
	found := map[string]bool{}
	err := readEvents(ctx, log, log.Topics().Compensations, func(e *schemas.Event) {
		if c := e.Compensation; c != nil && strings.HasPrefix(c.ID, prefix) {
			found[c.ID] = true
		}
	})
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("compensation %s: %d begin so; \"trueup compensations list\" shows them", prefix, len(found))
	}
	return sorted(found)[0], nil
}

// decide writes a decision where the running process reads it.
func decide(ctx context.Context, log *stream.Log, d schemas.Decision) error {
	w, err := log.Writer()
	if err != nil {
		return err
	}
	defer w.Close()
	r := stream.Record{Topic: log.Topics().Compensations, Key: []byte(d.CompensationID), Value: schemas.AppendDecisionJSON(nil, &d)}
	return w.Write(ctx, r)
}

func listCompensations(cmd *cobra.Command, file string, asJSON bool) error {
	ctx := cmd.Context()
	return withLog(ctx, file, func(log *stream.Log) error {
		var order []string
		byID := map[string][]*schemas.Event{}
		note := func(id string, e *schemas.Event) {
			if _, ok := byID[id]; !ok {
				order = append(order, id)
			}
			byID[id] = append(byID[id], e)
		}
		err := readEvents(ctx, log, log.Topics().Compensations, func(e *schemas.Event) {
			switch {
			case e.Compensation != nil:
				note(e.Compensation.ID, e)
			case e.Decision != nil:
				note(e.Decision.CompensationID, e)
			}
		})
		if err != nil {
			return err
		}
		err = readEvents(ctx, log, log.Topics().Outcomes, func(e *schemas.Event) {
			if e.Outcome != nil {
				note(e.Outcome.CompensationID, e)
			}
		})
		if err != nil {
			return err
		}
		for _, id := range order {
			for _, e := range byID[id] {
				writeEvent(cmd.OutOrStdout(), e, asJSON)
			}
		}
		return nil
	})
}
