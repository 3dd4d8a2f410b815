package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

type divergenceFilter struct {
	open  bool
	kind  string
	since string
	from  schemas.Micros
}

func (f *divergenceFilter) parse(now time.Time) error {
	if f.kind != "" && !slices.Contains(schemas.Kinds, schemas.Kind(f.kind)) {
		names := make([]string, len(schemas.Kinds))
		for i, k := range schemas.Kinds {
			names[i] = string(k)
		}
		return fmt.Errorf("--kind %q: want one of %s", f.kind, strings.Join(names, ", "))
	}
	if f.since == "" {
		return nil
	}
	t, err := parseTime(f.since, now)
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	f.from = schemas.MicrosOf(t)
	return nil
}

func (f *divergenceFilter) takes(d *schemas.Divergence) bool {
	return (!f.open || d.Stage != schemas.Closed) && (f.kind == "" || d.Verdict == schemas.Kind(f.kind)) && d.OpenedAt >= f.from
}

// parseTime reads RFC 3339, or a duration that is counted back from now.
func parseTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	m, err := schemas.ParseMicros(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q: want a time like 2026-11-23T10:00:00Z, or how long ago, like 90m", text)
	}
	return m.Time(), nil
}

func newDivergences() *cobra.Command {
	var file string
	var asJSON bool
	var filter divergenceFilter
	cmd := &cobra.Command{
		Use:   "divergences",
		Short: "List, follow or show divergences",
	}
	pf := cmd.PersistentFlags()
	pf.StringVarP(&file, "file", "f", "", "the migration.yaml")
	pf.BoolVar(&asJSON, "json", false, "print JSON Lines")
	if err := cmd.MarkPersistentFlagRequired("file"); err != nil {
		panic(err)
	}
	filters := func(c *cobra.Command) *cobra.Command {
		c.Flags().BoolVar(&filter.open, "open", false, "only open ones")
		c.Flags().StringVar(&filter.kind, "kind", "", "only of this kind")
		c.Flags().StringVar(&filter.since, "since", "", "only opened since a time, or so long ago")
		return c
	}
	list := filters(&cobra.Command{Use: "list -f migration.yaml", Short: "List divergences, each as it stands", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listDivergences(cmd, file, &filter, asJSON) }})
	tail := filters(&cobra.Command{Use: "tail -f migration.yaml", Short: "Print each event of a divergence as it is published", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return tailDivergences(cmd, file, &filter, asJSON) }})
	cmd.AddCommand(list, tail, newShow(&file, &asJSON))
	return cmd
}

// published reads the divergences topic: each divergence as its latest event leaves it, in replay.Order.
func published(ctx context.Context, log *stream.Log) ([]schemas.Divergence, error) {
	byID := map[string]schemas.Divergence{}
	err := readEvents(ctx, log, log.Topics().Divergences, func(e *schemas.Event) {
		if d := e.Divergence; d != nil {
			if was, ok := byID[d.ID]; ok {
				byID[d.ID] = replay.Merge(was, *d)
			} else {
				byID[d.ID] = *d
			}
		}
	})
	if err != nil {
		return nil, err
	}
	found := make([]schemas.Divergence, 0, len(byID))
	for _, d := range byID {
		found = append(found, d)
	}
	slices.SortFunc(found, replay.Order)
	return found, nil
}

// readEvents gives fn every event of a topic, partition by partition.
func readEvents(ctx context.Context, log *stream.Log, topic string, fn func(*schemas.Event)) error {
	starts, err := log.StartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	for p := range starts {
		_, err := log.Read(ctx, topic, int32(p), starts[p], stream.End, func(r stream.Record) error {
			e, err := schemas.ParseEventJSON(r.Value)
			if err != nil {
				fmt.Fprintf(os.Stderr, "trueup: topic %s partition %d offset %d is not an event of Trueup: %v\n", topic, p, r.Offset, err)
				return nil
			}
			fn(e)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func listDivergences(cmd *cobra.Command, file string, f *divergenceFilter, asJSON bool) error {
	if err := f.parse(time.Now()); err != nil {
		return err
	}
	return withLog(cmd.Context(), file, func(log *stream.Log) error {
		all, err := published(cmd.Context(), log)
		if err != nil {
			return err
		}
		open := 0
		for i := range all {
			d := &all[i]
			if !f.takes(d) {
				continue
			}
			if d.Stage != schemas.Closed {
				open++
			}
			writeDivergence(cmd.OutOrStdout(), d, asJSON)
		}
		if open > 0 {
			return exitStatus(exitDiverged)
		}
		return nil
	})
}

func writeDivergence(w io.Writer, d *schemas.Divergence, asJSON bool) {
	if asJSON {
		writeLine(w, schemas.AppendDivergenceJSON(nil, d))
		return
	}
	printDivergence(w, d)
}

func tailDivergences(cmd *cobra.Command, file string, f *divergenceFilter, asJSON bool) error {
	if err := f.parse(time.Now()); err != nil {
		return err
	}
	ctx := cmd.Context()
	return withLog(ctx, file, func(log *stream.Log) error {
		topic := log.Topics().Divergences
		var from map[int32]int64
		if f.since != "" {
			offsets, err := log.OffsetsAt(ctx, topic, f.from.Time())
			if err != nil {
				return err
			}
			from = map[int32]int64{}
			for p, o := range offsets {
				from[int32(p)] = o
			}
		}
		err := log.Tail(ctx, topic, from, func(r stream.Record) error {
			if e, err := schemas.ParseEventJSON(r.Value); err == nil && e.Divergence != nil && f.takes(e.Divergence) {
				writeDivergence(cmd.OutOrStdout(), e.Divergence, asJSON)
			}
			return nil
		})
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
}

func writeEvent(w io.Writer, e *schemas.Event, asJSON bool) {
	switch {
	case asJSON:
		writeLine(w, schemas.AppendEventJSON(nil, e))
	case e.Compensation != nil:
		c := e.Compensation
		fmt.Fprintf(w, "compensation %s (%s, %s): %s %s in %s.%s\n", short(c.ID), c.Mode, c.Policy, c.Statement, keyText(c.Key),
			inert.Text(c.Schema), inert.Text(c.Table))
		for _, col := range c.Set {
			was, known := c.Expect.Get(col.Name)
			fmt.Fprintf(w, "    %-12s %s -> %s\n", inert.Text(col.Name), columnText(was, known), columnText(col, true))
		}
	case e.Outcome != nil:
		o := e.Outcome
		detail := ""
		if o.Detail != "" {
			detail = ": " + inert.Line(o.Detail)
		}
		fmt.Fprintf(w, "outcome of %s: %s%s\n", short(o.CompensationID), o.Result, detail)
	case e.Decision != nil:
		d := e.Decision
		fmt.Fprintf(w, "decision: %s %s by %s: %s\n", d.Action, short(d.CompensationID), inert.Text(d.By), inert.Line(d.Why))
	}
}

func columnText(c schemas.Column, known bool) string {
	switch {
	case !known:
		return "(no row)"
	case c.Presence == schemas.Null:
		return "NULL"
	case c.Presence == schemas.Unavailable:
		return "(not in the log)"
	case c.Presence == schemas.Masked:
		return "masked:" + c.Text
	}
	return quoted(c.Text)
}
