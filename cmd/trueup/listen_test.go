package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/trueup-io/trueup/capture/postgres"
)

// statusOf is a status in which everything has a value.
func statusOf(now time.Time) *statusFile {
	return &statusFile{Migration: "orders", PID: 1, At: now, Started: now.Add(-time.Minute), Rules: "orders-1",
		Sides: map[string]sideStatus{
			"legacy": {Epoch: 1, Frontier: "2026-11-24T03:36:21Z", LagMs: 1500, Changes: 7, ClockOffset: -2000, ClockError: 300, Slot: &postgres.SlotStats{RetainedBytes: 56}},
			"target": {Epoch: 2, Frontier: "2026-11-24T03:36:20Z", LagMs: 10, Changes: 9},
		},
		Keys:          keyCounts{Compared: 5, Equal: 4, Diverged: 1, Unknown: map[string]int64{"lag": 2, "no_data": 3}},
		Records:       recordCounts{Consumed: 20, Applied: 15, Duplicate: 2, OutOfScope: 1, Quarantined: 1, Waiting: 1, Behind: 4},
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

// The page is read by the reference parser, and says what the status says.
func TestMetricsPageSaysWhatTheStatusSays(t *testing.T) {
	o, _ := observing(t, statusOf(time.Now()))
	_, page := o.get(t, http.MethodGet, "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			labels := ""
			for _, l := range m.Label {
				labels += "," + l.GetName() + "=" + l.GetValue()
			}
			got[name+labels] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for sample, want := range map[string]float64{
		"trueup_info,migration=orders,rules=orders-1":  1,
		"trueup_keys,verdict=diverged":                 1,
		"trueup_keys,verdict=equal":                    4,
		"trueup_keys_unknown,reason=no_data":           3,
		"trueup_records_total,outcome=applied":         15,
		"trueup_records_behind":                        4,
		"trueup_side_frontier_age_seconds,side=legacy": 1.5,
		"trueup_side_clock_offset_seconds,side=legacy": -0.002,
		"trueup_side_changes_total,side=target":        9,
		"trueup_slot_retained_bytes,side=legacy":       56,
		"trueup_compensations_total,result=applied":    2,
		"trueup_compensations_paused":                  1,
		"trueup_problems":                              0,
		"trueup_side_up,side=target":                   1,
	} {
		if v, ok := got[sample]; !ok || v != want {
			t.Errorf("%s is %v (there: %t), want %v", sample, v, ok, want)
		}
	}
	for _, m := range metrics {
		if families[m.name] == nil {
			t.Errorf("%s is declared and not on the page", m.name)
		}
	}
}

// "Every metric documented": docs/metrics.md has each family once, with its
// kind, labels and help, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	declared := map[string]bool{}
	for _, m := range metrics {
		declared[m.name] = true
		if !strings.Contains(text, m.documented()) {
			t.Errorf("docs/metrics.md lacks the line\n%s", m.documented())
		}
	}
	for _, name := range regexp.MustCompile("(?m)^\\| `(trueup_[a-z_]+)`").FindAllStringSubmatch(text, -1) {
		if !declared[name[1]] {
			t.Errorf("docs/metrics.md has %s, which is not there", name[1])
		}
	}
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
	if code, _ := o.get(t, http.MethodGet, "/debug/pprof/goroutine?debug=1"); code != 200 {
		t.Errorf("profiles of a loopback listener are %d", code)
	}
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	o, latest := observing(t, nil)
	_, err := observe(o.listener.Addr().String(), latest)
	if err == nil || !strings.Contains(err.Error(), "--listen "+o.listener.Addr().String()) {
		t.Fatalf("a second listener on the same address: %v", err)
	}
}
