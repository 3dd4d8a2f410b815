// Package spans puts what becomes of an application's write into the trace of the
// request that made it: its way into the log, the verdict, the repair, and the
// repair's echo, as OpenTelemetry spans.
//
//	application's span (traceparent of the write)
//	└── capture   from its commit to when it stood in the log
//	    └── verdict   from when it was due to when the divergence was published
//	        ├── repair    from when it was planned to when it was written
//	        │   └── echo      from its commit to when both logs showed equality
//	        └── closed    the same, where no repair closed it
//
// A divergence whose write carries no traceparent has a trace of its own, whose
// id is the divergence's. Span ids are functions of the ids of what they tell of,
// so that what is told twice is told the same. No span holds a key or a value.
//
// It promises to hold nobody up: spans wait in a bounded queue, and are dropped
// where it is full. What was told before the process began is known, and not
// told again.
package spans

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/trueup-io/trueup/internal/watch"
	"github.com/trueup-io/trueup/schemas"
)

// Config says where spans go.
type Config struct {
	// Endpoint is the URL of an OTLP/HTTP receiver, such as http://127.0.0.1:4318; without a path it is /v1/traces. Headers and certificates come from
	// the environment, as OpenTelemetry has it (OTEL_EXPORTER_OTLP_HEADERS, …).
	Endpoint  string
	Rules     *schemas.Rules
	Migration string
	Version   string // of Trueup
	Logger    *slog.Logger
}

// Spans tells of events. It is a watch.Observer.
type Spans struct {
	cfg      Config
	provider *sdk.TracerProvider
	tracer   trace.Tracer

	mu      sync.Mutex
	written recent             // guarded by mu: when changes with a traceparent came to the log
	open    map[string]*told   // guarded by mu: by divergence
	repairs map[string]planned // guarded by mu: by compensation, until it ended
}

// told is what is kept of an open divergence.
type told struct {
	verdict trace.SpanContext
}

type planned struct {
	c  schemas.Compensation
	at time.Time
}

// maxKept bounds the divergences, and the repairs, that are remembered.
const maxKept = 50_000

// Open connects to nothing yet: the receiver may come and go.
func Open(ctx context.Context, cfg Config) (*Spans, error) {
	endpoint, err := endpointOf(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint), otlptracehttp.WithTimeout(5*time.Second),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: 20 * time.Second}))
	if err != nil {
		return nil, fmt.Errorf("spans: endpoint %q: %w", cfg.Endpoint, err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Spans{cfg: cfg, written: newRecent(), open: map[string]*told{}, repairs: map[string]planned{}}
	s.provider = sdk.NewTracerProvider(
		sdk.WithBatcher(&quiet{SpanExporter: exporter, log: cfg.Logger}, sdk.WithBatchTimeout(time.Second), sdk.WithMaxQueueSize(4096)),
		// Divergences are few, and whoever looks at one wants all of it: also where the application's trace was not sampled.
		sdk.WithSampler(sdk.AlwaysSample()),
		sdk.WithIDGenerator(idGenerator{}),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "trueup"), attribute.String("service.version", cfg.Version),
			attribute.String("trueup.migration", cfg.Migration))))
	s.tracer = s.provider.Tracer("github.com/trueup-io/trueup/internal/spans")
	return s, nil
}

// endpointOf completes a URL without a path by that of OTLP's traces.
func endpointOf(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("spans: endpoint %q: want a URL such as http://127.0.0.1:4318", text)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return u.String(), nil
}

// Close sends what waits.
func (s *Spans) Close(ctx context.Context) error { return s.provider.Shutdown(ctx) }

// Seen remembers when a change came to the log.
func (s *Spans) Seen(r *schemas.Record, written time.Time) {
	if r.Change == nil || r.Change.Tag.Traceparent == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.Change.EventID
	id.Source, id.Pos = strings.Clone(id.Source), strings.Clone(id.Pos) // the record's memory is used again
	s.written.add(id, written)
}

// tell makes a span that is over already.
func (s *Spans) tell(parent trace.SpanContext, id idOf, name string, from, to time.Time, failed string, attributes ...attribute.KeyValue) trace.SpanContext {
	ctx := context.WithValue(context.Background(), idKey{}, id)
	if parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	if to.Before(from) {
		to = from // clocks of several machines
	}
	_, span := s.tracer.Start(ctx, name, trace.WithTimestamp(from), trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(attributes...))
	if failed != "" {
		span.SetStatus(codes.Error, failed)
	}
	span.End(trace.WithTimestamp(to))
	return span.SpanContext()
}

// Divergence implements watch.Observer.
func (s *Spans) Divergence(d *schemas.Divergence, published time.Time, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch d.Stage {
	case schemas.Opened:
		s.opened(d, published, live)
	case schemas.Closed:
		s.closed(d, published, live)
	}
}

