package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/datadir"
	"github.com/trueup-io/trueup/internal/story"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// receiver is an OTLP/HTTP receiver in memory.
type receiver struct {
	server *httptest.Server

	mu    sync.Mutex
	spans map[string]*otlp.Span // by name; guarded by mu
	came  chan struct{}         // has one for each request
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{spans: map[string]*otlp.Span{}, came: make(chan struct{}, 100)}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &request)
		}
		if err != nil || q.URL.Path != "/v1/traces" {
			http.Error(w, fmt.Sprint(q.URL, err), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		for _, rs := range request.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					r.spans[s.Name] = s
				}
			}
		}
		r.mu.Unlock()
		r.came <- struct{}{}
	}))
	t.Cleanup(r.server.Close)
	return r
}

// wait returns the spans once one of a name came.
func (r *receiver) wait(t *testing.T, name string) map[string]*otlp.Span {
	t.Helper()
	for {
		r.mu.Lock()
		_, there := r.spans[name]
		all := maps.Clone(r.spans)
		r.mu.Unlock()
		if there {
			return all
		}
		select {
		case <-r.came:
		case <-time.After(30 * time.Second):
			r.mu.Lock()
			t.Fatalf("no span %q came, only %v", name, slices.Sorted(maps.Keys(r.spans)))
		}
	}
}

