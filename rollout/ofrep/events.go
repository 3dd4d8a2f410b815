package ofrep

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// DefaultClients are as many connections as one process holds without being noticed.
	DefaultClients = 1000
	// DefaultHeartbeat keeps what is between from taking a quiet connection for a dead one.
	// As often a client hears that the server has become stale.
	DefaultHeartbeat = 5 * time.Second
	// writeTimeout is how long a client may take nothing.
	writeTimeout = 10 * time.Second
	// retryMs is after how long a client is asked to connect again.
	retryMs = 2000
)

type clients struct{ n atomic.Int64 }

// version names what answers depend on: the records that were read, and whether that is fresh.
func (s *Server) version(now time.Time) string {
	return fmt.Sprintf("%d-%t", s.Follower.View().Next, s.Follower.Fresh(now))
}

// events tells a client to evaluate again whenever answers may be other ones.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	most := s.Clients
	if most == 0 {
		most = DefaultClients
	}
	defer s.connected.n.Add(-1)
	if s.connected.n.Add(1) > int64(most) {
		w.Header().Set("Retry-After", "5")
		answer(w, http.StatusServiceUnavailable, map[string]string{"errorDetails": "too many clients: come again"})
		return
	}
	out := http.NewResponseController(w)
	if err := out.SetReadDeadline(time.Time{}); err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"errorDetails": "this connection cannot stay open"})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	write := func(text string) bool {
		if out.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
			return false
		}
		_, err := w.Write([]byte(text))
		return err == nil && out.Flush() == nil
	}
	beat := s.Heartbeat
	if beat == 0 {
		beat = DefaultHeartbeat
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	last := r.Header.Get("Last-Event-ID")
	if !write(fmt.Sprintf("retry: %d\n\n", retryMs)) {
		return
	}
	if last == "" { // a client evaluates when it begins
		changed := s.version(time.Now())
		if !write("id: " + changed + "\n\n") {
			return
		}
		last = changed
	}
	for {
		changed := s.Follower.Changed() // before looking: what comes in between closes it
		text := ": alive\n\n"
		if now := s.version(time.Now()); now != last {
			last = now
			text = fmt.Sprintf("id: %s\ndata: {\"type\":\"refetchEvaluation\",\"etag\":%q,\"lastModified\":%d}\n\n", now, now, max(0, s.Follower.View().At.Unix()))
		}
		if !write(text) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.Done.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}
