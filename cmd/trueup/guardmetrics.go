package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/guard"
)

// guardStatus is a guard's status at a moment.
type guardStatus struct {
	guard.Status
	at time.Time
}

// guardMetrics are all families of a guard's page, in the order of docs/metrics.md. Labels are flags and triggers, as many as
// files have.
var guardMetrics = []metric[guardStatus]{
	{"trueup_guard_evaluated_time_seconds", "When a guard last read the registry and judged every trigger, in seconds since 1970: it does so every second. Absent before the first time.", prometheus.GaugeValue, nil,
		func(s *guardStatus, say func(float64, ...string)) {
			if !s.Looked.IsZero() {
				say(seconds(s.Looked))
			}
		}},
	{"trueup_guard_evaluation_seconds", "How long a guard took for that the last time.", prometheus.GaugeValue, nil,
		func(s *guardStatus, say func(float64, ...string)) {
			if !s.Looked.IsZero() {
				say(s.Took.Seconds())
			}
		}},
	{"trueup_guard_evaluations_total", "How often a guard has judged a trigger, by verdict: pass says that it wants the flag back.", prometheus.CounterValue, []string{"flag", "trigger", "verdict"},
		eachTrigger(func(t *guard.TriggerStatus, _ time.Time, say func(float64, ...string)) {
			for _, v := range []rollout.Verdict{rollout.Pass, rollout.Fail, rollout.Hold, rollout.Unknown} {
				say(float64(t.Judged[v]), t.Flag, t.Trigger, string(v))
			}
		})},
	{"trueup_guard_trips_total", "How often a trigger began to want its flag back.", prometheus.CounterValue, []string{"flag", "trigger"},
		eachTrigger(func(t *guard.TriggerStatus, _ time.Time, say func(float64, ...string)) {
			say(float64(t.Trips), t.Flag, t.Trigger)
		})},
	{"trueup_guard_reverts_total", "Rollbacks of a guard that took effect.", prometheus.CounterValue, []string{"flag", "trigger"},
		eachTrigger(func(t *guard.TriggerStatus, _ time.Time, say func(float64, ...string)) {
			say(float64(t.Reverts), t.Flag, t.Trigger)
		})},
	{"trueup_guard_unknown_seconds", "For how long a trigger has been unknown; 0 while it is not.", prometheus.GaugeValue, []string{"flag", "trigger"},
		eachTrigger(func(t *guard.TriggerStatus, now time.Time, say func(float64, ...string)) {
			age := 0.0
			if !t.UnknownSince.IsZero() {
				age = max(0, now.Sub(t.UnknownSince).Seconds())
			}
			say(age, t.Flag, t.Trigger)
		})},
	{"trueup_guard_held", "1 while a trigger wants the flag back, and it stays because going back would lose more than its file allows.", prometheus.GaugeValue, []string{"flag"},
		func(s *guardStatus, say func(float64, ...string)) {
			for _, f := range s.Flags {
				say(truth(f.Held), f.Flag)
			}
		}},
	{"trueup_guard_undo_lost_keys", "How many keys' latest values going back loses, by the last answer that a guard had to ask for. Absent before.", prometheus.GaugeValue, []string{"flag"},
		func(s *guardStatus, say func(float64, ...string)) {
			for _, f := range s.Flags {
				if f.Lost >= 0 {
					say(float64(f.Lost), f.Flag)
				}
			}
		}},
}

func eachTrigger(value func(*guard.TriggerStatus, time.Time, func(float64, ...string))) func(*guardStatus, func(float64, ...string)) {
	return func(s *guardStatus, say func(float64, ...string)) {
		for i := range s.Triggers {
			value(&s.Triggers[i], s.at, say)
		}
	}
}

// guardReadyWithin is how old a guard's last look may be while it is ready.
const guardReadyWithin = 15 * time.Second

// guardPage is what a guard serves: its metrics, and whether it guards.
func guardPage(status func() guard.Status) http.Handler {
	mux := metricsPage(newStatusCollector(guardMetrics, func() *guardStatus { return &guardStatus{status(), time.Now()} }))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := status()
		switch age := time.Since(s.Looked); {
		case s.Looked.IsZero():
			http.Error(w, "the registry was not read yet: nothing is guarded", http.StatusServiceUnavailable)
		case age > guardReadyWithin:
			http.Error(w, fmt.Sprintf("the registry was last read %s ago: nothing is guarded until it can be", age.Round(time.Second)), http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "ok")
		}
	})
	return mux
}

// metricsPage serves /metrics of a process that runs no migration.
func metricsPage(all ...prometheus.Collector) *http.ServeMux {
	r := prometheus.NewRegistry()
	r.MustRegister(append(all, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))...)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}

// beside runs fn, and serves a page beside it where an address is given; flag is the one that gave it.
func beside(ctx context.Context, flag, addr string, page func() http.Handler, fn func(ctx context.Context, at net.Addr) error) error {
	if addr == "" {
		return fn(ctx, nil)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%s %s: %w; name another address, such as 127.0.0.1:0 for a free port", flag, addr, err)
	}
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, l, page(), "metrics")
		stop()
	}()
	err = fn(ctx, l.Addr())
	stop()
	return errors.Join(err, <-served)
}