// logged is a log that several goroutines write to.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// comparing is a pipeline that compares, on a log of this process, with no store.
func comparing(t *testing.T, otlpURL string, out io.Writer) *pipeline {
	t.Helper()
	m, err := schemas.LoadMigration("../../examples/orders/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m.DataDir, m.Log.Partitions = t.TempDir(), 2
	p := &pipeline{cfg: pipelineConfig{migration: m, otlp: otlpURL, log: slog.New(slog.NewJSONHandler(out, nil))}, started: time.Now()}
	if p.rules, err = m.Rules(); err != nil {
		t.Fatal(err)
	}
	if p.dir, err = datadir.Claim(m.DataDir, m.Name); err != nil {
		t.Fatal(err)
	}
	if p.log, err = stream.Open(t.Context(), stream.Config{Migration: m.Name, DataDir: filepath.Join(m.DataDir, "broker"), Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	if p.observer, err = observe("127.0.0.1:0", &p.latest); err != nil {
		t.Fatal(err)
	}
	if err := p.openComparison(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return p
}

// put writes records to the changes topic, each where it belongs.
func (p *pipeline) put(t *testing.T, records ...schemas.Record) {
	t.Helper()
	w, err := p.log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	e, _ := p.rules.Entity("order")
	for i := range records {
		out := capture.Everywhere(p.log, &records[i])
		if c := records[i].Change; c != nil {
			out = out[:1]
			out[0].Partition, out[0].Key = stream.Partition(e.PartitionKey(c.Key), p.log.Partitions()), e.MessageKey(c.Key)
		}
		if err := w.Write(t.Context(), out...); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// write is a change of order 42 at a second of the log.
func orderAt(side schemas.Side, pos int, at schemas.Micros, status string, tag schemas.Tag) schemas.Record {
	column := map[schemas.Side]string{schemas.Legacy: "state", schemas.Target: "status"}[side]
	placed := map[schemas.Side]string{schemas.Legacy: "placed", schemas.Target: "placed_at"}[side]
	return schemas.Record{Change: &schemas.Change{EventID: schemas.EventID{Source: side.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos)}, Side: side,
		Entity: "order", Key: []string{"42"}, Op: schemas.OpUpdate, Txn: fmt.Sprint(pos), CommitTS: at, Tag: tag,
		After: schemas.Row{{Name: "id", Text: "42"}, {Name: column, Text: status}, {Name: "amount", Text: "1.00"},
			{Name: placed, Text: "2026-11-23 10:00:00"}, {Name: "note", Presence: schemas.Null}}}}
}

func upTo(pos int, at schemas.Micros) (out []schemas.Record) {
	for _, side := range schemas.Sides {
		out = append(out, schemas.Record{Progress: &schemas.Progress{Side: side, Source: side.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos), TS: at}})
	}
	return out
}

// "One trace id typed by the application is found in its divergence, in the logs
// and in the exported spans"; from its span through capture, verdict and repair
// to the echo it is one trace.
func TestOneTraceFromTheApplicationToTheEcho(t *testing.T) {
	const traceID, spanID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	to := newReceiver(t)
	var out logged
	p := comparing(t, to.server.URL, &out)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of the process:\n%s", out.b.String())
		}
	})
	start := schemas.MicrosOf(time.Now().Add(-10 * time.Second))
	tag := schemas.Tag{Traceparent: "00-" + traceID + "-" + spanID + "-01", WriteID: "w-2", Service: "checkout", FlagEpoch: "7"}
	p.put(t, schemas.Record{Control: &schemas.Control{Rules: p.rules.Version, Baseline: schemas.BaselineEmpty}},
		orderAt(schemas.Legacy, 1, start, "new", schemas.Tag{}), orderAt(schemas.Target, 1, start, "new", schemas.Tag{}),
		orderAt(schemas.Legacy, 2, start+1_000_000, "paid", tag))
	p.put(t, upTo(5, start+5_000_000)...)
	spans := to.wait(t, "verdict stale")

	var id string
	for _, a := range spans["verdict stale"].Attributes {
		if a.Key == "trueup.divergence.id" {
			id = a.Value.GetStringValue()
		}
	}
	repair := schemas.Compensation{ID: strings.Repeat("c0ffee00", 4), DivergenceID: id, Entity: "order", Key: []string{"42"}, Side: schemas.Target, Policy: "authority_wins",
		Mode: "apply", Statement: schemas.UpdateRow, Schema: "shop", Table: "orders", KeyColumns: schemas.Row{{Name: "id", Text: "42"}},
		Expect: schemas.Row{{Name: "id", Text: "42"}}, Set: schemas.Row{{Name: "status", Text: "paid"}},
		DerivedOf: schemas.EventID{Source: "legacy", Epoch: 1, Pos: fmt.Sprintf("%016X", 2)}, Rules: p.rules.Version, CreatedAt: start + 5_000_000}
	w, err := p.log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	topics := p.log.Topics()
	outcome := schemas.Outcome{CompensationID: repair.ID, DivergenceID: id, Entity: "order", Key: repair.Key, Result: schemas.Applied, At: start + 6_000_000}
	if err := w.Write(t.Context(), stream.Record{Topic: topics.Compensations, Value: schemas.AppendCompensationJSON(nil, &repair)}); err != nil {
		t.Fatal(err)
	}
	// The three topics are followed beside one another: the repair is to be known before its outcome is.
	waitFor(t, func() bool {
		o := p.events.Snapshot(nil).Oldest
		return len(o) == 1 && o[0].Repair == repair.ID
	})
	if err := w.Write(t.Context(), stream.Record{Topic: topics.Outcomes, Value: schemas.AppendOutcomeJSON(nil, &outcome)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	to.wait(t, "repair applied")
	p.put(t, orderAt(schemas.Target, 7, start+6_000_000, "paid", schemas.Tag{CompensationID: repair.ID}))
	p.put(t, upTo(9, start+9_000_000)...)
	spans = to.wait(t, "echo")

	parent := spanID
	for _, name := range []string{"capture legacy", "verdict stale", "repair applied", "echo"} {
		s := spans[name]
		if s == nil {
			t.Fatalf("no span %q", name)
		}
		if got := hex.EncodeToString(s.TraceId); got != traceID {
			t.Errorf("%s is of trace %s", name, got)
		}
		if got := hex.EncodeToString(s.ParentSpanId); got != parent {
			t.Errorf("%s is under span %s, want %s", name, got, parent)
		}
		if s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s ends before it starts", name)
		}
		parent = hex.EncodeToString(s.SpanId)
	}
	if c := spans["capture legacy"]; c.EndTimeUnixNano == c.StartTimeUnixNano {
		t.Error("capture took no time: when the change came to the log was not known")
	}

	// In the divergence, as it is shown and as JSON.
	s, err := readStory(t.Context(), p.cfg.migration, id, story.DefaultBefore, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var shown, lines bytes.Buffer
	if err := s.Text(&shown, 100); err != nil {
		t.Fatal(err)
	}
	if err := s.JSON(&lines); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(shown.String(), traceID) || !strings.Contains(lines.String(), `"trace_id":"`+traceID+`"`) {
		t.Errorf("the divergence does not have the trace:\n%s", shown.String())
	}
	// In the log of the process.
	out.mu.Lock()
	defer out.mu.Unlock()
	found := map[string]bool{}
	for line := range bytes.Lines(out.b.Bytes()) {
		var l struct {
			Msg        string `json:"msg"`
			Trace      string `json:"trace_id"`
			Divergence string `json:"divergence"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("the log is no JSON: %s", line)
		}
		if l.Divergence == id && (l.Trace == traceID || l.Msg != "divergence opened") {
			found[l.Msg] = true
		}
	}
	for _, msg := range []string{"divergence opened", "divergence closed", "repair"} {
		if !found[msg] {
			t.Errorf("no line %q in\n%s", msg, out.b.String())
		}
	}
	// And in the exemplars of the histograms.
	_, page := p.observer.page(t, "application/openmetrics-text;version=1.0.0")
	if !strings.Contains(string(page), `# {trace_id="`+traceID+`"}`) {
		t.Error("no exemplar has the trace")
	}
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // it says nothing as it goes
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be")
		}
	}
}

// A receiver that is not there keeps nobody from comparing, or from stopping, and
// is said once.
func TestSpansWithoutAReceiver(t *testing.T) {
	var out logged
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	t.Run("compares", func(t *testing.T) {
		p := comparing(t, gone.URL, &out)
		start := schemas.MicrosOf(time.Now().Add(-10 * time.Second))
		p.put(t, schemas.Record{Control: &schemas.Control{Rules: p.rules.Version, Baseline: schemas.BaselineEmpty}}, orderAt(schemas.Legacy, 2, start, "paid", schemas.Tag{}))
		p.put(t, upTo(5, start+5_000_000)...)
		waitFor(t, func() bool { return p.events.Snapshot(nil).Open == 1 })
	})
	if !strings.Contains(out.b.String(), "spans") {
		t.Errorf("nothing was said: %s", out.b.String())
	}
}

// A storm of divergences does not fill the disk with its log.
func TestJournalIsCut(t *testing.T) {
	var out logged
	j := &journal{log: slog.New(slog.NewJSONHandler(&out, nil))}
	now := time.Now()
	d := schemas.Divergence{ID: "d", Stage: schemas.Opened}
	for range 10_000 {
		j.Divergence(&d, now, true)
	}
	j.Divergence(&d, now.Add(2*time.Minute), true)
	j.Divergence(&d, now, false)
	if n := strings.Count(out.b.String(), "\n"); n != maxJournal+2 || !strings.Contains(out.b.String(), `"count":9700`) {
		t.Errorf("%d lines", n)
	}
}

func TestLoggerAsAskedFor(t *testing.T) {
	var b bytes.Buffer
	l, err := newLoggerAs(&b, "text", "warn")
	if err != nil {
		t.Fatal(err)
	}
	l.Info("not this")
	l.Warn("this")
	if got := b.String(); !strings.Contains(got, "level=WARN msg=this") || strings.Contains(got, "not this") {
		t.Error(got)
	}
	for _, c := range [][2]string{{"xml", "info"}, {"json", "loud"}} {
		if _, err := newLoggerAs(&b, c[0], c[1]); err == nil {
			t.Errorf("%v is taken", c)
		}
	}
}
