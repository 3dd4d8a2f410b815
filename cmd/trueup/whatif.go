package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/reconcile/audit"
	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/reconcile/whatif"
	"github.com/trueup-io/trueup/schemas"
)

// verdicts are what a log leads to under some rules.
type verdicts struct {
	rules   *schemas.Rules
	list    whatif.Listing
	summary schemas.Summary
}

// whatIfFile judges a file under two sets of rules in one pass.
func whatIfFile(cmd *cobra.Command, file, rulesPath, otherPath string, asJSON bool) (err error) {
	var sides [2]verdicts
	var replays [2]*replay.Replay
	for i, path := range []string{rulesPath, otherPath} {
		if sides[i].rules, err = loadRules(path); err != nil {
			return err
		}
		sides[i].rules = sides[i].rules.MaskedAs(sides[0].rules)
		if replays[i], err = replay.New(sides[i].rules); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		defer func() { err = errors.Join(err, replays[i].Close()) }()
	}
	supposed := whatif.Suppose(sides[0].rules, sides[1].rules)
	partitions := map[int32]*whatif.Log{}
	err = eachLine(cmd, file, func(rec *schemas.Record) error {
		if err := replays[0].Step(rec); err != nil {
			return err
		}
		p := partitions[rec.Partition]
		if p == nil {
			p = &whatif.Log{Supposition: supposed}
			partitions[rec.Partition] = p
		}
		return replays[1].Step(p.Record(rec))
	})
	if err != nil {
		return err
	}
	for i, r := range replays {
		if sides[i].summary, err = r.Finish(); err != nil {
			return fmt.Errorf("audit %s: %w", file, err)
		}
		sides[i].list = r.Divergences
	}
	return printWhatIf(cmd.OutOrStdout(), &sides[0], &sides[1], asJSON)
}

// whatIfTopic judges the changes topic under the rules of cfg and under others.
// Each keeps what it knows in a directory of its own.
func whatIfTopic(cmd *cobra.Command, cfg audit.Config, other *schemas.Rules, asJSON bool) (err error) {
	asIs := cfg
	cfg.Rules, cfg.WrittenUnder = other, asIs.Rules
	cfg.StateDir = filepath.Clean(asIs.StateDir) + "-what-if"
	var sides [2]verdicts
	for i, c := range []audit.Config{asIs, cfg} {
		a, err := judgeTopic(cmd, c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.Close()) }()
		sides[i] = verdicts{c.Rules, a.Divergences, a.Summary}
	}
	return printWhatIf(cmd.OutOrStdout(), &sides[0], &sides[1], asJSON)
}

// printWhatIf prints what differs, and the summary of the other rules last.
func printWhatIf(to io.Writer, asIs, other *verdicts, asJSON bool) error {
	w := bufio.NewWriter(to)
	n, err := whatif.Diff(asIs.list, other.list, func(d *whatif.Difference) error { return writeDifference(w, d, asJSON) })
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if asJSON {
		line, err := json.Marshal(struct {
			Kind       string          `json:"kind"`
			Same       int64           `json:"same"`
			Gone       int64           `json:"gone"`
			New        int64           `json:"new"`
			Changed    int64           `json:"changed"`
			Rules      string          `json:"rules"`
			OtherRules string          `json:"other_rules"`
			AsItIs     json.RawMessage `json:"as_it_is"`
		}{"what_if", n.Same, n.Gone, n.New, n.Changed, asIs.rules.Version, other.rules.Version, schemas.AppendSummaryJSON(nil, &asIs.summary)})
		if err != nil {
			return err
		}
		writeLine(w, line)
		writeLine(w, schemas.AppendSummaryJSON(nil, &other.summary))
	} else {
		fmt.Fprintf(w, "what %s would change of %s: %d divergences gone, %d new, %d changed; %d the same\n", other.rules.Version, asIs.rules.Version, n.Gone, n.New, n.Changed, n.Same)
		fmt.Fprintf(w, "\nas it is:  ")
		printSummary(w, &asIs.summary)
		fmt.Fprintf(w, "\nwhat if:   ")
		printSummary(w, &other.summary)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return verdictStatus(other.summary)
}

func writeDifference(w io.Writer, d *whatif.Difference, asJSON bool) error {
	if !asJSON {
		fmt.Fprintf(w, "%s: ", d.Class)
		if d.Was != nil {
			fmt.Fprintf(w, "was %s, ", shortText(d.Was))
		}
		printDivergence(w, d.Divergence)
		return nil
	}
	type short struct {
		Verdict  schemas.Kind `json:"verdict"`
		Since    string       `json:"since"`
		OpenedAt string       `json:"opened_at"`
		ClosedAt *string      `json:"closed_at"`
		Fields   []string     `json:"fields"`
	}
	var was *short
	if s := d.Was; s != nil {
		was = &short{Verdict: s.Verdict, Since: s.Since.String(), OpenedAt: s.OpenedAt.String(), Fields: s.Fields}
		if s.ClosedAt != 0 {
			closed := s.ClosedAt.String()
			was.ClosedAt = &closed
		}
	}
	line, err := json.Marshal(struct {
		Kind       string          `json:"kind"`
		Class      whatif.Class    `json:"class"`
		Was        *short          `json:"was,omitempty"`
		Divergence json.RawMessage `json:"divergence"`
	}{"difference", d.Class, was, schemas.AppendDivergenceJSON(nil, d.Divergence)})
	if err != nil {
		return err
	}
	writeLine(w, line)
	return nil
}

func shortText(s *whatif.Short) string {
	state := "open"
	if s.ClosedAt != 0 {
		state = "closed after " + s.ClosedAt.Sub(s.Since).String()
	}
	text := fmt.Sprintf("%s, %s, since %s", s.Verdict, state, s.Since)
	if len(s.Fields) > 0 {
		text += " in " + inert.Text(strings.Join(s.Fields, ", "))
	}
	return text
}
