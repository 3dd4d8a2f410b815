package sse

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/subscribe"
	"github.com/trueup-io/trueup/subscribe/subscribetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a log and a server of its events.
type bench struct {
	t       *testing.T
	ctx     context.Context
	log     *stream.Log
	rules   *schemas.Rules
	handler *Handler
	stop    context.CancelFunc
	url     string
}

func newBench(t *testing.T, change func(*Handler)) *bench {
	b := &bench{t: t, rules: subscribetest.Rules(t), log: subscribetest.Log(t, t.TempDir())}
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	feed, err := subscribe.NewFeed(b.ctx, b.log, "orders")
	if err != nil {
		t.Fatal(err)
	}
	feeding := make(chan error, 1)
	go func() { feeding <- feed.Run(b.ctx) }()
	done, stop := context.WithCancel(b.ctx)
	b.stop = stop
	b.handler = &Handler{Feed: feed, Rules: b.rules, Clients: 8, Done: done}
	if change != nil {
		change(b.handler)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /events", b.handler)
	server := httptest.NewUnstartedServer(mux)
	server.Config.ReadTimeout = 300 * time.Millisecond // as the real one has, and short
	server.Start()
	b.url = server.URL + "/events"
	t.Cleanup(func() {
		stop()
		server.Close()
		cancel()
		if err := <-feeding; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := b.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) publish(events ...*schemas.Event) {
	b.t.Helper()
	subscribetest.Publish(b.ctx, b.t, b.log, b.rules, events...)
}

// reader reads a stream as the HTML standard says.
type reader struct {
	t       *testing.T
	body    io.ReadCloser
	lines   *bufio.Scanner
	last    string // the id of the last block
	comment []string
}

func (b *bench) connect(query, last string) *reader {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, b.url+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) //nolint:bodyclose // it is the reader's, and its test closes it
	if err != nil {
		b.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		text, _ := io.ReadAll(resp.Body)
		b.t.Fatalf("%d %s: %s", resp.StatusCode, resp.Header.Get("Content-Type"), text)
	}
	r := &reader{t: b.t, body: resp.Body, lines: bufio.NewScanner(resp.Body)}
	r.lines.Buffer(nil, 1<<20)
	return r
}

// next returns the data of the next block, which may be none; false at the end.
func (r *reader) next() (data string, more bool) {
	for r.lines.Scan() {
		line := r.lines.Text()
		switch {
		case line == "":
			return data, true
		case strings.HasPrefix(line, ": "):
			r.comment = append(r.comment, line)
		case strings.HasPrefix(line, "id: "):
			r.last = line[4:]
		case strings.HasPrefix(line, "data: "):
			data += line[6:]
		case strings.HasPrefix(line, "retry: "):
		default:
			r.t.Errorf("a line of no meaning: %q", line)
		}
	}
	return "", false
}

// ids returns the CloudEvents' ids of the next n events.
func (r *reader) ids(n int) (ids []string) {
	r.t.Helper()
	for len(ids) < n {
		data, more := r.next()
		if !more {
			r.t.Fatalf("the stream ended after %v: %v", ids, r.lines.Err())
		}
		if data == "" {
			continue
		}
		var e struct {
			SpecVersion, ID, DataContentType string
			Data                             json.RawMessage
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil || e.SpecVersion != "1.0" || e.DataContentType != "application/json" {
			r.t.Fatalf("%s: %v", data, err)
		}
		if _, err := schemas.ParseEventJSON(e.Data); err != nil {
			r.t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// "SSE resumes": a client that is cut off again and again, after each event, and
// connects with the last id that it saw, gets each event once, those that came
// while it was away as well.
func TestResumesBehindTheLastID(t *testing.T) {
	b := newBench(t, nil)
	var got, want []string
	r := b.connect("?from=start&topic=divergences,outcomes", "")
	for n := range 30 {
		if n%3 == 0 {
			b.publish(subscribetest.Divergence("order", n), subscribetest.Divergence("order", n+1), subscribetest.Outcome("order", n, schemas.Applied))
			want = append(want, fmt.Sprintf("d-order-%d/0", n), fmt.Sprintf("d-order-%d/0", n+1), fmt.Sprintf("c-order-%d/applied", n))
		}
		got = append(got, r.ids(1)...)
		r.body.Close()
		r = b.connect("?from=start&topic=divergences,outcomes", r.last)
	}
	r.body.Close()
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// A filter that takes nothing moves the id on all the same; a quiet stream stays
// open beyond the server's own timeouts.
func TestFilterAndHeartbeat(t *testing.T) {
	b := newBench(t, func(h *Handler) { h.Heartbeat = 150 * time.Millisecond })
	b.publish(subscribetest.Divergence("order", 0))
	r := b.connect("?entity=line&kind=missing,stale&severity=info&owner=team-lines", "")
	defer func() { r.body.Close() }()
	r.next() // its position
	first := r.last
	b.publish(subscribetest.Divergence("order", 1), subscribetest.Divergence("line", 1))
	for r.last == first {
		if data, more := r.next(); !more || data != "" {
			t.Fatalf("%q, %t", data, more)
		}
	}
	for range 4 { // longer than ReadTimeout
		r.next()
	}
	b.publish(subscribetest.Divergence("line", 2))
	if got := r.ids(1); got[0] != "d-line-2/0" {
		t.Errorf("got %v", got)
	}
	r.body.Close()
	r = b.connect("?entity=line", r.last)
	b.publish(subscribetest.Divergence("line", 4))
	if got := r.ids(1); got[0] != "d-line-4/0" {
		t.Errorf("behind the last id comes %v", got)
	}
	if len(r.comment) > 0 && r.comment[0] != ": alive" {
		t.Errorf("comments are %q", r.comment)
	}
}

// A client that takes nothing is dropped; who writes, and the others, notice nothing of it; and it loses nothing.
func TestSlowClientIsDroppedAndLosesNothing(t *testing.T) {
	b := newBench(t, func(h *Handler) { h.WriteTimeout = time.Second })
	wide := subscribetest.Divergence("order", 0)
	wide.Divergence.Authority.Row[1].Text = strings.Repeat("x", 256<<10)
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(b.url, "http://"), "/events"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(256 << 10)
	fmt.Fprintf(conn, "GET /events?from=start HTTP/1.1\r\nHost: localhost\r\n\r\n")
	quick := b.connect("?from=start", "")
	defer quick.body.Close()
	const events = 40
	for range events {
		b.publish(wide)
		if got := quick.ids(1); got[0] != "d-order-0/0" {
			t.Fatal(got)
		}
	}
	for b.handler.Dropped() == 0 && b.ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the handler tells nobody whom it dropped
	}
	// What it has taken by then ends somewhere; it goes on from its last id.
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	slow := &reader{t: t, body: resp.Body, lines: bufio.NewScanner(resp.Body)}
	slow.lines.Buffer(nil, 1<<20)
	n, last := 0, ""
	for {
		data, more := slow.next()
		if !more {
			break
		}
		if last = slow.last; data != "" {
			n++
		}
	}
	if n >= events {
		t.Fatal("it was not slow: the buffers took everything")
	}
	again := b.connect("", last)
	defer again.body.Close()
	again.ids(events - n)
}

// "Bounded clients"; and the end of the process is said.
func TestBoundedAndToldOfTheEnd(t *testing.T) {
	b := newBench(t, func(h *Handler) { h.Clients = 2 })
	one, two := b.connect("", ""), b.connect("", "")
	defer one.body.Close()
	if code := b.code(http.MethodGet, "", nil); code != http.StatusServiceUnavailable {
		t.Errorf("a third client gets %d", code)
	}
	two.body.Close()
	for b.handler.Connected() > 1 && b.ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the handler tells nobody who has left
	}
	three := b.connect("", "")
	defer three.body.Close()
	b.stop()
	for _, r := range []*reader{one, three} {
		for more := true; more; {
			_, more = r.next()
		}
		if len(r.comment) != 1 || !strings.Contains(r.comment[0], "connect again") || r.lines.Err() != nil {
			t.Errorf("it ended with %q, %v", r.comment, r.lines.Err())
		}
	}
}

func (b *bench) code(method, query string, header map[string][]string) int {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, method, b.url+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for name, values := range header {
		if req.Header[name] = values; name == "Host" {
			req.Host = values[0]
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// What is asked wrongly, or by whom it is not for, is refused with a reason, before anything is read.
func TestBadInput28And29_RequestsThatAreRefused(t *testing.T) {
	b := newBench(t, nil)
	for query, want := range map[string]int{
		"?topic=changes": 400, "?kind=lost": 400, "?severity=grave": 400, "?entity=other": 400, "?form=start": 400, "?from=a&from=b": 400,
		"?entity=%zz": 400, "?a;b": 400, "?from=yesterday": 410, "?from=AQEAAAAAAA": 410,
	} {
		if got := b.code(http.MethodGet, query, nil); got != want {
			t.Errorf("%s gives %d, want %d", query, got, want)
		}
	}
	if got := b.code(http.MethodGet, "", map[string][]string{"Last-Event-Id": {strings.Repeat("A", 900)}}); got != 410 {
		t.Errorf("a last id of no topics gives %d", got)
	}
	for name, header := range map[string]map[string][]string{
		"rebound name": {"Host": {"evil.example:80"}}, "other site": {"Origin": {"https://evil.example"}}, "cross-site": {"Sec-Fetch-Site": {"cross-site"}},
		"no origin": {"Origin": {"null"}}, "an address of the network": {"Host": {"10.0.0.1"}},
	} {
		if got := b.code(http.MethodGet, "", header); got != http.StatusForbidden {
			t.Errorf("%s: %d", name, got)
		}
	}
	for name, header := range map[string]map[string][]string{"localhost": {"Host": {"localhost:9464"}}, "IPv6": {"Host": {"[::1]:9464"}}} {
		if got := b.code(http.MethodHead, "", header); got != http.StatusOK {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := b.code(http.MethodPost, "", nil); got != http.StatusMethodNotAllowed {
		t.Errorf("POST gives %d", got)
	}
	b.handler.Token = "s3cret"
	for name, header := range map[string]map[string][]string{
		"none": nil, "another": {"Authorization": {"Bearer s3cre"}}, "twice": {"Authorization": {"Bearer s3cret", "Bearer s3cret"}}, "basic": {"Authorization": {"Basic s3cret"}},
		"dots": {"Authorization": {strings.Repeat(".", 100_000)}},
	} {
		if got := b.code(http.MethodHead, "", header); got != http.StatusUnauthorized {
			t.Errorf("token %s: %d", name, got)
		}
	}
	if got := b.code(http.MethodHead, "", map[string][]string{"Authorization": {"Bearer s3cret"}, "Host": {"trueup.example"}}); got != http.StatusOK {
		t.Errorf("with its token: %d", got)
	}
}
