package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/reconcile/whatif"
	"github.com/trueup-io/trueup/schemas"
)

func newAudit() *cobra.Command {
	var o struct {
		file, rules string
		whatIf      string
		migration   string
		from, to    string
		state       string
		report      string
		json        bool
	}
	cmd := &cobra.Command{
		Use:   "audit (--file log.jsonl --rules migration.yaml | -f migration.yaml)",
		Short: "Replay a log and say what its verdicts are",
		Long: `Audit replays a log through the same comparator and prints every divergence
that it finds, and a summary.

With --file it needs no broker and no store: the log is JSON Lines as "trueup
log cat" and "trueup capture --stdout" write it ("-" reads standard input), and
--rules names the migration.yaml whose entities it is judged by. What the log's
control records say of authority and settle window comes before what the file
says.

With -f it reads the changes topic with a client that the pipeline does not use,
judges it anew, and compares every event of a divergence with what was
published: same, missing, extra or changed. It joins no group and leaves the
pipeline's state alone. A verdict follows from everything before it, so the
topic is read from its beginning, and --from and --to say which verdicts are
compared. What it knows lies in --state: an audit that was stopped goes on where
it was, and the next one begins where the last has ended.

With other rules (--rules with -f, --what-if with --file) nothing published is
compared. The log is judged under both, and printed is what the other rules
would have changed: divergences gone, new, and changed. Authority and settle
window are the log's own where both files agree, and the other file's where they
do not.

With --report a report is written that can be handed on: what was read and by
which rules, what was found, as JSON and as a page, both signed with the key in
dataDir/audit.key. "trueup audit verify" checks one.

The exit code is 1 if keys diverge, or if something was published that was not
found, or the other way round. With other rules it is that of their verdicts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.file != "" && o.migration != "":
				return errors.New("audit: --file and -f exclude one another")
			case o.file != "":
				if o.rules == "" {
					return errors.New("audit: --file needs --rules: the migration.yaml whose entities the log is judged by")
				}
				if o.from != "" || o.to != "" || o.state != "" || o.report != "" {
					return errors.New("audit: --from, --to, --state and --report go with -f: a file is replayed whole")
				}
				if o.whatIf != "" {
					return whatIfFile(cmd, o.file, o.rules, o.whatIf, o.json)
				}
				return auditFile(cmd, o.file, o.rules, o.json)
			case o.migration != "":
				if o.report != "" && cmp.Or(o.rules, o.whatIf) != "" {
					return errors.New("audit: --report is of the rules that are in force: leave --rules and --what-if out")
				}
				if o.rules != "" && o.whatIf != "" {
					return errors.New("audit: with -f, --rules and --what-if are the same: name other rules once")
				}
				return auditTopic(cmd, topicAudit{migration: o.migration, other: cmp.Or(o.rules, o.whatIf), from: o.from, to: o.to, state: o.state, report: o.report, json: o.json})
			}
			return errors.New("audit: name a log: --file log.jsonl --rules migration.yaml, or -f migration.yaml")
		},
	}
	cmd.AddCommand(newAuditVerify())
	f := cmd.Flags()
	f.StringVar(&o.file, "file", "", "replay this file of JSON Lines; - is standard input")
	f.StringVar(&o.rules, "rules", "", "judge by the entities of this migration.yaml; with -f: say what it would change")
	f.StringVar(&o.whatIf, "what-if", "", "say what the rules of this other migration.yaml would change")
	f.StringVarP(&o.migration, "migration", "f", "", "replay the changes topic of this migration.yaml")
	f.StringVar(&o.from, "from", "", "compare verdicts from this offset, time, or so long ago (2h)")
	f.StringVar(&o.to, "to", "", "compare verdicts up to this offset, time, or so long ago")
	f.StringVar(&o.state, "state", "", "keep what the audit knows in this directory (dataDir/audit)")
	f.StringVar(&o.report, "report", "", "write a signed report, as JSON and as a page, into this directory")
	f.BoolVar(&o.json, "json", false, "print JSON Lines")
	return cmd
}

func auditFile(cmd *cobra.Command, file, rulesPath string, asJSON bool) (err error) {
	rules, err := loadRules(rulesPath)
	if err != nil {
		return err
	}
	r, err := replay.New(rules)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := eachLine(cmd, file, r.Step); err != nil {
		return err
	}
	sum, err := r.Finish()
	if err != nil {
		return fmt.Errorf("audit %s: %w", file, err)
	}
	if err := printVerdicts(cmd.OutOrStdout(), r.Divergences, sum, asJSON); err != nil {
		return fmt.Errorf("audit %s: %w", file, err)
	}
	for _, a := range r.Alarms {
		a.Key = rules.HideKeyOf(a.Entity, a.Key)
		fmt.Fprintln(cmd.ErrOrStderr(), "trueup:", describeAlarm(a))
	}
	if r.MoreAlarms > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "trueup: %d records more are strange, and not listed\n", r.MoreAlarms)
	}
	return verdictStatus(sum)
}

// eachLine gives step every record of a file, "-" for standard input.
func eachLine(cmd *cobra.Command, file string, step func(*schemas.Record) error) error {
	var in io.Reader = cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		defer f.Close()
		in = f
	}
	lines := schemas.NewLineReader(in, 0)
	for {
		rec, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("audit %s: %w", file, err)
		}
		if err := step(rec); err != nil {
			return fmt.Errorf("audit %s: line %d: %w", file, lines.Line(), err)
		}
	}
}

// verdictStatus is the exit code of a summary.
func verdictStatus(s schemas.Summary) error {
	unknown := int64(0)
	for _, n := range s.Unknown {
		unknown += n
	}
	switch {
	case s.Diverged > 0:
		return exitStatus(exitDiverged)
	case unknown > 0 || s.Compared == 0:
		return exitStatus(exitInconclusive)
	}
	return nil
}

func printVerdicts(to io.Writer, list whatif.Listing, sum schemas.Summary, asJSON bool) error {
	w := bufio.NewWriter(to)
	err := list(func(d *schemas.Divergence) error {
		writeDivergence(w, d, asJSON)
		return nil
	})
	if err != nil {
		return err
	}
	if asJSON {
		writeLine(w, schemas.AppendSummaryJSON(nil, &sum))
	} else {
		printSummary(w, &sum)
	}
	return w.Flush() // says also what failed before
}

// writeLine writes a line to a buffered writer or to standard output, whose
// failure (a closed pipe) ends the process by a signal.
func writeLine(w io.Writer, line []byte) { fmt.Fprintf(w, "%s\n", line) }
