package webhook

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/internal/outbound"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/subscribe"
	"github.com/trueup-io/trueup/subscribe/subscribetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	secret = Secret("0123456789abcdef0123456789abcdef")
	older  = Secret("an older one that is replaced...")
	here   = outbound.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
)

// bench is a log, its feed, and a receiver.
type bench struct {
	t     *testing.T
	ctx   context.Context
	log   *stream.Log
	rules *schemas.Rules
	feed  *subscribe.Feed
	dir   string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), rules: subscribetest.Rules(t), log: subscribetest.Log(t, t.TempDir())}
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	var err error
	if b.feed, err = subscribe.NewFeed(b.ctx, b.log, "orders"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.feed.Run(b.ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := b.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) config(url string) Config {
	return Config{Name: "a", URL: url, Secrets: []Secret{secret}, Topics: []subscribe.Topic{subscribe.Divergences}, FromStart: true,
		Timeout: 300 * time.Millisecond, GiveUp: time.Hour, Guard: here, Dir: b.dir,
		Wait: func(int) time.Duration { return time.Millisecond }}
}

// start runs a hook; what it returns stops it.
func (b *bench) start(cfg Config) (*Hook, func()) {
	b.t.Helper()
	h, err := New(b.ctx, b.feed, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	return h, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
}

func (b *bench) publish(from, to int) (ids []string) {
	b.t.Helper()
	var events []*schemas.Event
	for n := from; n < to; n++ {
		events = append(events, subscribetest.Divergence("order", n))
		ids = append(ids, fmt.Sprintf("d-order-%d/0", n))
	}
	subscribetest.Publish(b.ctx, b.t, b.log, b.rules, events...)
	return ids
}

// receiver answers as it is told, and remembers what it took.
type receiver struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request, body []byte) (took bool)

	mu    sync.Mutex
	took  []string            // ids, as they were taken
	times map[string][]string // timestamps of the attempts, by id
	more  chan struct{}       // after each that was taken; holds all that a test sends
}

func newReceiver(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body []byte) bool) *receiver {
	r := &receiver{answer: answer, times: map[string][]string{}, more: make(chan struct{}, 10_000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if err := Verify(req.Header, body, time.Now(), secret); err != nil {
			t.Errorf("a request is not signed: %v", err)
		}
		id := req.Header.Get(HeaderID)
		r.mu.Lock()
		r.times[id] = append(r.times[id], req.Header.Get(HeaderTimestamp))
		r.mu.Unlock()
		var event struct {
			SpecVersion, ID, Type, Owner string
			Data                         json.RawMessage
		}
		if err := json.Unmarshal(body, &event); err != nil || event.ID != id || event.SpecVersion != "1.0" || event.Owner != "team-orders" {
			t.Errorf("the body of %s is %s (%v)", id, body, err)
		}
		if d, err := schemas.ParseDivergenceJSON(event.Data); err != nil || d.ID+"/0" != id {
			t.Errorf("the data of %s: %v", id, err)
		}
		if r.answer(w, req, body) {
			r.mu.Lock()
			r.took = append(r.took, id)
			r.mu.Unlock()
			r.more <- struct{}{}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) wait(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for i := range n {
		select {
		case <-r.more:
		case <-ctx.Done():
			t.Fatalf("%d of %d events came", i, n)
		}
	}
}

func (r *receiver) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.took)
}

func hangUp(w http.ResponseWriter) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		c.Close()
	}
}

