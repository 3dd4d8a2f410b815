package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

func newRolloutGate() *cobra.Command {
	var stage, measured, when string
	var asJSON bool
	at, migrations := &registryAt{}, (*migrationsAt)(nil)
	cmd := &cobra.Command{
		Use:   "gate FILE --stage STAGE (--migration FILE | --brokers A,B | --measured JSON)",
		Short: "Say what a gate makes of what was measured",
		Long: `Gate judges the criteria that a rollout's file has for a stage by what its migration
has measured, up to now or to a moment of the past (--at), so that an edited file
can be tried on it; or by values in a file (--measured), and by nothing else. With
--json it prints the whole evaluation, which can be given to --measured again.

It exits 0 for pass, 1 for fail, 2 for hold and for unknown.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := schemas.LoadRollout(args[0])
			if err != nil {
				return err
			}
			to, err := schemas.ParseRolloutStage(stage)
			if err != nil {
				return err
			}
			e, err := evaluated(cmd, migrations, r, to, measured, when)
			if err != nil {
				return err
			}
			if err := printEvaluation(cmd.OutOrStdout(), e, asJSON); err != nil {
				return err
			}
			switch e.Verdict {
			case rollout.Pass:
				return nil
			case rollout.Fail:
				return exitStatus(exitDiverged)
			}
			return exitStatus(exitInconclusive)
		},
	}
	cmd.Flags().StringVar(&stage, "stage", "", "the stage that the gate guards")
	cmd.Flags().StringVar(&measured, "measured", "", "a file of what was measured, or of an evaluation; - is standard input")
	cmd.Flags().StringVar(&when, "at", "", "the moment up to which, as 2026-11-23T10:00:00Z; now, unless given")
	cmd.Flags().StringSliceVar(&at.brokers, "brokers", nil, "Kafka brokers that the migration's log is on")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	migrations = migrationsFlag(cmd, at)
	cmd.MarkFlagsMutuallyExclusive("measured", "at")
	if err := cmd.MarkFlagRequired("stage"); err != nil {
		panic(err)
	}
	return cmd
}

// evaluated judges a gate by a file of what was measured or, without, by what the
// rollout's migration has.
func evaluated(cmd *cobra.Command, migrations *migrationsAt, r *schemas.Rollout, to schemas.RolloutStage, file, when string) (rollout.Evaluation, error) {
	if file != "" {
		m, err := loadMeasured(file, cmd.InOrStdin())
		return rollout.Judge(r, to, m), err
	}
	at := time.Now()
	if when != "" {
		var err error
		if at, err = moment("--at", when); err != nil {
			return rollout.Evaluation{}, err
		}
	}
	if r.Migration == "" {
		return rollout.Evaluation{}, fmt.Errorf("%s names no migration: say which one it moves by (migration:), or give what was measured (--measured)", r.Name)
	}
	return migrations.evaluate(cmd.Context(), r, to, at, time.Time{})
}

// loadMeasured reads what was measured, or takes it from an evaluation.
func loadMeasured(path string, stdin io.Reader) (m rollout.Measured, err error) {
	var src []byte
	if path == "-" {
		src, err = io.ReadAll(stdin)
	} else {
		src, err = os.ReadFile(path)
	}
	if err != nil {
		return m, fmt.Errorf("read what was measured: %w", err)
	}
	var evaluation struct{ Measured json.RawMessage }
	if json.Unmarshal(src, &evaluation) == nil && evaluation.Measured != nil {
		src = evaluation.Measured
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return m, fmt.Errorf("%s: something stands behind what was measured", path)
	}
	return m, nil
}

// gateLine is a rollout.Evaluation on a line.
type gateLine struct {
	Kind string `json:"kind"`
	rollout.Evaluation
}

// printEvaluations prints them by the names of their flags.
func printEvaluations(w io.Writer, all map[string]rollout.Evaluation, asJSON bool) error {
	for _, name := range sorted(all) {
		if err := printEvaluation(w, all[name], asJSON); err != nil {
			return err
		}
	}
	return nil
}

func printEvaluation(w io.Writer, e rollout.Evaluation, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(gateLine{"gate", e})
	}
	if len(e.Results) == 0 {
		_, err := fmt.Fprintf(w, "%s %s: unknown: there are no criteria\n", e.Rollout, e.Stage)
		return err
	}
	if _, err := fmt.Fprintf(w, "%s %s: %s\n", e.Rollout, e.Stage, e.Verdict); err != nil {
		return err
	}
	for _, r := range e.Results {
		if _, err := fmt.Fprintf(w, "  %-8s%s: %s\n", r.Verdict, r.Criterion, r.Condition); err != nil {
			return err
		}
		if r.Reason != "" {
			if _, err := fmt.Fprintf(w, "          %s\n", r.Reason); err != nil {
				return err
			}
		}
	}
	return nil
}
