package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/trueup-io/trueup/internal/inert"
)

// observer is the HTTP side of a running process: metrics, health, events.
// It only reads, and only what the status loop last said, so that a scrape
// costs the pipeline nothing.
//
//	GET /metrics     Prometheus and OpenMetrics
//	GET /status      what "trueup status --json" prints, without keys
//	GET /healthz     200 while the process makes progress with its own affairs; else 503
//	GET /readyz      200 while nothing needs an operator and no side is late; else 503, with the reasons
//	GET /events      divergences and what follows from them, as they are published (package sse)
type observer struct {
	listener net.Listener
	latest   *atomic.Pointer[statusFile]
	registry *prometheus.Registry
	events   http.Handler // nil: none are served
}

// observe opens the listener, so that an address in use is said before anything starts.
func observe(addr string, latest *atomic.Pointer[statusFile]) (*observer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w; name another address, such as 127.0.0.1:0 for a free port", addr, err)
	}
	return &observer{listener: l, latest: latest, registry: newRegistry(latest)}, nil
}

// newRegistry is of what a process says of itself without measuring.
func newRegistry(latest *atomic.Pointer[statusFile]) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(newStatusCollector(metrics, latest.Load), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// loopback says whether only this machine can reach the listener.
func (o *observer) loopback() bool {
	tcp, ok := o.listener.Addr().(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func (o *observer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /status", o.status)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { o.answer(w, o.unhealthy(time.Now())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { o.answer(w, o.unready(time.Now())) })
	if o.events != nil {
		mux.Handle("GET /events", o.events)
	}
	return mux
}

// run serves until ctx is done.
func (o *observer) run(ctx context.Context) error {
	return serve(ctx, o.listener, o.handler(), "metrics and health")
}

// serve answers what comes in until ctx is done; what is served is for errors.
func serve(ctx context.Context, l net.Listener, h http.Handler, what string) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", what, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		server.Close() // a profile that goes on longer is cut short
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", what, err)
	}
	return nil
}

// close closes the listener, if run has not done it.
func (o *observer) close() error { return closeListener(o.listener) }

func closeListener(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (o *observer) status(w http.ResponseWriter, _ *http.Request) {
	s := o.latest.Load()
	if s == nil {
		http.Error(w, "nothing is known yet", http.StatusServiceUnavailable)
		return
	}
	shown := *s
	if s.Open != nil { // keys are not for everybody who reaches the address
		open := *s.Open
		open.Oldest, shown.Open = nil, &open
	}
	shown.Sides = make(map[string]sideStatus, len(s.Sides))
	for name, side := range s.Sides {
		side.Baseline = slices.Clone(side.Baseline)
		for i := range side.Baseline {
			side.Baseline[i].After = nil
		}
		shown.Sides[name] = side
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(&shown); err != nil {
		return // the client has gone
	}
}

// unhealthy says why the process is to be restarted: its own loop has stopped.
func (o *observer) unhealthy(now time.Time) []string {
	s := o.latest.Load()
	switch {
	case s == nil:
		return nil // it is starting
	case now.Sub(s.At) > staleAfter:
		return []string{fmt.Sprintf("no status for %s", now.Sub(s.At).Round(time.Second))}
	}
	return nil
}

// unready says why the answers of this process are not to be relied on: what is
// late, stopped or not known.
func (o *observer) unready(now time.Time) []string {
	s := o.latest.Load()
	if s == nil {
		return []string{"nothing is known yet"}
	}
	why := append(o.unhealthy(now), s.Problems...)
	for _, name := range sorted(s.Sides) {
		if s.Sides[name].Frontier == "" && s.Sides[name].Gap == "" {
			why = append(why, name+": nothing has come yet")
		}
	}
	return why
}

func (o *observer) answer(w http.ResponseWriter, why []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(why) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, line := range why {
		fmt.Fprintln(w, inert.Line(strings.ReplaceAll(line, "\n", " ")))
	}
}