// "A webhook receiver that fails and times out loses nothing": it answers with
// errors, late, by halves or not at all, and the hook is stopped and started again
// all the while. Every event is taken, those of a partition in order.
func TestReceiverThatFailsLosesNothing(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(7, 7))
	r := newReceiver(t, func(w http.ResponseWriter, req *http.Request, _ []byte) bool {
		mu.Lock()
		n := rng.IntN(12)
		mu.Unlock()
		switch n {
		case 0:
			http.Error(w, "out of order", http.StatusInternalServerError)
		case 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			hangUp(w)
		case 3:
			<-req.Context().Done() // until the hook has had enough
		case 4:
			http.Redirect(w, req, "/elsewhere", http.StatusTemporaryRedirect)
		case 5:
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, strings.Repeat("x", 1<<20))
		default:
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		return false
	})
	var want []string
	for round := range 5 {
		want = append(want, b.publish(round*20, round*20+20)...)
		_, stop := b.start(b.config(r.URL))
		r.wait(b.ctx, t, 8)
		stop()
	}
	h, stop := b.start(b.config(r.URL))
	defer stop()
	for len(h.distinct(r)) < len(want) {
		select {
		case <-r.more:
		case <-b.ctx.Done():
			t.Fatalf("%d of %d events were taken; status %+v", len(h.distinct(r)), len(want), h.Status())
		}
	}
	if got := h.distinct(r); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("taken: %v", got)
	}
	perPartition := map[int32][]string{}
	for n := range want {
		p := stream.Partition([]byte(fmt.Sprint(n)), 2)
		perPartition[p] = append(perPartition[p], want[n])
	}
	for p, ids := range perPartition {
		var got []string
		for _, id := range h.distinct(r) {
			if slices.Contains(ids, id) {
				got = append(got, id)
			}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("partition %d came in the order %v", p, got)
		}
	}
	if repeats := len(r.ids()) - len(want); repeats > 30 {
		t.Errorf("%d events were taken twice", repeats)
	}
}

// distinct are the ids that a receiver took, by their first time.
func (h *Hook) distinct(r *receiver) (ids []string) {
	seen := map[string]bool{}
	for _, id := range r.ids() {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

func deadLetters(t *testing.T, path string) (dead []deadLetter) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		var d deadLetter
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		dead = append(dead, d)
	}
	return dead
}

// What a receiver refuses for good, and what it does not take in time, becomes a dead letter, with its body; the events
// behind it come.
func TestDeadLetters(t *testing.T) {
	b := newBench(t)
	attempts := map[string]int{}
	var mu sync.Mutex
	r := newReceiver(t, func(w http.ResponseWriter, req *http.Request, _ []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		id := req.Header.Get(HeaderID)
		attempts[id]++
		switch id {
		case "d-order-0/0":
			http.Error(w, "no such\x1b[2J\ncolumn", http.StatusUnprocessableEntity)
			return false
		case "d-order-1/0":
			w.WriteHeader(http.StatusServiceUnavailable)
			return false
		}
		return true
	})
	b.publish(0, 6)
	cfg := b.config(r.URL)
	cfg.GiveUp = 100 * time.Millisecond
	h, stop := b.start(cfg)
	r.wait(b.ctx, t, 4)
	for (h.Status().Dead < 2 || h.Status().Taken < 4) && b.ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // a hook tells nobody what it has given up
	}
	stop()
	if s := h.Status(); s.Dead != 2 || s.Taken != 4 || s.Waiting != 0 || s.Failed != int64(attempts["d-order-0/0"]+attempts["d-order-1/0"]) {
		t.Errorf("status is %+v", s)
	}
	dead := deadLetters(t, DeadLetters(b.dir, "a"))
	if len(dead) != 2 {
		t.Fatalf("dead letters: %+v", dead)
	}
	slices.SortFunc(dead, func(a, b deadLetter) int { return bytes.Compare(a.Event, b.Event) })
	if d := dead[0]; d.Attempts != refusals || !strings.Contains(d.Problem, "422") || !strings.Contains(d.Problem, `no such\x1b[2J column`) || strings.Contains(d.Problem, "\x1b") {
		t.Errorf("the refused one: %+v", d)
	}
	if d := dead[1]; d.Attempts < 2 || !strings.Contains(d.Problem, "503") || !bytes.Contains(d.Event, []byte(`"id":"d-order-1/0"`)) {
		t.Errorf("the one that was given up: %+v", d)
	}
	// Posted once more, one is taken, with the body that it had; the other is a dead letter again.
	answer := r.answer
	r.answer = func(w http.ResponseWriter, req *http.Request, body []byte) bool {
		return req.Header.Get(HeaderID) == "d-order-1/0" || answer(w, req, body)
	}
	took := map[string]string{}
	if err := Redeliver(b.ctx, cfg, func(id, problem string) { took[id] = problem }); err != nil {
		t.Fatal(err)
	}
	if len(took) != 2 || took["d-order-1/0"] != "" || !strings.Contains(took["d-order-0/0"], "422") {
		t.Errorf("posted once more: %v", took)
	}
	if dead := deadLetters(t, DeadLetters(b.dir, "a")); len(dead) != 1 || dead[0].Attempts != refusals+1 || !HasDeadLetters(b.dir, "a") {
		t.Errorf("dead letters are %+v", dead)
	}
	r.answer = func(http.ResponseWriter, *http.Request, []byte) bool { return true }
	if err := Redeliver(b.ctx, cfg, func(string, string) {}); err != nil || HasDeadLetters(b.dir, "a") {
		t.Errorf("posted again, and taken: %v", err)
	}
	if err := Redeliver(b.ctx, cfg, func(id, _ string) { t.Errorf("%s is posted, and there is none", id) }); err != nil {
		t.Error(err)
	}
	r.wait(b.ctx, t, 2)
	again, stop := b.start(cfg)
	b.publish(6, 7)
	r.wait(b.ctx, t, 1)
	for again.Status().Taken < 1 && b.ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // a hook tells nobody what was taken
	}
	stop()
	if s := again.Status(); s.Taken != 1 || s.Dead != 0 {
		t.Errorf("after a restart: %+v", s)
	}
}