func (s *Spans) opened(d *schemas.Divergence, published time.Time, live bool) {
	if len(s.open) >= maxKept {
		return
	}
	parent, traced := parentOf(d)
	verdict := idOf{trace: traced, span: spanID("verdict", d.ID)}
	capture := idOf{trace: traced, span: spanID("capture", d.ID)}
	s.open[d.ID] = &told{verdict: verdict.context()}
	if !live {
		return
	}
	common := []attribute.KeyValue{attribute.String("trueup.divergence.id", d.ID), attribute.String("trueup.entity", d.Entity)}
	under := parent
	if c := d.Cause; c != nil {
		written, ok := s.written.get(c.EventID)
		if !ok {
			written = c.CommitTS.Time()
		}
		under = s.tell(parent, capture, "capture "+c.Side.String(), c.CommitTS.Time(), written, "", append(common, attribute.String("trueup.side", c.Side.String()),
			attribute.String("trueup.op", c.Op.String()), attribute.String("trueup.source", c.Source), attribute.Int64("trueup.epoch", int64(c.Epoch)),
			attribute.String("trueup.pos", c.Pos), attribute.String("trueup.txn", c.Txn), attribute.String("trueup.write_id", c.Tag.WriteID),
			attribute.String("trueup.flag_epoch", c.Tag.FlagEpoch), attribute.String("trueup.service", c.Tag.Service))...)
	}
	due := d.Since
	if e, ok := s.cfg.Rules.Entity(d.Entity); ok {
		due = due.Add(e.SettleWindow)
	}
	s.tell(under, verdict, "verdict "+string(d.Verdict), due.Time(), published, "diverged: "+string(d.Verdict),
		append(common, attribute.String("trueup.verdict", string(d.Verdict)), attribute.String("trueup.rules", d.Rules), attribute.StringSlice("trueup.fields", d.Fields))...)
}

func (s *Spans) closed(d *schemas.Divergence, published time.Time, live bool) {
	t, ok := s.open[d.ID]
	delete(s.open, d.ID)
	if !live || !ok || d.ClosedBy == nil {
		return
	}
	parent, name := t.verdict, "closed"
	if id := d.ClosedBy.Tag.CompensationID; id != "" {
		name = "echo"
		parent = idOf{trace: t.verdict.TraceID(), span: spanID("repair", id)}.context()
	}
	s.tell(parent, idOf{trace: t.verdict.TraceID(), span: spanID(name, d.ID)}, name, d.ClosedBy.CommitTS.Time(), published, "",
		attribute.String("trueup.divergence.id", d.ID), attribute.String("trueup.entity", d.Entity), attribute.String("trueup.compensation.id", d.ClosedBy.Tag.CompensationID),
		attribute.String("trueup.side", d.ClosedBy.Side.String()), attribute.String("trueup.txn", d.ClosedBy.Txn), attribute.String("trueup.pos", d.ClosedBy.Pos))
}

// Compensation implements watch.Observer.
func (s *Spans) Compensation(c *schemas.Compensation, published time.Time, _ bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.repairs) < maxKept {
		s.repairs[c.ID] = planned{*c, published}
	}
}

// ends are the results after which a repair is over, and which of them are no success.
var ends = map[schemas.Result]string{schemas.Reported: "", schemas.Applied: "", schemas.AlreadyApplied: "", schemas.Rejected: "", schemas.Expired: "",
	schemas.Superseded: "", schemas.PreconditionFailed: "somebody was faster", schemas.Refused: "refused", schemas.Failed: "failed"}

// Outcome implements watch.Observer.
func (s *Spans) Outcome(o *schemas.Outcome, published time.Time, live bool) {
	failed, over := ends[o.Result]
	if !over {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.repairs[o.CompensationID]
	delete(s.repairs, o.CompensationID)
	t := s.open[o.DivergenceID]
	if !live || !ok || t == nil {
		return
	}
	s.tell(t.verdict, idOf{trace: t.verdict.TraceID(), span: spanID("repair", o.CompensationID)}, "repair "+string(o.Result), p.at, published, failed,
		attribute.String("trueup.divergence.id", o.DivergenceID), attribute.String("trueup.compensation.id", o.CompensationID), attribute.String("trueup.entity", o.Entity),
		attribute.String("trueup.side", p.c.Side.String()), attribute.String("trueup.policy", p.c.Policy), attribute.String("trueup.mode", p.c.Mode),
		attribute.String("trueup.statement", string(p.c.Statement)), attribute.String("trueup.result", string(o.Result)))
}

// parentOf is the application's span that a divergence began with, and the trace
// that is told: the application's, or one of its own.
func parentOf(d *schemas.Divergence) (trace.SpanContext, trace.TraceID) {
	if d.Cause != nil {
		if id := watch.TraceID(d.Cause.Tag.Traceparent); id != "" {
			traced, err := trace.TraceIDFromHex(id)
			span, serr := trace.SpanIDFromHex(d.Cause.Tag.Traceparent[36:52])
			if err == nil && serr == nil {
				return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traced, SpanID: span, TraceFlags: trace.FlagsSampled, Remote: true}), traced
			}
		}
	}
	own, err := trace.TraceIDFromHex(d.ID)
	if err != nil {
		sum := sha256.Sum256([]byte(d.ID))
		own = trace.TraceID(sum[:16])
	}
	return trace.SpanContext{}, own
}
