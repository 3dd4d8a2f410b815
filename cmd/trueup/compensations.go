package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/compensate"
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
	var sql bool
	list := &cobra.Command{Use: "list -f migration.yaml", Short: "List repairs, each with what became of it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listCompensations(cmd, file, "", asJSON, sql) }}
	show := &cobra.Command{Use: "show ID -f migration.yaml", Short: "Show one repair: its SQL, its effect, and what became of it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return listCompensations(cmd, file, args[0], asJSON, true)
		}}
	list.Flags().BoolVar(&sql, "sql", false, "with the statement of each and what is bound to it; the store is asked for its columns, and nothing is changed")
	cmd.AddCommand(list, show, &cobra.Command{Use: "status -f migration.yaml", Short: "Say what the rules did, what is held, and how to let it go", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return showGuards(cmd, file, asJSON) }})
	for _, one := range []struct {
		action schemas.Action
		use    string
		short  string
		args   cobra.PositionalArgs
	}{
		{schemas.Approve, "approve ID -f migration.yaml", "Have a proposed repair written", cobra.ExactArgs(1)},
		{schemas.Reject, "reject ID -f migration.yaml", "Have a proposed repair dropped", cobra.ExactArgs(1)},
		{schemas.Undo, "undo ID -f migration.yaml", "Take a repair back, if its row is still as it left it", cobra.ExactArgs(1)},
		{schemas.Pause, "pause -f migration.yaml", "Write no repair from now on", cobra.NoArgs},
		{schemas.Resume, "resume [BREAKER] -f migration.yaml", "Write repairs again, after a pause or a breaker", cobra.MaximumNArgs(1)},
	} {
		c := &cobra.Command{Use: one.use, Short: one.short, Args: one.args, RunE: func(cmd *cobra.Command, args []string) error {
			m, err := loadMigration(file)
			if err != nil {
				return err
			}
			key, err := decisionKey(m)
			if err != nil {
				return err
			}
			rules, err := m.Rules()
			if err != nil {
				return err
			}
			return withWritableLog(cmd.Context(), m, func(log *stream.Log) error {
				d := schemas.Decision{Action: one.action, Why: why, At: schemas.MicrosOf(time.Now()), By: userName()}
				switch {
				case len(args) > 0 && one.action == schemas.Resume:
					d.Scope = args[0]
				case len(args) > 0:
					id, err := compensationID(cmd.Context(), log, args[0])
					if err != nil {
						return err
					}
					d.CompensationID = id
				}
				return decide(cmd.Context(), log, rules, key, d)
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
	switch len(found) {
	case 0:
		return "", fmt.Errorf("compensation %s: there is none in topic %s; \"trueup compensations list\" shows all", prefix, log.Topics().Compensations)
	case 1:
	default:
		return "", fmt.Errorf("compensation %s: the ids of %d begin so (%s): give more of it", prefix, len(found), strings.Join(sorted(found)[:min(len(found), 5)], ", "))
	}
	return sorted(found)[0], nil
}

// decisionKey is what makes a decision one: who may read it may decide.
func decisionKey(m *schemas.Migration) (*compensate.Key, error) {
	path := keyPath(m)
	key, err := compensate.OpenKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("decisions are signed with the key of repairs, and %s is not there: decide where \"trueup run\" makes repairs, or copy the file from there", path)
	}
	return key, err
}

// decide writes a decision where the running process reads it.
func decide(ctx context.Context, log *stream.Log, rules *schemas.Rules, key *compensate.Key, d schemas.Decision) error {
	key.SignDecision(&d)
	w, err := log.Writer()
	if err != nil {
		return err
	}
	defer w.Close()
	r := stream.Record{Topic: log.Topics().Compensations, Key: []byte(d.CompensationID + d.Scope), Value: schemas.AppendDecisionJSON(nil, &d)}
	for _, h := range schemas.CloudEventHeaders(rules, &schemas.Event{Decision: &d}) {
		r.Headers = append(r.Headers, stream.Header{Key: h.Key, Value: h.Value})
	}
	return w.Write(ctx, r)
}

// listCompensations prints the repairs whose ids begin with a prefix.
func listCompensations(cmd *cobra.Command, file, prefix string, asJSON, sql bool) error {
	ctx := cmd.Context()
	m, err := loadMigration(file)
	if err != nil {
		return err
	}
	return withLogOf(ctx, m, func(log *stream.Log) error {
		var order []string
		byID := map[string][]*schemas.Event{}
		note := func(id string, e *schemas.Event) {
			if !strings.HasPrefix(id, prefix) {
				return
			}
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
		if prefix != "" && len(order) == 0 {
			return fmt.Errorf("compensation %s: there is none in topic %s; \"trueup compensations list\" shows all", prefix, log.Topics().Compensations)
		}
		var run dryRun
		if sql {
			run = dryRun{m: m}
			defer run.close()
		}
		for _, id := range order {
			for _, e := range byID[id] {
				writeEvent(cmd.OutOrStdout(), e, asJSON)
				if sql && e.Compensation != nil {
					if err := run.print(ctx, cmd.OutOrStdout(), e.Compensation, asJSON); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}
