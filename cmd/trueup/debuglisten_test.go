package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Profiles and metrics come from a listener of their own, which no address but a
// loopback one gets.
func TestProfilesHaveAListenerOfTheirOwn(t *testing.T) {
	latest := new(atomic.Pointer[statusFile])
	latest.Store(statusOf(time.Now()))
	d, err := observeDebug("localhost:0", newRegistry(latest))
	if err != nil {
		t.Fatal(err)
	}
	o := httptest.NewUnstartedServer(d.handler())
	o.Listener.Close()
	o.Listener = d.listener
	o.Start()
	defer o.Close()

	get := func(path, host string) (int, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		r, err := o.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, b
	}
	code, page := get("/metrics", "")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if families, err := parser.TextToMetricFamilies(bytes.NewReader(page)); code != 200 || err != nil || families["trueup_keys"] == nil {
		t.Errorf("/metrics is %d, %v: %.300s", code, err, page)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1", "/debug/pprof/cmdline"} {
		if code, b := get(path, "127.0.0.1:9465"); code != 200 || len(b) == 0 {
			t.Errorf("%s is %d with %d bytes", path, code, len(b))
		}
	}
	for _, host := range []string{"localhost", "[::1]:9465", "127.0.0.1"} {
		if code, _ := get("/metrics", host); code != 200 {
			t.Errorf("asked for as %s: %d", host, code)
		}
	}
	for _, host := range []string{"attacker.example:9465", "localhost.attacker.example", "10.0.0.1"} {
		if code, _ := get("/debug/pprof/heap", host); code != 403 {
			t.Errorf("asked for as %s: %d, want 403", host, code)
		}
	}
	for _, path := range []string{"/events", "/status", "/healthz"} {
		if code, _ := get(path, ""); code != 404 {
			t.Errorf("%s is served here: %d", path, code)
		}
	}
}

func TestProfilesAreNotServedToANetwork(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:9465", "192.0.2.1:9465", "nonsense", "127.0.0.1:port"} {
		d, err := observeDebug(addr, nil)
		if err == nil {
			t.Errorf("%s is taken", addr)
			if err := d.close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if !strings.Contains(err.Error(), "--debug-listen "+addr) || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
