package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func newLog() *cobra.Command {
	var o struct {
		file, from, to string
		partition      int
	}
	cmd := &cobra.Command{Use: "log", Short: "Read the log"}
	cat := &cobra.Command{
		Use:   "cat -f migration.yaml",
		Short: "Print the changes topic as JSON Lines, which \"trueup audit --file\" replays",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLog(cmd.Context(), o.file, func(log *stream.Log) error {
				ranges, err := parseRange(cmd.Context(), log, o.from, o.to, o.partition)
				if err != nil {
					return err
				}
				return catLog(cmd.Context(), log, ranges, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	fileFlag(cat, &o.file)
	cat.Flags().StringVar(&o.from, "from", "", "from this offset, time, or so long ago (2h)")
	cat.Flags().StringVar(&o.to, "to", "", "up to this offset, time, or so long ago")
	cat.Flags().IntVar(&o.partition, "partition", -1, "only this partition")
	cmd.AddCommand(cat)
	return cmd
}

// offsets is a range of one partition.
type offsets struct {
	partition int32
	from, to  int64
}

// parseRange turns --from and --to into offsets of each partition asked for.
func parseRange(ctx context.Context, log *stream.Log, from, to string, partition int) ([]offsets, error) {
	topic := log.Topics().Changes
	if partition >= log.Partitions() {
		return nil, fmt.Errorf("--partition %d: the log has %d, from 0", partition, log.Partitions())
	}
	starts, err := log.StartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := log.EndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	first, err := bounds(ctx, log, "--from", from, starts)
	if err != nil {
		return nil, err
	}
	last, err := bounds(ctx, log, "--to", to, ends)
	if err != nil {
		return nil, err
	}
	var out []offsets
	for p := range starts {
		if partition >= 0 && p != partition {
			continue
		}
		o := offsets{int32(p), max(first[p], starts[p]), min(last[p], ends[p])}
		if o.from <= o.to {
			out = append(out, o)
		}
	}
	return out, nil
}

func bounds(ctx context.Context, log *stream.Log, flag, text string, otherwise []int64) ([]int64, error) {
	if text == "" {
		return otherwise, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		out := make([]int64, len(otherwise))
		for p := range out {
			out[p] = n
		}
		return out, nil
	}
	t, err := parseTime(text, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s %w, or an offset", flag, err)
	}
	return log.OffsetsAt(ctx, log.Topics().Changes, t)
}

func catLog(ctx context.Context, log *stream.Log, ranges []offsets, to, complain io.Writer) error {
	w := schemas.NewLineWriter(to, log.Partitions())
	skipped := 0
	err := eachRecord(ctx, log, ranges, func(r *schemas.Record) error { return w.Write(r) }, func(partition int32, offset int64, err error) {
		skipped++
		fmt.Fprintf(complain, "trueup: partition %d offset %d cannot be read and is left out: %v\n", partition, offset, err)
	})
	if err != nil {
		return errors.Join(err, w.Flush())
	}
	if err := w.End(); err != nil {
		return err
	}
	if skipped > 0 {
		return exitStatus(exitInconclusive)
	}
	return nil
}

// eachRecord gives fn the records of ranges, partition by partition, and bad those that cannot be read.
func eachRecord(ctx context.Context, log *stream.Log, ranges []offsets, fn func(*schemas.Record) error, bad func(int32, int64, error)) error {
	for _, o := range ranges {
		_, err := log.Read(ctx, log.Topics().Changes, o.partition, o.from, o.to, func(r stream.Record) error {
			rec, err := schemas.UnmarshalRecord(r.Value)
			if err != nil {
				bad(o.partition, r.Offset, err)
				return nil
			}
			rec.Partition = o.partition
			return fn(rec)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
