package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/reconcile/audit"
	"github.com/trueup-io/trueup/reconcile/audit/report"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// topicAudit is what was asked for.
type topicAudit struct {
	migration, from, to, state string
	other                      string // a file of other rules; empty: the verdicts are compared with what was published
	report                     string // directory to write a signed report to; empty: none
	json                       bool
}

// auditTopic judges the changes topic anew and compares with what was published.
func auditTopic(cmd *cobra.Command, o topicAudit) error {
	ctx := cmd.Context()
	m, err := loadMigration(o.migration)
	if err != nil {
		return err
	}
	rules, err := rulesOf(m)
	if err != nil {
		return err
	}
	var other *schemas.Rules
	if o.other != "" {
		if other, err = loadRules(o.other); err != nil {
			return err
		}
		other = other.MaskedAs(rules)
	}
	cfg := audit.Config{Rules: rules, StateDir: o.state}
	now := time.Now()
	if cfg.From, err = auditBound("--from", o.from, now); err != nil {
		return err
	}
	if cfg.To, err = auditBound("--to", o.to, now); err != nil {
		return err
	}
	if cfg.StateDir == "" {
		cfg.StateDir = filepath.Join(m.DataDir, "audit")
	}
	return withLogOf(ctx, m, func(log *stream.Log) error {
		topic, _ := log.Topic(log.Topics().Changes)
		cfg.Brokers, cfg.Topics, cfg.Partitions, cfg.LogID = log.Brokers(), log.Topics(), log.Partitions(), topic.ID.String()
		cfg.Group = "trueup." + m.Name + ".reconcile"
		if other != nil {
			return whatIfTopic(cmd, cfg, other, o.json)
		}
		a, err := judgeTopic(cmd, cfg)
		if err != nil {
			return err
		}
		if o.report != "" {
			about := report.About{Rules: rules, Owner: m.Owner, LogID: cfg.LogID, Changes: cfg.Topics.Changes, Program: "trueup " + version, MadeAt: time.Now()}
			if err := writeReport(cmd.ErrOrStderr(), a, about, o.report, filepath.Join(m.DataDir, "audit.key")); err != nil {
				return errors.Join(err, a.Close())
			}
		}
		return errors.Join(printAudit(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), a, o.json), a.Close())
	})
}

// judgeTopic runs an audit and says how far it is.
func judgeTopic(cmd *cobra.Command, cfg audit.Config) (*audit.Audit, error) {
	now := time.Now()
	p := &auditProgress{to: cmd.ErrOrStderr(), began: now, said: now}
	cfg.Progress = p.hear
	a, err := audit.Run(cmd.Context(), cfg)
	if err != nil && cmd.Context().Err() != nil {
		return nil, fmt.Errorf("%w: the same command goes on where it was", err)
	}
	return a, err
}

func auditBound(flag, text string, now time.Time) (audit.Bound, error) {
	if text == "" {
		return audit.Bound{}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return audit.Bound{Set: true, Offset: n}, nil
	}
	t, err := parseTime(text, now)
	if err != nil {
		return audit.Bound{}, fmt.Errorf("%s %w, or an offset", flag, err)
	}
	return audit.Bound{Set: true, Time: t}, nil
}

// auditProgress says how far an audit is, now and then.
type auditProgress struct {
	to          io.Writer
	began, said time.Time
	first       int64 // records that were judged before this run, or by its first answer
	started     bool
}

func (p *auditProgress) hear(done, total int64) {
	now := time.Now()
	if !p.started {
		p.started, p.first = true, done
	}
	if now.Sub(p.said) < 2*time.Second {
		return
	}
	p.said = now
	left := "?"
	if n := done - p.first; n > 0 {
		left = (time.Duration(float64(now.Sub(p.began)) / float64(n) * float64(total-done))).Round(time.Second).String()
	}
	fmt.Fprintf(p.to, "trueup: audit: %d of %d records judged, %s left\n", done, total, left)
}

