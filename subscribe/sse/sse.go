// Package sse serves a migration's events over HTTP as server-sent events.
//
//	GET /events?topic=divergences,outcomes&entity=order&kind=missing,stale&severity=critical&owner=team-orders&from=start
//
// Each message has the position behind its event as its id, and as its data the
// event in CloudEvents' structured mode, on one line:
//
//	id: AQEc…
//	data: {"specversion":"1.0","id":"…","type":"io.trueup.divergence.opened.v1",…,"data":{"kind":"divergence",…}}
//
// What it promises
//
//   - A client that connects again with the last id it has seen (Last-Event-ID,
//     which browsers send by themselves) gets every event behind it, at least once;
//     the CloudEvent's id says which it has had. Ids are moved on by messages
//     without data, too, so that a filter that takes little costs no reading again.
//   - A client reads the log at its own pace: it holds up neither the pipeline nor
//     other clients. One that takes nothing for WriteTimeout is dropped, and loses
//     nothing by it.
//   - There are at most Clients at once; one more is told to come later (503).
//
// What it assumes: who may connect may read all of it. A token is asked for where
// one is set; without one, only what comes under a name of this machine, and from
// no other web site, is answered.
package sse

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/trueup-io/trueup/internal/loopback"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/subscribe"
)

const (
	// DefaultHeartbeat keeps what is between from taking a quiet connection for a dead one.
	DefaultHeartbeat = 15 * time.Second
	// DefaultWriteTimeout is how long a client may take nothing.
	DefaultWriteTimeout = 10 * time.Second
	// retryMs is after how long a client is asked to connect again.
	retryMs = 2000
)

// Handler answers GET. Feed, Rules, Done and Clients are required.
type Handler struct {
	Feed         *subscribe.Feed
	Rules        *schemas.Rules
	Token        string          // empty: none is asked for
	Clients      int             // at once
	Done         context.Context // clients are told to come back when it ends
	Heartbeat    time.Duration   // 0: DefaultHeartbeat
	WriteTimeout time.Duration   // 0: DefaultWriteTimeout
	Logger       *slog.Logger    // nil: nothing is logged

	connected, dropped atomic.Int64
}

// Connected is the number of clients at the moment, Dropped of those that took
// nothing for too long.
func (h *Handler) Connected() int64 { return h.connected.Load() }

// Dropped counts the clients that took nothing for too long.
func (h *Handler) Dropped() int64 { return h.dropped.Load() }

