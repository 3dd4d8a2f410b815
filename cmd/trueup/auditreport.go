package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/reconcile/audit"
	"github.com/trueup-io/trueup/reconcile/audit/report"
)

func writeReport(complain io.Writer, a *audit.Audit, about report.About, dir, keyPath string) error {
	key, err := report.LoadKey(keyPath, about.Rules.Migration)
	if err != nil {
		return err
	}
	r, err := report.New(a, about)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := r.Write(dir, key); err != nil {
		return err
	}
	fmt.Fprintf(complain, "trueup: report: %s\ntrueup: check it with: trueup audit verify %s --key '%s'\n", filepath.Join(dir, report.HTMLName), dir, key.Verifier)
	return nil
}

func newAuditVerify() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "verify DIR --key KEY",
		Short: "Check that a report is the one that was signed",
		Long: `Verify checks that report.json and report.html in DIR are the files that the
holder of a key signed in report.note, and prints what the report says.

KEY is the verifier that "trueup audit --report" printed, or the path of a file
that holds it. Get it from whoever made the report, not from the report. The
exit code is 3 if anything is not as it was signed; else it is that of the
report's verdict: 0 faithful, 1 not faithful, 2 incomplete.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" {
				return errors.New("audit verify: --key: name the key that the report was signed with, as its maker gave it")
			}
			if b, err := os.ReadFile(key); err == nil {
				key = string(b)
			}
			r, err := report.Verify(args[0], key)
			if err != nil {
				return fmt.Errorf("audit: %w", err)
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "signed, and as it was signed: audit of migration %s, %s, made %s by %s\n", inert.Text(r.Migration), inert.Text(r.Verdict), r.MadeAt.Format(time.RFC3339), inert.Text(r.Program))
			for _, line := range r.Because {
				fmt.Fprintf(w, "    %s\n", inert.Text(line))
			}
			switch r.Verdict {
			case report.Faithful:
				return nil
			case report.NotFaithful:
				return exitStatus(exitDiverged)
			}
			return exitStatus(exitInconclusive)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the report's verifier, or a file that holds it")
	return cmd
}
