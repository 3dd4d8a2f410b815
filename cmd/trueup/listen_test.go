package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
)

// statusOf is a status in which everything has a value.
func statusOf(now time.Time) *statusFile {
	return &statusFile{Migration: "orders", PID: 1, At: now, Started: now.Add(-time.Minute), Rules: "orders-1",
		Coverage: []coverageStatus{{Entity: "order", Side: "target", Unlogged: 1}},
		Sides: map[string]sideStatus{
			"legacy": {Epoch: 1, Frontier: "2026-11-24T03:36:21Z", LagMs: 1500, Compared: now.Add(-2 * time.Second).UTC().Format(time.RFC3339Nano), Changes: 7, ClockOffset: -2000,
				ClockError: 300, Slot: &postgres.SlotStats{At: now, RetainedBytes: 56, SafeBytes: new(int64)}, QuarantinedCount: 3,
				Baseline: []baselineStatus{{Entity: "order", Covered: true, Rows: 12, After: []string{"secret-key"}}}},
			"target": {Epoch: 2, Frontier: "2026-11-24T03:36:20Z", LagMs: 10, Changes: 9,
				UnknownStatements: &mysql.UnknownStatements{Count: 2, Latest: "compact a …", Pos: "binlog.000003:77"},
				Binlog:            &binlogStatus{BinlogStats: mysql.BinlogStats{Oldest: "binlog.000003", KeptBytes: 77, KeepS: 86400}, HeadroomS: new(int64)}},
		},
		Keys: keyCounts{Compared: 5, Equal: 4, Diverged: 1, Unknown: map[string]int64{"lag": 2, "no_data": 3}},
		Open: &openStatus{Count: 1, Whole: true, Since: now.Add(-time.Minute).UTC().Format(time.RFC3339Nano), ByKind: map[string]map[string]int64{"order": {"stale": 1}},
			Oldest: []openDivergence{{ID: "d", Entity: "order", Key: []string{"secret-key"}}}},
		Windows: []windowStatus{{Entity: "order", SetMs: 2000, SuggestedMs: 500}},
		Rollout: &rolloutStatus{Flag: "orders", Place: "ramp 10%", Epoch: 7, HeldMs: 1500, Routers: map[string]int{"holding": 2, "behind": 1}},
		LogRoom: &logStatus{KeptS: 864000, ReadingS: 864000, RebuildS: 3600},
		State:   &stateStatus{Bytes: 400, Ingested: 100, Written: 250, Debt: 70},
		Changelog: &changelogStatus{Whole: 5, Writing: 2, Without: []partitionReason{{3, "it is too large"}}, Restored: []partitionRestored{{1, 40, 2, true}, {2, 2, 0.5, false}},
			Refused: []partitionReason{{4, "its beginning is gone"}}},
		Records:       recordCounts{Consumed: 20, Applied: 15, Duplicate: 2, OutOfScope: 1, Quarantined: 1, Waiting: 1, Behind: 4},
		Webhooks:      []webhookStatus{{Name: "pager", Taken: 5, Failed: 2, Dead: 1, Waiting: 1}},
		Clients:       &clientsStatus{Connected: 2, Dropped: 1},
		Compensations: compensationStatus{Running: true, Paused: true, Live: 3, Results: map[string]int64{"applied": 2}},
		Problems:      []string{},
	}
}

// observing serves until the test ends, and returns the address.
func observing(t *testing.T, s *statusFile) (*observer, *atomic.Pointer[statusFile]) {
	t.Helper()
	latest := new(atomic.Pointer[statusFile])
	latest.Store(s)
	o, err := observe("127.0.0.1:0", latest)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, o.close()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return o, latest
}

func (o *observer) get(t *testing.T, method, path string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+o.listener.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// I39: "frontier age > threshold ⇒ status not OK in API, metric and dashboard".
func TestI39_HealthMeansProgress(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		turn          func(*statusFile)
		health, ready int
		says          string
	}{
		"well":         {func(*statusFile) {}, 200, 200, "ok"},
		"stalled loop": {func(s *statusFile) { s.At = now.Add(-time.Minute) }, 503, 503, "no status for 1m0s"},
		"problem":      {func(s *statusFile) { s.Problems = []string{"target is 11s behind"} }, 200, 503, "target is 11s behind"},
		"nothing yet": {func(s *statusFile) {
			side := s.Sides["target"]
			side.Frontier = ""
			s.Sides["target"] = side
		}, 200, 503, "target: nothing has come yet"},
		"a terminal's escape": {func(s *statusFile) { s.Problems = []string{"row \x1b[2J\nsecond line"} }, 200, 503, `\x1b[2J second line`},
	} {
		t.Run(name, func(t *testing.T) {
			s := statusOf(now)
			c.turn(s)
			o, _ := observing(t, s)
			if code, body := o.get(t, http.MethodGet, "/healthz"); code != c.health {
				t.Errorf("/healthz is %d, want %d: %s", code, c.health, body)
			}
			code, body := o.get(t, http.MethodGet, "/readyz")
			if code != c.ready || !strings.Contains(body, c.says) {
				t.Errorf("/readyz is %d %q, want %d with %q", code, body, c.ready, c.says)
			}
		})
	}
}

func TestNothingIsReadyBeforeTheFirstStatus(t *testing.T) {
	o, latest := observing(t, nil)
	if code, _ := o.get(t, http.MethodGet, "/readyz"); code != 503 {
		t.Errorf("/readyz is %d before anything is known", code)
	}
	if code, _ := o.get(t, http.MethodGet, "/status"); code != 503 {
		t.Errorf("/status is %d before anything is known", code)
	}
	latest.Store(statusOf(time.Now()))
	code, body := o.get(t, http.MethodGet, "/status")
	if strings.Contains(body, "secret-key") {
		t.Errorf("/status says keys: %s", body)
	}
	var s statusFile
	if err := json.Unmarshal([]byte(body), &s); code != 200 || err != nil || s.Keys.Equal != 4 {
		t.Errorf("/status is %d %q: %v", code, body, err)
	}
}

// Bad input 29, as far as a page that only reads has it.
func TestBadInput29_ThePageIsOnlyRead(t *testing.T) {
	o, _ := observing(t, statusOf(time.Now()))
	for path, want := range map[string]int{"/nothing": 404, "/metrics/..%2f..%2fetc": 404} {
		if code, _ := o.get(t, http.MethodGet, path); code != want {
			t.Errorf("GET %s is %d, want %d", path, code, want)
		}
	}
	if code, _ := o.get(t, http.MethodPost, "/metrics"); code != 405 {
		t.Errorf("POST /metrics is %d, want 405", code)
	}
	if code, _ := o.get(t, http.MethodGet, "/debug/pprof/goroutine?debug=1"); code != 404 {
		t.Errorf("profiles on the public listener are %d, want 404", code)
	}
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	o, latest := observing(t, nil)
	_, err := observe(o.listener.Addr().String(), latest)
	if err == nil || !strings.Contains(err.Error(), "--listen "+o.listener.Addr().String()) {
		t.Fatalf("a second listener on the same address: %v", err)
	}
}
