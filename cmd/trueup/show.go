package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/trueup-io/trueup/internal/story"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func newShow(file *string, asJSON *bool) *cobra.Command {
	var before time.Duration
	var page string
	show := &cobra.Command{
		Use:   "show ID -f migration.yaml",
		Short: "Show one divergence: both histories of its key in time, what differs, who wrote it, and what was done about it",
		Long: `Show tells the whole life of one divergence: the versions of its key on both
sides, side by side in time, with transactions, writers, traces and flag epochs;
the fields that differ; when it was due, opened and closed; each repair, and its
echo. Everything is read back from the log; no store is asked.

ID may be the beginning of one, as "trueup divergences list" prints it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if before <= 0 {
				return fmt.Errorf("--before %s: want how long before it began the histories are shown, like 10m", before)
			}
			m, err := loadMigration(*file)
			if err != nil {
				return err
			}
			s, err := readStory(cmd.Context(), m, args[0], before, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if page != "" {
				if err := writePage(page, s); err != nil {
					return err
				}
			}
			switch {
			case *asJSON:
				return s.JSON(cmd.OutOrStdout())
			case page != "":
				return nil
			}
			return s.Text(cmd.OutOrStdout(), cells(cmd.OutOrStdout()))
		},
	}
	show.Flags().DurationVar(&before, "before", story.DefaultBefore, "how long before it began the histories are shown")
	show.Flags().StringVar(&page, "html", "", "write it to this file, as a page that needs nothing else")
	return show
}

func readStory(ctx context.Context, m *schemas.Migration, id string, before time.Duration, complain io.Writer) (s *story.Story, err error) {
	rules, err := rulesOf(m)
	if err != nil {
		return nil, err
	}
	err = withLogOf(ctx, m, func(log *stream.Log) error {
		s, err = story.Read(ctx, story.Config{Log: log, Rules: rules, Migration: m.Name, Owner: m.Owner, Before: before,
			Strange: func(topic string, partition int32, offset int64, err error) {
				fmt.Fprintf(complain, "trueup: topic %s partition %d offset %d is not an event of Trueup: %v\n", topic, partition, offset, err)
			}}, id)
		return err
	})
	return s, err
}

// writePage makes the file its owner's alone: it holds values of rows.
func writePage(path string, s *story.Story) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	if err := errors.Join(s.HTML(f, time.Now()), f.Close()); err != nil {
		return fmt.Errorf("--html %s: %w", path, err)
	}
	return nil
}

// cells is how wide what is written to w may be.
func cells(w io.Writer) int {
	const elsewhere = 120 // a file, a pipe
	f, ok := w.(*os.File)
	if !ok {
		return elsewhere
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return elsewhere
	}
	return width
}
