package seen

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/compat"
	"github.com/trueup-io/trueup/schemas"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// What a recorder writes is what the check reads: the consumer of the old version is found, with its
// time and its requests, and only that one.
func TestWhatIsSeenIsFound(t *testing.T) {
	now := noon.Add(-8 * 24 * time.Hour)
	r := New(Config{Contract: "api", Now: func() time.Time { return now }})
	answers := r.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	ask := func(consumer, version string) {
		t.Helper()
		q := httptest.NewRequest(http.MethodGet, "/", nil)
		q.Header.Set(DefaultConsumerHeader, consumer)
		q.Header.Set(DefaultVersionHeader, version)
		w := httptest.NewRecorder()
		if answers.ServeHTTP(w, q); w.Code != http.StatusTeapot {
			t.Fatalf("have %d", w.Code)
		}
	}
	ask("gone", "1")
	now = noon.Add(-time.Hour)
	ask("checkout", "1")
	ask("checkout", "1")
	ask("billing", "2")
	ask("", "")
	now = noon
	w := httptest.NewRecorder()
	r.ServeHTTP(w, nil)
	lines, err := compat.ReadSeen(w.Body, "seen")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range compat.Consumers(&schemas.ConsumersCheck{Name: "api", Supported: []string{"2"}, UnseenFor: 7 * 24 * time.Hour}, lines, noon) {
		have = append(have, fmt.Sprint(f.Level, " ", f.Place, ": ", f.Detail))
	}
	want := "incompatible consumer anonymous, no version: last seen at 2026-11-23T11:00:00Z, 1 requests\nincompatible consumer checkout, version 1: last seen at 2026-11-23T11:00:00Z, 2 requests"
	if strings.Join(have, "\n") != want {
		t.Errorf("have %q", have)
	}
}

// What could not be kept makes all of it unknown, and memory is bounded.
func TestWhatIsNotKeptIsSaid(t *testing.T) {
	r := New(Config{Contract: "api", Most: 10, Now: func() time.Time { return noon }})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 10 {
				r.See(fmt.Sprint(i, j, strings.Repeat("x\n", maxName)), "\xff1")
			}
		})
	}
	all.Wait()
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 11 || b.Len() > 11*4*maxName || !strings.Contains(b.String(), `"partial":true`) {
		t.Errorf("have %d lines of %d bytes", n, b.Len())
	}
	lines, err := compat.ReadSeen(&b, "seen")
	if err != nil {
		t.Fatal(err)
	}
	f := compat.Consumers(&schemas.ConsumersCheck{Name: "api", Supported: []string{"2"}, UnseenFor: time.Hour}, lines, noon)
	if len(f) != 1 || f[0].Level != compat.Unknown || f[0].Rule != "partial" {
		t.Errorf("have %+v", f)
	}
}
