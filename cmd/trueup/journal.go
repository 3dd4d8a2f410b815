package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/trueup-io/trueup/internal/watch"
	"github.com/trueup-io/trueup/schemas"
)

// journal puts the events of divergences and repairs into the log of the process,
// with the trace and the write that they began with, so that whoever has one of
// these finds the rest. A storm is cut: what is left out is counted.
type journal struct {
	log *slog.Logger

	// touched by the watcher's goroutines, one at a time
	minute  time.Time
	lines   int
	omitted int
}

// maxJournal bounds the lines of a minute.
const maxJournal = 300

func (j *journal) may(now time.Time) bool {
	if now.Sub(j.minute) >= time.Minute {
		if j.omitted > 0 {
			j.log.Warn("events were not logged: there were too many", "stage", "watch", "count", j.omitted, "remedy", "trueup divergences list --open")
		}
		j.minute, j.lines, j.omitted = now, 0, 0
	}
	j.lines++
	if j.lines > maxJournal {
		j.omitted++
		return false
	}
	return true
}

// Divergence implements watch.Observer.
func (j *journal) Divergence(d *schemas.Divergence, published time.Time, live bool) {
	if !live || d.Stage == schemas.Updated || !j.may(published) {
		return
	}
	facts := []any{"stage", "reconcile", "divergence", d.ID, "kind", string(d.Verdict), "entity", d.Entity}
	if d.Stage == schemas.Closed {
		facts = append(facts, "lasted", d.ClosedAt.Sub(d.Since).String())
		if d.ClosedBy != nil && d.ClosedBy.Tag.CompensationID != "" {
			facts = append(facts, "compensation", d.ClosedBy.Tag.CompensationID)
		}
		j.log.Info("divergence closed", append(facts, said(d.ClosedBy)...)...)
		return
	}
	j.log.Warn("divergence opened", append(append(facts, "since", d.Since.String(), "fields", d.Fields), said(d.Cause)...)...)
}

// said is what a writer said of the write, and where it stands.
func said(e *schemas.Evidence) (facts []any) {
	if e == nil {
		return nil
	}
	for _, f := range []struct{ name, text string }{{"side", e.Side.String()}, {"pos", e.Pos}, {"txn", e.Txn}, {"trace_id", watch.TraceID(e.Tag.Traceparent)},
		{"write_id", e.Tag.WriteID}, {"service", e.Tag.Service}, {"flag_epoch", e.Tag.FlagEpoch}} {
		if f.text != "" {
			facts = append(facts, f.name, f.text)
		}
	}
	return facts
}

// Compensation implements watch.Observer.
func (j *journal) Compensation(*schemas.Compensation, time.Time, bool) {}

// Outcome implements watch.Observer.
func (j *journal) Outcome(o *schemas.Outcome, published time.Time, live bool) {
	if !live || !j.may(published) {
		return
	}
	level := slog.LevelInfo
	if o.Result == schemas.Refused || o.Result == schemas.Failed {
		level = slog.LevelWarn
	}
	j.log.Log(context.Background(), level, "repair", "stage", "compensate", "compensation", o.CompensationID, "divergence", o.DivergenceID, "entity", o.Entity,
		"result", string(o.Result), "err", o.Detail)
}
