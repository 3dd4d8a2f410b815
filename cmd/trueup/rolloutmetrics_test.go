package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/guard"
)

// fetched is a page's text and code.
func fetched(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Do(req)
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

// liked says what promtool has to say of a page.
func liked(t *testing.T, page string) {
	t.Helper()
	check := exec.CommandContext(t.Context(), promtool(t), "check", "metrics")
	check.Stdin = bytes.NewReader([]byte(page))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// A guard's page says what its status says; it is ready while it guards, and healthy anyway.
func TestTheGuardsPage(t *testing.T) {
	var s guard.Status
	page := httptest.NewServer(guardPage(func() guard.Status { return s }))
	defer page.Close()
	if code, said := fetched(t, page.Client(), page.URL+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(said, "was not read yet: nothing is guarded") {
		t.Errorf("have %d %s", code, said)
	}
	if _, text := fetched(t, page.Client(), page.URL+"/metrics"); strings.Contains(text, "\ntrueup_guard_evaluated_time_seconds ") {
		t.Error("it says when it looked, and never did")
	}
	now := time.Now()
	s = guard.Status{Looked: now.Add(-time.Minute), Took: 20 * time.Millisecond, Triggers: []guard.TriggerStatus{
		{Flag: "orders", Trigger: "burning", Judged: map[rollout.Verdict]uint64{rollout.Pass: 2, rollout.Fail: 90}, Trips: 1, Reverts: 1},
		{Flag: "orders", Trigger: "blind", Judged: map[rollout.Verdict]uint64{rollout.Unknown: 7}, UnknownSince: now.Add(-time.Hour)}},
		Flags: []guard.FlagStatus{{Flag: "orders", Held: true, Lost: 3}, {Flag: "pay", Lost: -1}}}
	if code, said := fetched(t, page.Client(), page.URL+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(said, "was last read 1m0s ago") {
		t.Errorf("have %d %s", code, said)
	}
	if code, _ := fetched(t, page.Client(), page.URL+"/healthz"); code != http.StatusOK {
		t.Errorf("have %d", code)
	}
	_, text := fetched(t, page.Client(), page.URL+"/metrics")
	for _, want := range []string{
		`trueup_guard_evaluation_seconds 0.02`,
		`trueup_guard_evaluations_total{flag="orders",trigger="burning",verdict="pass"} 2`,
		`trueup_guard_evaluations_total{flag="orders",trigger="burning",verdict="hold"} 0`,
		`trueup_guard_evaluations_total{flag="orders",trigger="blind",verdict="unknown"} 7`,
		`trueup_guard_trips_total{flag="orders",trigger="burning"} 1`,
		`trueup_guard_reverts_total{flag="orders",trigger="burning"} 1`,
		`trueup_guard_reverts_total{flag="orders",trigger="blind"} 0`,
		`trueup_guard_unknown_seconds{flag="orders",trigger="burning"} 0`,
		`trueup_guard_held{flag="orders"} 1`,
		`trueup_guard_held{flag="pay"} 0`,
		`trueup_guard_undo_lost_keys{flag="orders"} 3`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the page has no %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, `trueup_guard_undo_lost_keys{flag="pay"}`) || !regexp.MustCompile(`(?m)^trueup_guard_unknown_seconds\{flag="orders",trigger="blind"\} 36\d\d`).MatchString(text) {
		t.Errorf("have:\n%s", text)
	}
	for _, m := range guardMetrics {
		if !strings.Contains(text, "\n# TYPE "+m.name+" ") {
			t.Errorf("%s is declared and not on the page", m.name)
		}
	}
	s.Looked = now
	if code, said := fetched(t, page.Client(), page.URL+"/readyz"); code != http.StatusOK {
		t.Errorf("have %d %s", code, said)
	}
	liked(t, text)
}

var metricsAt = regexp.MustCompile(`"msg":"metrics are served",.*"listen":"([^"]+)"`)

// started runs a command until the test's end, and returns where its metrics are and what it prints first.
func started(t *testing.T, lines bool, args ...string) (metrics, first string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	var complain lockedBuffer
	root := newRoot()
	root.SetOut(w)
	root.SetErr(&complain)
	root.SetArgs(args)
	ended := make(chan error, 1)
	go func() { err := root.ExecuteContext(ctx); w.CloseWithError(err); ended <- err }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("%v: %v", args, err)
		}
	})
	if lines {
		line, err := bufio.NewReader(r).ReadString('\n')
		if err != nil {
			t.Fatal(err, complain.String())
		}
		first = strings.TrimSpace(line)
	}
	for range 3000 {
		if m := metricsAt.FindStringSubmatch(complain.String()); m != nil {
			return "http://" + m[1], first
		}
		pause(t.Context(), 10*time.Millisecond)
	}
	t.Fatalf("%v serves no metrics: %s", args, complain.String())
	return "", ""
}

// "API metrics": what the server answers is counted and timed by route, where nothing but the
// router says which routes there are; streams are counted while they are open.
func TestTheServersPage(t *testing.T) {
	at := "--data-dir=" + filepath.Join(t.TempDir(), "registry")
	metrics, url := started(t, true, "serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--lease", "1m", at)
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for range 3 {
		resp, err := client.Post(url+"/ofrep/v1/evaluate/flags/orders", "application/json", strings.NewReader(`{"context":{"targetingKey":"42"}}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	fetched(t, client, url+"/healthz")
	fetched(t, client, url+"/../orders")
	fetched(t, client, url+"/v1/nothing/of/mine")
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ofrep/v1/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	awaits := func(want ...string) (text string) {
		t.Helper()
		for range 1000 {
			if _, text = fetched(t, client, metrics+"/metrics"); !strings.Contains(text, want[0]) {
				pause(t.Context(), 10*time.Millisecond)
				continue
			}
			for _, line := range want {
				if !strings.Contains(text, line) {
					t.Errorf("the page has no %s:\n%s", line, text)
				}
			}
			return text
		}
		t.Fatalf("never %s:\n%s", want[0], text)
		return ""
	}
	text := awaits("\ntrueup_api_streams 1\n",
		`trueup_api_requests_total{code="404",route="POST /ofrep/v1/evaluate/flags/{key}"} 3`,
		`trueup_api_requests_total{code="200",route="GET /healthz"} 1`,
		`trueup_api_requests_total{code="200",route="GET /ofrep/v1/events"} 1`,
		`trueup_api_requests_total{code="404",route="other"} 2`,
		`trueup_api_request_duration_seconds_count{route="POST /ofrep/v1/evaluate/flags/{key}"} 3`,
		"\ntrueup_api_known_age_seconds ")
	for _, i := range apiInstrumented {
		if !strings.Contains(text, "\n# TYPE "+i.name+" "+i.kind+"\n") {
			t.Errorf("%s is declared and not on the page", i.name)
		}
	}
	if strings.Contains(text, `trueup_api_request_duration_seconds_count{route="GET /ofrep/v1/events"}`) || strings.Contains(text, "nothing/of/mine") {
		t.Errorf("have:\n%s", text)
	}
	liked(t, text)
	leave()
	awaits("\ntrueup_api_streams 0\n")
}

// A guard that runs says when it looked last.
func TestAGuardServesItsMetrics(t *testing.T) {
	at := "--data-dir=" + filepath.Join(t.TempDir(), "registry")
	metrics, _ := started(t, false, "rollout", "guard", "--listen", "127.0.0.1:0", at)
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for range 1000 {
		if _, text := fetched(t, client, metrics+"/metrics"); strings.Contains(text, "\ntrueup_guard_evaluated_time_seconds 1.") {
			return
		}
		pause(t.Context(), 10*time.Millisecond)
	}
	t.Error("it never looked")
}
