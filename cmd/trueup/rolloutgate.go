package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/schemas"
)

func newRolloutGate() *cobra.Command {
	var stage, measured string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "gate FILE --stage STAGE --measured JSON",
		Short: "Say what a gate makes of what was measured",
		Long: `Gate judges the criteria that a rollout's file has for a stage by values that were
measured, and by nothing else. With --json it prints the whole evaluation, which
can be given to --measured again, to try an edited file on the past.

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
			m, err := loadMeasured(measured, cmd.InOrStdin())
			if err != nil {
				return err
			}
			e := rollout.Judge(r, to, m)
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
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	for _, name := range []string{"stage", "measured"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return cmd
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
