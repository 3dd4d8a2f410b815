package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/timeline"
	"github.com/trueup-io/trueup/schemas"
)

func newRolloutTimeline() *cobra.Command {
	var files []string
	var asJSON, asPage, asFeed bool
	cmd := &cobra.Command{
		Use:   "timeline",
		Short: "Say what ends, and when",
		Long: `Timeline prints what the registry's rollouts announce to end, and what migrations
do that are named (--migration): when it was announced, from when on it is
deprecated, and from when on it may be gone; in this order, with what has passed.

With --page it prints a page, and with --atom a feed, as "trueup serve" publishes
them, for whoever publishes them otherwise.`,
		Args: cobra.NoArgs,
	}
	at := registryFlags(cmd)
	cmd.Flags().StringArrayVar(&files, "migration", nil, "a migration.yaml that may announce something, too; may be given more than once")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON Lines")
	cmd.Flags().BoolVar(&asPage, "page", false, "print a page of HTML")
	cmd.Flags().BoolVar(&asFeed, "atom", false, "print an Atom feed")
	cmd.MarkFlagsMutuallyExclusive("json", "page", "atom")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ends, err := windowsOf(files)
		if err != nil {
			return err
		}
		return at.standing(cmd.Context(), func(state *registry.State) error {
			all, now, to := append(timeline.Of(state.Flags()), ends...), time.Now().UTC(), cmd.OutOrStdout()
			timeline.Sort(all)
			switch {
			case asPage:
				return timeline.Page(to, at.name, all, now)
			case asFeed:
				return timeline.Feed(to, at.name, all, now)
			}
			return printTimeline(to, timeline.Moments(all), now, asJSON)
		})
	}
	return cmd
}

// momentLine is a timeline.Moment on a line.
type momentLine struct {
	Kind        string        `json:"kind"`
	At          string        `json:"at"`
	Phase       schemas.Phase `json:"phase"`
	Past        bool          `json:"past"`
	Of          string        `json:"of"` // rollout or migration
	Name        string        `json:"name"`
	Owner       string        `json:"owner"`
	Stage       string        `json:"stage,omitempty"`
	What        string        `json:"what"`
	Deprecated  string        `json:"deprecated"`
	Sunset      string        `json:"sunset"`
	Replacement string        `json:"replacement"`
	Link        string        `json:"link,omitempty"`
}

func printTimeline(w io.Writer, moments []timeline.Moment, now time.Time, asJSON bool) error {
	for _, m := range moments {
		d := &m.Deprecation
		if asJSON {
			if err := json.NewEncoder(w).Encode(momentLine{"moment", m.At.UTC().Format(time.RFC3339), m.Phase, !m.At.After(now), m.Kind, m.Name, m.Owner, m.Stage, d.What,
				d.Deprecated.Format(time.DateOnly), d.Sunset.Format(time.DateOnly), d.Replacement, d.Link}); err != nil {
				return err
			}
			continue
		}
		when := "past"
		if m.At.After(now) {
			when = "in " + timeline.Days(m.At, now)
		}
		if _, err := fmt.Fprintf(w, "%s  %-10s  %-12s  %s (%s %s, %s): use %s\n", m.At.UTC().Format(time.DateOnly), m.Phase, when, inert.Text(d.What), m.Kind, m.Name,
			inert.Text(m.Owner), inert.Text(d.Replacement)); err != nil {
			return err
		}
	}
	return nil
}

// windowsOf are the windows of migrations' files.
func windowsOf(files []string) (out []timeline.Window, err error) {
	for _, path := range files {
		m, err := loadMigration(path)
		if err != nil {
			return nil, err
		}
		about, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		if w, ok := timeline.OfMigration(m, about.ModTime()); ok {
			out = append(out, w)
		}
	}
	return out, nil
}

// windowsFor is how long the files of migrations are not read again.
const windowsFor = 2 * time.Second

// migrationWindows are the windows of migrations' files, as they are now, or were when they could last be read.
type migrationWindows struct {
	files  []string
	logger *slog.Logger

	mu   sync.Mutex
	read time.Time
	last []timeline.Window
}

func (m *migrationWindows) all() []timeline.Window {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); now.Sub(m.read) >= windowsFor {
		m.read = now
		windows, err := windowsOf(m.files)
		if err != nil {
			m.logger.Warn("what a migration announces cannot be read, and stays as it was", "stage", "rollout", "err", err)
		} else {
			m.last = windows
		}
	}
	return m.last
}