// printAudit prints verdicts, differences, and counts; the summary is last.
func printAudit(ctx context.Context, to, complain io.Writer, a *audit.Audit, asJSON bool) error {
	w := bufio.NewWriter(to)
	err := a.Divergences(func(d *schemas.Divergence) error {
		writeDivergence(w, d, asJSON)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	n, err := a.Compare(func(f *audit.Finding) error { return writeFinding(w, f, asJSON) })
	if err != nil {
		return err
	}
	for i := range a.Damage {
		if err := writeDamage(w, &a.Damage[i], asJSON); err != nil {
			return err
		}
	}
	if asJSON {
		if err := writeComparison(w, a, n); err != nil {
			return err
		}
		writeLine(w, schemas.AppendSummaryJSON(nil, &a.Summary))
	} else {
		printSummary(w, &a.Summary)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(complain, "trueup: against what was published: %d the same, %d missing there, %d only there, %d changed, %d not published yet, %d under other rules\n",
		n.Same, n.Missing, n.Extra, n.Changed, n.Pending, n.OtherRules)
	if a.MoreDamage > 0 {
		fmt.Fprintf(complain, "trueup: the log is damaged at %d places more, which are not listed\n", a.MoreDamage)
	}
	if a.Unproven > 0 {
		fmt.Fprintf(complain, "trueup: %d changes may repeat some from too far back to tell\n", a.Unproven)
	}
	if n.Missing+n.Extra+n.Changed > 0 || len(a.Damage) > 0 {
		return exitStatus(exitDiverged)
	}
	return verdictStatus(a.Summary)
}

func writeFinding(w io.Writer, f *audit.Finding, asJSON bool) error {
	if !asJSON {
		fmt.Fprintf(w, "%s: divergence %s of %s %s, event %d, partition %d offset %d: %s\n", f.Class, short(f.Event.ID), f.Event.Entity, keyText(f.Event.Key),
			f.Event.Sequence, f.Partition, f.Offset, inert.Line(f.Why))
		return nil
	}
	line, err := json.Marshal(struct {
		Kind      string      `json:"kind"`
		Class     audit.Class `json:"class"`
		Partition int32       `json:"partition"`
		Offset    int64       `json:"offset"`
		ID        string      `json:"id"`
		Sequence  uint32      `json:"sequence"`
		Entity    string      `json:"entity"`
		Key       []string    `json:"key"`
		Why       string      `json:"why"`
	}{"finding", f.Class, f.Partition, f.Offset, f.Event.ID, f.Event.Sequence, f.Event.Entity, f.Event.Key, f.Why})
	if err != nil {
		return err
	}
	writeLine(w, line)
	return nil
}

func writeDamage(w io.Writer, d *audit.Damage, asJSON bool) error {
	if !asJSON {
		where := ""
		if d.Topic != "" {
			where = d.Topic + ", "
		}
		fmt.Fprintf(w, "the log is damaged (%s): %spartition %d offset %d: %s\n", d.Promise, where, d.Partition, d.Offset, inert.Line(d.Detail))
		return nil
	}
	line, err := json.Marshal(struct {
		Kind      string `json:"kind"`
		Promise   string `json:"promise"`
		Topic     string `json:"topic,omitempty"`
		Partition int32  `json:"partition"`
		Offset    int64  `json:"offset"`
		Detail    string `json:"detail"`
	}{"damage", d.Promise, d.Topic, d.Partition, d.Offset, d.Detail})
	if err != nil {
		return err
	}
	writeLine(w, line)
	return nil
}

type rangeLine struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
}

func writeComparison(w io.Writer, a *audit.Audit, n audit.Counts) error {
	ranges := make([]rangeLine, len(a.Ranges))
	for i, r := range a.Ranges {
		ranges[i] = rangeLine{r.Partition, r.First, r.From, r.To}
	}
	line, err := json.Marshal(struct {
		Kind       string      `json:"kind"`
		Same       int64       `json:"same"`
		Missing    int64       `json:"missing"`
		Extra      int64       `json:"extra"`
		Changed    int64       `json:"changed"`
		Pending    int64       `json:"pending"`
		OtherRules int64       `json:"other_rules"`
		Ranges     []rangeLine `json:"ranges"`
	}{"comparison", n.Same, n.Missing, n.Extra, n.Changed, n.Pending, n.OtherRules, ranges})
	if err != nil {
		return err
	}
	writeLine(w, line)
	return nil
}
