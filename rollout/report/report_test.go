package report

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/measure"
)

// said is what the server hears.
type said struct {
	Flag, Reporter string
	From, To       time.Time
	Leaves         bool
	Reads          struct{ Of, Mismatched uint64 }
	Writes         struct{ Of, Failed uint64 }
}

// server takes reports, or does not, as it is told.
type server struct {
	mu    sync.Mutex
	heard []said // guarded by mu
	code  int    // guarded by mu; what it answers
	loses bool   // guarded by mu; it takes the report, and its answer does not arrive

	arrived chan struct{} // has room for the first reports; nil: nobody waits for them
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var one said
	if err := json.NewDecoder(r.Body).Decode(&one); err != nil || r.URL.Path != "/v1/reports" || r.Header.Get("Authorization") != "Bearer secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.code == http.StatusOK || s.loses {
		s.heard = append(s.heard, one)
	}
	w.WriteHeader(s.code)
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

func (s *server) answers(code int, loses bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.loses = code, loses
}

func reporter(t *testing.T, url string) *Reporter {
	t.Helper()
	r, err := New(Config{URL: url, Token: "secret", Flag: "orders", Name: "checkout-1", Every: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Whatever is not taken, or is taken and not answered for, is sent again as it was; together the
// reports have everything, and no time between them is missing.
func TestNothingIsLostOrDifferentWhenItIsSentAgain(t *testing.T) {
	s := &server{code: http.StatusOK}
	h := httptest.NewServer(s)
	defer h.Close()
	r := reporter(t, h.URL)
	at := r.now.From
	for i, c := range []struct {
		code  int
		loses bool
	}{{http.StatusOK, false}, {http.StatusServiceUnavailable, false}, {http.StatusBadGateway, true}, {http.StatusOK, false}} {
		s.answers(c.code, c.loses)
		r.Read(i%2 == 0)
		r.Write(nil)
		r.Write(errors.New("away"))
		at = at.Add(time.Second)
		r.take(at, i == 3)
		if err := r.send(t.Context()); (err == nil) != (c.code == http.StatusOK) {
			t.Errorf("%d: %v", c.code, err)
		}
	}
	once, end := map[time.Time]said{}, time.Time{}
	var reads, mismatched, writes, failed uint64
	for _, one := range s.heard {
		if before, again := once[one.From]; again {
			if before != one {
				t.Errorf("sent again it is %+v, and was %+v", one, before)
			}
			continue
		}
		if !end.IsZero() && !one.From.Equal(end) {
			t.Errorf("from %s on nothing is reported", end)
		}
		once[one.From], end = one, one.To
		reads, mismatched, writes, failed = reads+one.Reads.Of, mismatched+one.Reads.Mismatched, writes+one.Writes.Of, failed+one.Writes.Failed
		if one.Leaves != one.To.Equal(at) {
			t.Errorf("have %+v", one)
		}
	}
	if len(once) != 4 || len(s.heard) != 5 || reads != 4 || mismatched != 2 || writes != 8 || failed != 4 || len(r.waiting) != 0 {
		t.Errorf("have %d, %d, %d of %d reads, %d of %d writes", len(once), len(s.heard), mismatched, reads, failed, writes)
	}
}

// What the server will never take is given up, and what is too old; the next goes on.
func TestWhatIsNeverTakenIsGivenUp(t *testing.T) {
	s := &server{code: http.StatusBadRequest}
	h := httptest.NewServer(s)
	defer h.Close()
	r := reporter(t, h.URL)
	r.take(r.now.From.Add(time.Second), false)
	if err := r.send(t.Context()); err != nil || len(r.waiting) != 0 {
		t.Errorf("%v, %d wait", err, len(r.waiting))
	}
	s.answers(http.StatusOK, false)
	r.now.From = time.Now().Add(-measure.MaxReportAge)
	r.take(r.now.From.Add(time.Second), false)
	r.now.From = time.Now().Add(-time.Hour) // it stood still
	r.take(time.Now(), false)
	if err := r.send(t.Context()); err != nil || len(s.heard) != 1 || s.heard[0].To.Sub(s.heard[0].From) != measure.MaxReportTime {
		t.Errorf("%v, have %+v", err, s.heard)
	}
	before := r.now.From
	r.take(before.Add(-time.Minute), false) // the clock was set back
	if one := r.waiting[0]; !one.From.Before(one.To) || !r.now.From.Equal(one.To) {
		t.Errorf("have %+v", one)
	}
}

// Run reports as time goes by, and at its end says that it leaves.
func TestRunLeaves(t *testing.T) {
	s := &server{code: http.StatusOK, arrived: make(chan struct{}, 3)}
	h := httptest.NewServer(s)
	defer h.Close()
	r := reporter(t, h.URL)
	r.cfg.Every = time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.Read(false)
	for range 3 {
		<-s.arrived
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var reads uint64
	for i, one := range s.heard {
		reads += one.Reads.Mismatched
		if one.Leaves != (i == len(s.heard)-1) || one.Flag != "orders" || one.Reporter != "checkout-1" {
			t.Errorf("have %+v", one)
		}
	}
	if reads != 1 {
		t.Errorf("%d reads were reported", reads)
	}
}

func TestConfigsAreChecked(t *testing.T) {
	for want, cfg := range map[string]Config{
		"URL: want":            {Flag: "a", Name: "b"},
		"flag: want":           {URL: "http://x", Name: "b"},
		"reporter: want":       {URL: "http://x", Flag: "a"},
		"every 2m0s: want at ": {URL: "http://x", Flag: "a", Name: "b", Every: 2 * time.Minute},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v", want, err)
		}
	}
}
