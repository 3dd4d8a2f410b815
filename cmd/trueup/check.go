package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func newCheck() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check -f migration.yaml",
		Short: "Say what stores, broker and rights lack, before anything runs",
		Long: `Check looks at both stores, the log, the data directory and the webhooks, and
changes nothing. Each finding comes with its remedy. It exits 0 if everything
needed is there, 3 if something is not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := loadMigration(file)
			if err != nil {
				return err
			}
			findings, err := checkAll(cmd.Context(), m)
			if err != nil {
				return err
			}
			failed := 0
			for _, f := range findings {
				if err := printFinding(cmd.OutOrStdout(), f, asJSON); err != nil {
					return err
				}
				if f.Severity == capture.Fail {
					failed++
				}
			}
			if failed > 0 {
				return fmt.Errorf("check: %d %s not met; nothing was started or changed", failed, plural(failed, "requirement is", "requirements are"))
			}
			return nil
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	return cmd
}

// finding is a capture.Finding and where it was made.
type finding struct {
	Kind  string `json:"kind"`
	Where string `json:"where"` // legacy, target, log, data, events
	capture.Finding
}

// checkAll looks at everything. An error is something that keeps it from looking.
func checkAll(ctx context.Context, m *schemas.Migration) ([]finding, error) {
	if err := m.RequireStores(); err != nil {
		return nil, err
	}
	rules, err := rulesOf(m)
	if err != nil {
		return nil, err
	}
	var out []finding
	add := func(where string, found ...capture.Finding) {
		for _, f := range found {
			out = append(out, finding{"finding", where, f})
		}
	}
	for _, side := range schemas.Sides {
		found, err := checkStore(ctx, m, rules, side)
		if err != nil {
			found = []capture.Finding{{Severity: capture.Fail, Subject: "connection", Detail: err.Error()}}
		}
		add(side.String(), found...)
		if repaired(rules, side) && err == nil {
			add(side.String(), checkRepairs(ctx, m, rules, side)...)
		}
	}
	add(schemas.Target.String(), checkSame(m, rules)...)
	for _, g := range rules.RepairGaps() {
		add(g.Side.String(), gapFinding(&g))
	}
	add("log", checkLog(ctx, m))
	add("data", checkDataDir(m))
	add("events", checkWebhooks(ctx, m, lookUp)...)
	return out, nil
}

func checkDataDir(m *schemas.Migration) capture.Finding {
	f := capture.Finding{Severity: capture.OK, Subject: "directory", Detail: m.DataDir + " is free or this migration's"}
	owner, err := datadir.Owner(m.DataDir)
	switch {
	case err != nil:
		f = capture.Finding{Severity: capture.Fail, Subject: "directory", Detail: err.Error()}
	case owner != "" && owner != m.Name:
		f = capture.Finding{Severity: capture.Fail, Subject: "directory",
			Detail: fmt.Sprintf("%s belongs to migration %q", m.DataDir, owner), Remedy: "point dataDir elsewhere"}
	}
	return f
}

func checkLog(ctx context.Context, m *schemas.Migration) capture.Finding {
	cfg := logConfig(m, nil)
	cfg.Changelog = m.Log.Changelog
	log, err := stream.Connect(ctx, cfg)
	what := "brokers answer; the topics will be created"
	if err == nil {
		what = fmt.Sprintf("%s, %d partitions", log.Describe(), log.Partitions())
		err = log.Close()
	}
	if len(m.Log.Brokers) == 0 {
		what = "embedded broker, a single copy on this machine's disk"
	}
	if err != nil && !errors.Is(err, stream.ErrNoTopic) && !errors.Is(err, stream.ErrNotRunning) {
		return capture.Finding{Severity: capture.Fail, Subject: "broker", Detail: err.Error()}
	}
	return capture.Finding{Severity: capture.OK, Subject: "broker", Detail: what}
}

func printFinding(w io.Writer, f finding, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(f)
	}
	mark := map[string]string{capture.OK: "ok  ", capture.Warn: "warn", capture.Fail: "FAIL"}[f.Severity]
	if _, err := fmt.Fprintf(w, "%s  %-7s %s: %s\n", mark, f.Where, f.Subject, below(f.Detail)); err != nil {
		return err
	}
	if f.Remedy != "" {
		if _, err := fmt.Fprintf(w, "      %s\n", below(f.Remedy)); err != nil {
			return err
		}
	}
	return nil
}

// below has what follows a finding's first line stand under it: SQL has several.
func below(text string) string { return strings.ReplaceAll(text, "\n", "\n      ") }
