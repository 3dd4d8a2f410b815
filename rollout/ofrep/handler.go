// Package ofrep serves what stands in a registry of rollouts over HTTP, as OpenFeature's
// remote evaluation protocol (OFREP 0.3) has it.
//
//	POST /ofrep/v1/evaluate/flags/{key}   one flag
//	POST /ofrep/v1/evaluate/flags         all flags, with ETag and If-None-Match
//	GET  /ofrep/v1/events                 server-sent events: evaluate again
//	GET  /healthz                         200 while the process runs
//	GET  /readyz                          200 while its lease holds; else 503, with the reason
//
// It promises the answers of package follow: what stands, or the safe stage, with
// metadata that says so (stale). A flag's value is the stage that the key is at, as text. Of a flag that
// announces when something ends, one answer has the headers Deprecation, Sunset and Link.
//
// It assumes that who is let in may evaluate every flag. Somebody to ask is asked where there
// is one; without, only what comes under a name of this machine, and from no other web
// site, is answered.
package ofrep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/trueup-io/trueup/internal/loopback"
	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/timeline"
)

const (
	maxBody     = 1 << 20
	maxKeyParts = 16
)

// Server answers requests. Follower and Done are required.
type Server struct {
	Follower *follow.Follower
	Done     context.Context // clients of events are told to come back when it ends
	// Known says whether a request comes from somebody who is let in; nil: only this machine is.
	Known func(*http.Request) bool
	// Clients of events at once; 0: DefaultClients. Heartbeat: 0: DefaultHeartbeat.
	Clients   int
	Heartbeat time.Duration

	connected clients
}

// Handler returns the routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ofrep/v1/evaluate/flags/{key}", s.admitted(s.one))
	mux.HandleFunc("POST /ofrep/v1/evaluate/flags", s.admitted(s.all))
	mux.HandleFunc("GET /ofrep/v1/events", s.admitted(s.events))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	return mux
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	if s.Follower.Fresh(now) {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	if age, ever := s.Follower.Age(now); ever {
		fmt.Fprintf(w, "stale: what stands was last known %s ago; flags are at their safe stage\n", age.Round(time.Millisecond))
		return
	}
	fmt.Fprintln(w, "nothing is known yet")
}

// Admitted is a handler for those alone who may evaluate.
func (s *Server) Admitted(next http.Handler) http.Handler { return s.admitted(next.ServeHTTP) }

// admitted lets in who may.
func (s *Server) admitted(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case s.Known != nil && !s.Known(r):
			w.Header().Set("WWW-Authenticate", `Bearer realm="trueup rollouts"`)
			answer(w, http.StatusUnauthorized, map[string]string{"errorDetails": "a bearer token is needed"})
		case s.Known == nil && !(loopback.Host(r.Host) && loopback.SameSite(r)):
			answer(w, http.StatusForbidden, map[string]string{"errorDetails": "without tokens this machine alone is answered, under its own name"})
		default:
			next(w, r)
		}
	}
}

// failure is OFREP's answer where a flag, or a request, cannot be evaluated.
type failure struct {
	Key     string `json:"key,omitempty"`
	Code    string `json:"errorCode"`
	Details string `json:"errorDetails"`
}

// success is OFREP's answer for one flag.
type success struct {
	Key      string         `json:"key"`
	Reason   string         `json:"reason"`
	Variant  string         `json:"variant"`
	Value    string         `json:"value"`
	Metadata map[string]any `json:"metadata"`
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

func (s *Server) one(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("key")
	key, code, fail := keyOf(w, r)
	if fail != nil {
		fail.Key = name
		answer(w, code, fail)
		return
	}
	flag, d := s.Follower.Evaluate(name, key)
	if flag == nil {
		answer(w, http.StatusNotFound, failure{name, "FLAG_NOT_FOUND", "no flag of this name stands"})
		return
	}
	if d := flag.Rollout.Deprecation; d != nil {
		timeline.SetHeaders(w.Header(), d, timeline.PagePath)
	}
	answer(w, http.StatusOK, evaluated(flag, d, key))
}

func (s *Server) all(w http.ResponseWriter, r *http.Request) {
	key, code, fail := keyOf(w, r)
	if fail != nil {
		answer(w, code, fail)
		return
	}
	flags := []success{}
	for _, flag := range s.Follower.View().Flags {
		if standing, d := s.Follower.Evaluate(flag.Name, key); standing != nil {
			flags = append(flags, evaluated(standing, d, key))
		}
	}
	body, err := json.Marshal(map[string]any{"flags": flags,
		"eventStreams": []any{map[string]any{"type": "sse", "endpoint": map[string]string{"requestUri": "/ofrep/v1/events"}}}})
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"errorDetails": "the answer cannot be written"})
		return
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	w.Header().Set("ETag", tag)
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the client may have gone
}

