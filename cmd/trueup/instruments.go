package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trueup-io/trueup/internal/watch"
	"github.com/trueup-io/trueup/schemas"
)

// instruments measure what happens, where a status says how things stand: they
// hear of events as they are published, and of changes as they are compared.
// Labels are entities, kinds and sides: as many as the migration has, never more.
type instruments struct {
	rules *schemas.Rules

	opened, closed *prometheus.CounterVec
	detection      *prometheus.HistogramVec
	duration       *prometheus.HistogramVec
	repair         *prometheus.HistogramVec
	consistency    *prometheus.HistogramVec

	applied map[string]time.Time // by compensation: when it was written; touched by the watcher's goroutines, one at a time
}

// instrument is a family as docs/metrics.md has it.
type instrument struct {
	name, help string
	kind       string
	labels     []string
	buckets    []float64 // of a histogram in the text formats; the native one needs none
}

// Buckets of the text formats, in seconds. A scrape that asks for native histograms
// has a resolution of 10 % at any length.
var (
	shortSpans = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	longSpans  = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400}
)

// instrumented are all of them, in the order of docs/metrics.md.
var instrumented = []instrument{
	{"trueup_divergences_opened_total", "Divergences that were opened since the start.", "counter", []string{"entity", "kind"}, nil},
	{"trueup_divergences_closed_total", "Divergences that both logs show closed since the start, by what closed them: a repair, or a write of somebody else.", "counter", []string{"entity", "kind", "by"}, nil},
	{"trueup_detection_delay_seconds", "From when a divergence was due, its settle window past, to when it was published.", "histogram", []string{"entity"}, shortSpans},
	{"trueup_divergence_duration_seconds", "From when the sides began to differ to when both logs showed them equal again.", "histogram", []string{"entity", "by"}, longSpans},
	{"trueup_repair_confirmed_seconds", "From when a repair was written to when both logs confirmed it.", "histogram", []string{"entity"}, shortSpans},
	{"trueup_time_to_consistency_seconds", "From one side's commit of a version to the other's of the same version, by which side had it first; of one key in eight. Writes that never arrive are divergences, and not in it.", "histogram", []string{"entity", "first"}, shortSpans},
}

func newInstruments(rules *schemas.Rules) *instruments {
	m := &instruments{rules: rules, applied: map[string]time.Time{}}
	at := map[string]instrument{}
	for _, i := range instrumented {
		at[i.name] = i
	}
	counter := func(name string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: at[name].help}, at[name].labels)
	}
	histogram := func(name string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: at[name].help, Buckets: at[name].buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}, at[name].labels)
	}
	m.opened, m.closed = counter("trueup_divergences_opened_total"), counter("trueup_divergences_closed_total")
	m.detection, m.duration = histogram("trueup_detection_delay_seconds"), histogram("trueup_divergence_duration_seconds")
	m.repair, m.consistency = histogram("trueup_repair_confirmed_seconds"), histogram("trueup_time_to_consistency_seconds")
	// Counters exist from the start, so that the first divergence is an increase.
	for _, e := range rules.Entities() {
		for _, kind := range schemas.Kinds {
			m.opened.WithLabelValues(e.Name, string(kind))
			for _, by := range []string{byRepair, byWrite} {
				m.closed.WithLabelValues(e.Name, string(kind), by)
			}
		}
	}
	return m
}

// consistent notes how long a version took to be on the side that did not have it first.
func (m *instruments) consistent(entity string, first schemas.Side, took time.Duration, traceID string) {
	if e, ok := m.rules.Entity(entity); ok {
		if e.Sensitive() {
			traceID = "" // what a tag says is hidden in events, and here nothing looked
		}
		observe1(m.consistency.WithLabelValues(entity, first.String()), took, traceID)
	}
}

// What closed a divergence.
const (
	byRepair = "repair"
	byWrite  = "write"
)

func (m *instruments) register(r *prometheus.Registry) {
	r.MustRegister(m.opened, m.closed, m.detection, m.duration, m.repair, m.consistency)
}

// observe1 measures a length of time, with the trace that it is an example of.
func observe1(to prometheus.Observer, d time.Duration, traceID string) {
	seconds := max(d, 0).Seconds()
	if e, ok := to.(prometheus.ExemplarObserver); ok && traceID != "" {
		e.ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": traceID})
		return
	}
	to.Observe(seconds)
}

// Divergence implements watch.Observer.
func (m *instruments) Divergence(d *schemas.Divergence, published time.Time, live bool) {
	e, ok := m.rules.Entity(d.Entity)
	if !live || !ok {
		return // of rules gone by: labels are those of the migration as it is
	}
	switch d.Stage {
	case schemas.Opened:
		m.opened.WithLabelValues(e.Name, string(d.Verdict)).Inc()
		trace := ""
		if d.Cause != nil {
			trace = watch.TraceID(d.Cause.Tag.Traceparent)
		}
		observe1(m.detection.WithLabelValues(e.Name), published.Sub(d.Since.Add(e.SettleWindow).Time()), trace)
	case schemas.Closed:
		by, trace := byWrite, ""
		if d.ClosedBy != nil {
			trace = watch.TraceID(d.ClosedBy.Tag.Traceparent)
			if d.ClosedBy.Tag.CompensationID != "" {
				by = byRepair
			}
		}
		m.closed.WithLabelValues(e.Name, string(d.Verdict), by).Inc()
		observe1(m.duration.WithLabelValues(e.Name, by), d.ClosedAt.Sub(d.Since), trace)
	}
}

// Compensation implements watch.Observer.
func (m *instruments) Compensation(*schemas.Compensation, time.Time, bool) {}

// maxApplied bounds the repairs whose confirmation is waited for.
const maxApplied = 100_000

// Outcome implements watch.Observer.
func (m *instruments) Outcome(o *schemas.Outcome, published time.Time, live bool) {
	if !live {
		return
	}
	switch o.Result {
	case schemas.Applied:
		if len(m.applied) >= maxApplied {
			clear(m.applied)
		}
		m.applied[o.CompensationID] = published
	case schemas.Confirmed:
		at, ok := m.applied[o.CompensationID]
		delete(m.applied, o.CompensationID)
		if e, known := m.rules.Entity(o.Entity); ok && known {
			observe1(m.repair.WithLabelValues(e.Name), published.Sub(at), "")
		}
	}
}

// documented is the family's line in docs/metrics.md.
func (i *instrument) documented() string { return familyLine(i.name, i.kind, i.labels, i.help) }
