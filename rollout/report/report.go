// Package report has a service say what it alone knows of a rollout: reads that the sides
// answered differently, and writes that failed on the side that does not have authority. Gates
// and guards judge by it (read_mismatch, write_errors).
//
// # What it promises
//
//   - Every read and write that it hears of is in exactly one report, and each report begins
//     where the one before ended, so that times without any are no hole. A report is sent as it is
//     until it is taken: the server counts it once.
//   - Hearing of a read or a write takes two additions under a lock, and never waits for
//     the network.
//   - A report that is not taken for MaxReportAge is given up, and so is one that the server
//     refuses: what it had is a hole, which shows.
//
// # What it assumes
//
// No two processes that share a token have one name. The clocks of service and server
// differ by less than five seconds.
package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/trueup-io/trueup/rollout/measure"
)

const (
	// DefaultEvery is how often what was heard of is sent.
	DefaultEvery = 10 * time.Second
	// sendWait is how long the server may take to answer.
	sendWait   = 5 * time.Second
	maxRefusal = 1 << 10
)

// Config says what is reported, and where. URL, Flag and Name are required.
type Config struct {
	URL    string // of "trueup serve", like https://flags.example
	Token  string // with the role router; empty: none is sent
	Flag   string
	Name   string        // the process, and where it runs
	Every  time.Duration // 0: DefaultEvery; at most measure.MaxReportTime
	Client *http.Client  // nil: one of its own
	Logger *slog.Logger  // nil: nothing is logged
}

// Reporter adds up what it hears of. It is safe for use by several goroutines.
type Reporter struct {
	cfg Config

	mu  sync.Mutex
	now measure.Report // guarded by mu; what is being heard of

	waiting []measure.Report // that were not taken yet, the oldest first; touched by Run
}

// New returns a reporter. What it hears of from now on it reports, once Run runs.
func New(cfg Config) (*Reporter, error) {
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	now := time.Now()
	r := &Reporter{cfg: cfg, now: measure.Report{Flag: cfg.Flag, Reporter: cfg.Name, From: now}}
	probe := r.now
	probe.From, probe.To = now.Add(-cfg.Every), now
	switch err := probe.Validate(now); {
	case cfg.URL == "":
		return nil, errors.New("report: URL: want that of trueup serve")
	case cfg.Every < 0 || cfg.Every > measure.MaxReportTime:
		return nil, fmt.Errorf("report: every %s: want at most %s", cfg.Every, measure.MaxReportTime)
	case err != nil:
		return nil, fmt.Errorf("report: %w", err)
	}
	return r, nil
}

// Read notes a read that both sides have answered.
func (r *Reporter) Read(same bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Reads.Of++
	if !same {
		r.now.Reads.Count++
	}
}

// Write notes a write on the side that does not have authority, whatever came of it.
func (r *Reporter) Write(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Writes.Of++
	if err != nil {
		r.now.Writes.Count++
	}
}

// Run reports until ctx ends, then once more, and says that it leaves. It returns what
// keeps that from being taken.
func (r *Reporter) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.cfg.Every)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			r.take(time.Now(), true)
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendWait)
			defer cancel()
			return r.send(last)
		case now := <-ticker.C:
			r.take(now, false)
			err := r.send(ctx)
			if err != nil && !failing && ctx.Err() == nil {
				r.cfg.Logger.Warn("what was read and written is not reported; trying again", "stage", "report", "flag", r.cfg.Flag, "err", err)
			}
			failing = err != nil
		}
	}
}

// take ends what is being heard of; the next begins with it. A process that stood still for longer
// than a report can be of leaves a hole.
func (r *Reporter) take(now time.Time, leaves bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now = now.Round(0)
	one := r.now
	if one.To = now; !one.From.Before(now) {
		one.To = one.From.Add(time.Millisecond) // a clock that was set back
	}
	one.From, one.Leaves = later(one.From, one.To.Add(-measure.MaxReportTime)), leaves
	r.now = measure.Report{Flag: r.cfg.Flag, Reporter: r.cfg.Name, From: one.To}
	r.waiting = append(r.waiting, one)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// send sends what waits, the oldest first, until one is not taken.
func (r *Reporter) send(ctx context.Context) error {
	for len(r.waiting) > 0 {
		one := &r.waiting[0]
		if time.Since(one.From) < measure.MaxReportAge {
			if err := r.post(ctx, one); err != nil {
				return err
			}
		}
		r.waiting = r.waiting[1:]
	}
	return nil
}

// post sends one report. Nil: it was taken, or never will be.
func (r *Reporter) post(ctx context.Context, one *measure.Report) error {
	body, err := json.Marshal(map[string]any{"flag": one.Flag, "reporter": one.Reporter, "from": one.From.UTC(), "to": one.To.UTC(), "leaves": one.Leaves,
		"reads":  map[string]uint64{"of": one.Reads.Of, "mismatched": one.Reads.Count},
		"writes": map[string]uint64{"of": one.Writes.Of, "failed": one.Writes.Count}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendWait)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, r.cfg.URL+"/v1/reports", bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	if r.cfg.Token != "" {
		q.Header.Set("Authorization", "Bearer "+r.cfg.Token)
	}
	answer, err := r.cfg.Client.Do(q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	switch {
	case err != nil:
		return err
	case answer.StatusCode == http.StatusOK:
		return nil
	case answer.StatusCode == http.StatusBadRequest: // it will not be better
		r.cfg.Logger.Error("a report is given up: the server does not take it", "stage", "report", "flag", one.Flag, "from", one.From, "to", one.To, "said", string(said))
		return nil
	}
	return fmt.Errorf("report of %s: %s: %s", one.Flag, answer.Status, bytes.TrimSpace(said))
}
