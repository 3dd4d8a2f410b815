package spans

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/trueup-io/trueup/schemas"
)

// idOf is the identity that a span is to have.
type idOf struct {
	trace trace.TraceID
	span  trace.SpanID
}

func (i idOf) context() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: i.trace, SpanID: i.span, TraceFlags: trace.FlagsSampled})
}

// spanID is the id of the span that tells of something.
func spanID(what, id string) trace.SpanID {
	sum := sha256.Sum256([]byte("trueup span " + what + "\x00" + id))
	return trace.SpanID(sum[:8])
}

type idKey struct{}

// idGenerator gives spans the identity that their context says.
type idGenerator struct{}

// NewIDs implements sdk.IDGenerator.
func (idGenerator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, _ := ctx.Value(idKey{}).(idOf)
	return id.trace, id.span
}

// NewSpanID implements sdk.IDGenerator.
func (idGenerator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	id, _ := ctx.Value(idKey{}).(idOf)
	return id.span
}

// recent remembers when the latest changes came to the log, in two generations.
type recent struct {
	now, before map[schemas.EventID]time.Time
}

const maxRecent = 50_000

func newRecent() recent {
	return recent{now: map[schemas.EventID]time.Time{}, before: map[schemas.EventID]time.Time{}}
}

func (r *recent) add(id schemas.EventID, at time.Time) {
	if len(r.now) >= maxRecent {
		r.now, r.before = map[schemas.EventID]time.Time{}, r.now
	}
	r.now[id] = at
}

func (r *recent) get(id schemas.EventID) (time.Time, bool) {
	at, ok := r.now[id]
	if !ok {
		at, ok = r.before[id]
	}
	return at, ok
}

// quiet says once a minute that spans cannot be sent, and goes on.
type quiet struct {
	sdk.SpanExporter
	log *slog.Logger

	mu   sync.Mutex
	said time.Time // guarded by mu
	lost int       // guarded by mu: since it was said
}

// ExportSpans implements sdk.SpanExporter.
func (q *quiet) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost += len(spans)
	if time.Since(q.said) > time.Minute {
		q.log.Warn("spans cannot be sent and are dropped", "stage", "spans", "count", q.lost, "err", err)
		q.said, q.lost = time.Now(), 0
	}
	return nil
}
