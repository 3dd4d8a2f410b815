package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/trueup-io/trueup/internal/loopback"
)

// debugger serves what is for whoever works on this machine only: profiles of the
// running process, and its metrics beside them. It has a listener of its own, so
// that the other one can be shown to a network.
//
//	GET /metrics      as the observer's
//	GET /debug/pprof/ profiles
//
// It answers only what is asked for by a loopback name: a page of another site
// whose name was pointed at 127.0.0.1 reads nothing.
type debugger struct {
	listener net.Listener
	registry *prometheus.Registry
}

// observeDebug opens the listener, on a loopback address or not at all.
func observeDebug(addr string, registry *prometheus.Registry) (*debugger, error) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--debug-listen %s: %w; name a loopback address and a port, such as 127.0.0.1:9465", addr, err)
	}
	if !at.IP.IsLoopback() {
		return nil, fmt.Errorf("--debug-listen %s: profiles are served on a loopback address only; name 127.0.0.1:%d, and reach it from elsewhere by ssh -L", addr, at.Port)
	}
	l, err := net.ListenTCP("tcp", at)
	if err != nil {
		return nil, fmt.Errorf("--debug-listen %s: %w; name another address, such as 127.0.0.1:0 for a free port", addr, err)
	}
	return &debugger{listener: l, registry: registry}, nil
}

func (d *debugger) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback.Host(r.Host) {
			http.Error(w, "ask for it by a loopback address, such as 127.0.0.1", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (d *debugger) run(ctx context.Context) error {
	return serve(ctx, d.listener, d.handler(), "profiles")
}

func (d *debugger) close() error { return closeListener(d.listener) }