func matches(given []string, tag string) bool {
	for _, line := range given {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == tag || one == "*" {
				return true
			}
		}
	}
	return false
}

// reasons are OFREP's words: it has none for what is stale, which metadata says.
var reasons = map[rollout.Reason]string{rollout.ByStage: "STATIC", rollout.ByRamp: "SPLIT", rollout.ByPin: "TARGETING_MATCH", rollout.Stale: "UNKNOWN"}

func evaluated(f *registry.Standing, d rollout.Decision, key []string) success {
	point := d.Point().String()
	out := success{Key: f.Name, Reason: reasons[d.Reason], Variant: point, Value: point, Metadata: map[string]any{
		"stage": d.Stage.String(), "authority": d.Authority().String(), "reads": d.Axes.Reads.String(), "writes": string(d.Axes.Writes),
		"compare": string(d.Axes.Compare), "sync": string(d.Axes.Sync), "bucket": d.Bucket, "revision": f.Revision, "epoch": f.Epoch,
		"killed": f.Killed != nil, "stale": d.Reason == rollout.Stale}}
	if f.Held != nil { // a hand-over is under way; of what moves nothing is written
		out.Metadata["hold"], out.Metadata["held"] = f.Held.Event, f.Moves(key)
	}
	if f.Killed != nil && d.Reason != rollout.Stale {
		out.Reason = "DISABLED"
	}
	return out
}

// keyOf is the key that a request is about: the context's key, a list of texts, or else its
// targetingKey.
func keyOf(w http.ResponseWriter, r *http.Request) (key []string, code int, fail *failure) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, http.StatusRequestEntityTooLarge, &failure{Code: "PARSE_ERROR", Details: fmt.Sprintf("the request is larger than %d bytes", maxBody)}
	case err != nil:
		return nil, http.StatusBadRequest, &failure{Code: "PARSE_ERROR", Details: "the request cannot be read"}
	}
	bad := func(code, details string) ([]string, int, *failure) {
		return nil, http.StatusBadRequest, &failure{Code: code, Details: details}
	}
	var request struct {
		Context *struct {
			TargetingKey *json.RawMessage `json:"targetingKey"`
			Key          *json.RawMessage `json:"key"`
		} `json:"context"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(body), &request); err != nil {
		return bad("PARSE_ERROR", "want JSON with a context")
	}
	switch c := request.Context; {
	case c != nil && c.Key != nil:
		if err := json.Unmarshal(*c.Key, &key); err != nil || len(key) == 0 || len(key) > maxKeyParts || bytes.Contains(*c.Key, []byte("null")) && hasNull(*c.Key) {
			return bad("INVALID_CONTEXT", fmt.Sprintf("context.key: want a list of 1 to %d texts", maxKeyParts))
		}
	case c != nil && c.TargetingKey != nil:
		var text string
		if err := json.Unmarshal(*c.TargetingKey, &text); err != nil || bytes.Equal(*c.TargetingKey, []byte("null")) {
			return bad("INVALID_CONTEXT", "context.targetingKey: want a text")
		}
		key = []string{text}
	default:
		return bad("TARGETING_KEY_MISSING", "want context.targetingKey, or context.key where a key has several parts")
	}
	return key, 0, nil
}

// hasNull says whether a list has null for a text.
func hasNull(list []byte) bool {
	var items []*string
	if json.Unmarshal(list, &items) != nil {
		return true
	}
	for _, item := range items {
		if item == nil {
			return true
		}
	}
	return false
}