// A hook begins with the next event, unless told otherwise, and takes what its
// filter takes; a receiver that is gone is left alone until the next start, and
// loses nothing.
func TestFromNowFilterAndGone(t *testing.T) {
	b := newBench(t)
	gone := true
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		if gone {
			w.WriteHeader(http.StatusGone)
		}
		return !gone
	})
	b.publish(0, 5)
	cfg := b.config(r.URL)
	cfg.FromStart = false
	cfg.Filter.Kinds = []schemas.Kind{schemas.Missing}
	h, stop := b.start(cfg)
	b.publish(5, 10) // 5, 7 and 9 are missing
	for h.Status().GoneFrom.IsZero() && b.ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // a hook tells nobody that its receiver is gone
	}
	stop()
	if s := h.Status(); s.Taken != 0 || s.Dead != 0 || !strings.Contains(s.Problem, "410") {
		t.Errorf("status is %+v", s)
	}
	gone = false
	_, stop = b.start(cfg)
	r.wait(b.ctx, t, 3)
	stop()
	if got := slices.Sorted(slices.Values(r.ids())); !slices.Equal(got, []string{"d-order-5/0", "d-order-7/0", "d-order-9/0"}) {
		t.Errorf("took %v", got)
	}
}

// A position that was not saved before a kill: the events behind it come again, under the same ids, and the rest after them.
func TestKilledHookRepeatsUnderTheSameIDs(t *testing.T) {
	b := newBench(t)
	r := newReceiver(t, func(http.ResponseWriter, *http.Request, []byte) bool { return true })
	cfg := b.config(r.URL)
	h, stop := b.start(cfg)
	saved, err := os.ReadFile(h.file())
	if err != nil {
		t.Fatal(err)
	}
	want := b.publish(0, 6)
	r.wait(b.ctx, t, 6)
	stop()
	if err := os.WriteFile(h.file(), saved, 0o600); err != nil { // as a kill would have left it
		t.Fatal(err)
	}
	_, stop = b.start(cfg)
	r.wait(b.ctx, t, 6)
	stop()
	got := slices.Sorted(slices.Values(r.ids()))
	if !slices.Equal(got, slices.Sorted(slices.Values(slices.Concat(want, want)))) {
		t.Errorf("took %v", got)
	}
	for id, times := range r.times {
		if len(times) != 2 {
			t.Errorf("%s was posted at %v", id, times)
		}
	}
	for name, text := range map[string]string{"not JSON": "x", "a newer format": `{"format":2,"position":"AQ"}`, "other topics": `{"format":1,"position":"AQEAAAAAAA"}`} {
		if err := os.WriteFile(h.file(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(b.ctx, b.feed, cfg); err == nil || !strings.Contains(err.Error(), h.file()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// "Shadow/webhook URL: 169.254.169.254, ::ffff:127.0.0.1, 2130706433, rebinding host, 302 to metadata, file://, gopher:// —
// blocked at dial/scheme": nothing reaches the server, and the event stays.
func TestBadInput30_InternalAddressesAreNotReached(t *testing.T) {
	b := newBench(t)
	reached := make(chan string, 1000)
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.Host }))
	defer inside.Close()
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b.publish(0, 1)
	e := &subscribe.Event{Event: *subscribetest.Divergence("order", 0)}
	e.CloudEvent, e.Data = schemas.CloudEventOf(b.rules, &e.Event), []byte("{}")
	for _, url := range []string{
		"http://169.254.169.254/latest/meta-data", "http://[::ffff:127.0.0.1]:" + port, "http://2130706433:" + port, "http://0x7f000001:" + port,
		"http://127.1:" + port, "http://localhost:" + port, "http://127.0.0.1:" + port, "http://0.0.0.0:" + port, "http://[::1]:" + port,
		"http://[fd00:ec2::254]/", "file:///etc/passwd", "gopher://127.0.0.1:" + port + "/",
	} {
		cfg := b.config(url)
		cfg.Guard = outbound.Guard{}
		h, err := New(b.ctx, b.feed, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if a := h.post(b.ctx, e, time.Now()); a.taken || a.problem == "" {
			t.Errorf("%s: %+v", url, a)
		}
	}
	// A name that resolves to an address that is allowed and to one that is not reaches the first alone.
	cfg := b.config("http://127.0.0.1:" + port)
	cfg.Guard = outbound.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	h, err := New(b.ctx, b.feed, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if a := h.post(b.ctx, e, time.Now()); a.taken {
		t.Error("another network's address was reached")
	}
	// An allowed receiver cannot send us on.
	for _, code := range []int{301, 302, 303, 307, 308} {
		r := newReceiver(t, func(w http.ResponseWriter, req *http.Request, _ []byte) bool {
			http.Redirect(w, req, inside.URL, code)
			return false
		})
		h, err := New(b.ctx, b.feed, b.config(r.URL))
		if err != nil {
			t.Fatal(err)
		}
		valid := *e
		valid.Data = schemas.AppendEventJSON(nil, &e.Event)
		if a := h.post(b.ctx, &valid, time.Now()); a.taken || !strings.Contains(a.problem, "redirect") {
			t.Errorf("%d: %+v", code, a)
		}
		h.client.CloseIdleConnections()
	}
	select {
	case host := <-reached:
		t.Errorf("the server inside was reached as %s", host)
	default:
	}
}

// The signature is that of Standard Webhooks, by its own example; and a receiver
// refuses what is not signed, not now, or not whole.
func TestSignatures(t *testing.T) {
	s, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signed %s", got)
	}
	at := time.Unix(1614265330, 0)
	header := func() http.Header {
		h := http.Header{}
		h.Set(HeaderID, "a")
		h.Set(HeaderTimestamp, "1614265330")
		h.Set(HeaderSignature, secret.sign("a", "1614265330", []byte("body"))+" "+older.sign("a", "1614265330", []byte("body")))
		return h
	}
	for _, who := range []Secret{secret, older} {
		if err := Verify(header(), []byte("body"), at.Add(Tolerance), who); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]func(h http.Header) (string, time.Time, Secret){
		"another body": func(http.Header) (string, time.Time, Secret) { return "bodies", at, secret },
		"another id":   func(h http.Header) (string, time.Time, Secret) { h.Set(HeaderID, "b"); return "body", at, secret },
		"another time": func(h http.Header) (string, time.Time, Secret) {
			h.Set(HeaderTimestamp, "1614265331")
			return "body", at, secret
		},
		"too old":        func(http.Header) (string, time.Time, Secret) { return "body", at.Add(Tolerance + time.Second), secret },
		"too new":        func(http.Header) (string, time.Time, Secret) { return "body", at.Add(-Tolerance - time.Second), secret },
		"another secret": func(http.Header) (string, time.Time, Secret) { return "body", at, Secret("somebody else's") },
		"no signature":   func(h http.Header) (string, time.Time, Secret) { h.Del(HeaderSignature); return "body", at, secret },
		"no timestamp":   func(h http.Header) (string, time.Time, Secret) { h.Del(HeaderTimestamp); return "body", at, secret },
		"another scheme": func(h http.Header) (string, time.Time, Secret) {
			h.Set(HeaderSignature, strings.ReplaceAll(h.Get(HeaderSignature), "v1,", "v1a,"))
			return "body", at, secret
		},
	} {
		h := header()
		body, now, who := c(h)
		if err := Verify(h, []byte(body), now, who); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "hunter2", "whsec_", "whsec_hunter2", "whsec_aHVudGVyMg==", "whsec_" + strings.Repeat("QUFB", 22)} {
		if _, err := ParseSecret(text); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMg") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if got := headerID("trip/a\nb/0"); strings.ContainsAny(got, "\n ") || got == "" {
		t.Errorf("the id is %q", got)
	}
}