// ServeHTTP serves events until the client leaves or Done ends.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if code, why := h.admit(r); code != 0 {
		if code == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="trueup events"`)
		}
		http.Error(w, why, code)
		return
	}
	q, err := parse(r, h.Rules)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if n := h.connected.Add(1); n > int64(h.Clients) {
		h.connected.Add(-1)
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many clients: come again, or raise subscribe.events.clients", http.StatusServiceUnavailable)
		return
	}
	defer h.connected.Add(-1)
	cursor, err := h.Feed.Cursor(r.Context(), q.from, q.topics)
	switch {
	case errors.Is(err, subscribe.ErrPosition):
		http.Error(w, err.Error(), http.StatusGone)
		return
	case err != nil:
		http.Error(w, "the log cannot be read", http.StatusServiceUnavailable)
		return
	}
	c := &client{Handler: h, query: q, cursor: cursor, w: w, out: http.NewResponseController(w)}
	c.serve(r)
}

// admit says why a request is refused; 0: it is not.
func (h *Handler) admit(r *http.Request) (code int, why string) {
	if h.Token != "" {
		if given := r.Header.Values("Authorization"); len(given) != 1 || !equal(given[0], "Bearer "+h.Token) {
			return http.StatusUnauthorized, "a bearer token is needed"
		}
		return 0, ""
	}
	// A page of somebody else's web site can have a browser ask, also under a name that resolves to this machine.
	switch {
	case !loopback.Host(r.Host):
		return http.StatusForbidden, "without a token events are served to this machine alone, under its own name"
	case !loopback.SameSite(r):
		return http.StatusForbidden, "events are not for other web sites"
	}
	return 0, ""
}

// equal compares in a time that says nothing of the texts.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// query is what a client asks for.
type query struct {
	topics []subscribe.Topic
	filter subscribe.Filter
	from   subscribe.Position
}

func parse(r *http.Request, rules *schemas.Rules) (query, error) {
	q := query{from: subscribe.Now}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, errors.New("the query cannot be read")
	}
	var entities []string
	for _, e := range rules.Entities() {
		entities = append(entities, e.Name)
	}
	for name, given := range values {
		var words []string
		for _, one := range given {
			words = append(words, strings.Split(one, ",")...)
		}
		switch name {
		case "topic":
			q.topics, err = known(name, words, subscribe.Topics)
		case "entity":
			q.filter.Entities, err = known(name, words, entities)
		case "kind":
			q.filter.Kinds, err = known(name, words, schemas.Kinds)
		case "severity":
			q.filter.Severities, err = known(name, words, schemas.Severities)
		case "owner":
			q.filter.Owners = given // a name may have a comma
		case "from":
			if len(given) != 1 {
				return q, errors.New("from stands more than once")
			}
			q.from = subscribe.Position(given[0])
		default:
			return q, fmt.Errorf("unknown parameter %.40q: there are topic, entity, kind, severity, owner and from", name)
		}
		if err != nil {
			return q, err
		}
	}
	if len(q.topics) == 0 {
		q.topics = []subscribe.Topic{subscribe.Divergences}
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		q.from = subscribe.Position(last) // where the client was goes before where it began
	}
	return q, nil
}

func known[T ~string](name string, words []string, all []T) (out []T, err error) {
	for _, word := range words {
		if !slices.Contains(all, T(word)) {
			return nil, fmt.Errorf("%s=%.80q: want some of %v, separated by commas", name, word, all)
		}
		out = append(out, T(word))
	}
	return out, nil
}

// client is one connection.
type client struct {
	*Handler
	query
	cursor *subscribe.Cursor
	w      http.ResponseWriter
	out    *http.ResponseController
	said   subscribe.Position // the id that the client has
}

func (c *client) serve(r *http.Request) {
	// The server's own limits are for requests that end.
	if err := c.out.SetReadDeadline(time.Time{}); err != nil {
		http.Error(c.w, "this connection cannot stay open", http.StatusInternalServerError)
		return
	}
	header := c.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		return
	}
	c.said = c.cursor.Position()
	err := c.write(fmt.Sprintf("retry: %d\nid: %s\n\n", retryMs, c.said))
	if err == nil {
		err = c.follow(r.Context())
	}
	var offset *stream.OffsetError
	switch {
	case c.Done.Err() != nil:
		_ = c.write(": this process stops: connect again\n\n")
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.dropped.Add(1)
		if c.Logger != nil {
			c.Logger.Warn("a client of events took nothing for too long and was dropped", "stage", "subscribe", "client", r.RemoteAddr)
		}
		_ = c.write(": dropped: connect again\n\n") // if it reads at last
	case r.Context().Err() != nil: // the client has left
	case errors.As(err, &offset):
		_ = c.write(": the log no longer has what comes next: begin anew with from=start or from=now\n\n")
	case c.Logger != nil:
		c.Logger.Error("events cannot be read for a client", "stage", "subscribe", "client", r.RemoteAddr, "err", err)
	}
}

// follow sends events until something ends it.
func (c *client) follow(ctx context.Context) error {
	beat := c.Heartbeat
	if beat == 0 {
		beat = DefaultHeartbeat
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.Done, cancel)()
	for {
		changed, err := c.catchUp(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-ticker.C:
			text := ": alive\n"
			if at := c.cursor.Position(); at != c.said {
				c.said = at
				text += "id: " + string(at) + "\n"
			}
			if err := c.write(text + "\n"); err != nil {
				return err
			}
		}
	}
}

// catchUp sends what is there. The channel is closed when there may be more.
func (c *client) catchUp(ctx context.Context) (<-chan struct{}, error) {
	for {
		all, changed := true, (<-chan struct{})(nil)
		for _, t := range c.topics {
			for p := range c.cursor.Partitions(t) {
				more, since := c.Feed.News(c.cursor, t, int32(p))
				if changed == nil {
					changed = since // what comes while the others are looked at closes it, too
				}
				if !more {
					continue
				}
				all = false
				if err := c.Feed.Read(ctx, c.cursor, t, int32(p), func(e *subscribe.Event, _ *subscribe.BadRecord) error { return c.send(e) }); err != nil {
					return nil, err
				}
			}
		}
		if all {
			return changed, nil
		}
	}
}

// send sends an event that passes; nil is a record that is none.
func (c *client) send(e *subscribe.Event) error {
	if e == nil || !c.filter.Takes(&e.CloudEvent) {
		return nil
	}
	after := c.cursor.Clone()
	after.Move(e.Topic, e.Partition, e.Offset+1)
	c.said = after.Position()
	text := append([]byte("id: "+c.said+"\ndata: "), e.AppendJSON(nil)...)
	return c.write(string(append(text, "\n\n"...)))
}

func (c *client) write(text string) error {
	timeout := c.WriteTimeout
	if timeout == 0 {
		timeout = DefaultWriteTimeout
	}
	if err := c.out.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := c.w.Write([]byte(text)); err != nil {
		return err
	}
	return c.out.Flush()
}
