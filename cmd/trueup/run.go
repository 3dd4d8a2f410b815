package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/memory"
	"github.com/trueup-io/trueup/schemas"
)

func newRun() *cobra.Command {
	var file, only, listen, debug, otlp, logFormat, logLevel string
	var newEpoch, resume []string
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "run -f migration.yaml",
		Short: "Capture, compare and repair until stopped",
		Long: `Run captures both stores, compares them, and handles divergences as the
migration.yaml says. It checks first what stores, log and rights lack, as "trueup
check" does, and starts nothing if something is missing.

The first start takes the stores' present positions. Later ones go on where the
last one ended, and prove that nothing is missing in between; where that cannot
be proven the side stops, and says what to do.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := loadMigration(file)
			if err != nil {
				return err
			}
			log, err := newLoggerAs(cmd.ErrOrStderr(), logFormat, logLevel)
			if err != nil {
				return err
			}
			cfg := pipelineConfig{migration: m, newEpoch: map[schemas.Side]bool{}, resume: resume, listen: listen, debug: debug, otlp: otlp,
				measure: every, log: log}
			if every < measureLook || every > time.Hour {
				return fmt.Errorf("--measure-every %s: want %s to 1h", every, measureLook)
			}
			if cfg.stages, err = parseStages(only); err != nil {
				return err
			}
			for _, text := range newEpoch {
				side, err := schemas.ParseSide(text)
				if err != nil {
					return fmt.Errorf("--new-epoch: %w", err)
				}
				cfg.newEpoch[side] = true
			}
			return runPipeline(cmd.Context(), cfg)
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().StringVar(&only, "only", "", "only these stages: capture, reconcile, compensate, subscribe")
	cmd.Flags().StringVar(&listen, "listen", "",
		"serve /metrics, /healthz, /readyz, /status and /events here, such as 127.0.0.1:9464")
	cmd.Flags().StringVar(&debug, "debug-listen", "",
		"serve profiles (/debug/pprof/) and /metrics here, on a loopback address only, such as 127.0.0.1:9465")
	cmd.Flags().StringVar(&otlp, "otlp", "",
		"send spans of divergences and repairs to this OTLP/HTTP receiver, such as http://127.0.0.1:4318")
	cmd.Flags().DurationVar(&every, "measure-every", measureEvery,
		"how often what rollouts are judged by is written to the log; what is wrong is written at once")
	cmd.Flags().StringVar(&logFormat, "log-format", "json", "how the log of the process is written, on standard error: json or text")
	cmd.Flags().StringVar(&logLevel, "log-level", "info", "the least that is logged: debug, info, warn or error")
	cmd.Flags().StringSliceVar(&newEpoch, "new-epoch", nil,
		"accept a gap of this side (legacy, target): go on from its present position; what was known of it is unknown until it is read again")
	cmd.Flags().StringSliceVar(&resume, "resume", nil,
		"take this halted entity up again: its changes count from here on; a change of the migration.yaml takes up every halted one")
	return cmd
}

func parseStages(only string) (stages, error) {
	if only == "" {
		return stages{true, true, true, true}, nil
	}
	var s stages
	for _, name := range strings.Split(only, ",") {
		switch strings.TrimSpace(name) {
		case "capture":
			s.capture = true
		case "reconcile":
			s.reconcile = true
		case "compensate":
			s.compensate = true
		case "subscribe":
			s.subscribe = true
		default:
			return s, fmt.Errorf("--only %q: want some of capture, reconcile, compensate, subscribe", name)
		}
	}
	return s, nil
}

func runPipeline(ctx context.Context, cfg pipelineConfig) error {
	p, err := openPipeline(ctx, cfg)
	if err != nil {
		return err
	}
	cfg.log.Info("running", "migration", cfg.migration.Name, "rules", p.rules.Version, "log", p.log.Describe(), "data", cfg.migration.DataDir)
	memory.ForgetStart()
	err = p.run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	err = errors.Join(err, p.close())
	cfg.log.Info("stopped", "migration", cfg.migration.Name)
	return err
}
