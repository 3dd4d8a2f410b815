package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/trueup-io/trueup/rollout/access"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/timeline"
)

// How long a document may be kept, that everybody gets and that only some do.
const (
	keptByAll  = "public, max-age=300"
	keptByOnes = "private, no-cache"
)

// windows are those that the asker may see; everybody sees all that is published.
func (s *Server) windows(ctx context.Context, may func(to access.Target) bool) ([]timeline.Window, error) {
	stands := s.Stands
	if stands == nil {
		state, err := s.Store.Load(ctx)
		if err != nil {
			return nil, err
		}
		stands = state.Flags
	}
	var flags []*registry.Standing
	for _, f := range stands() {
		if may(access.Target{Rollout: f.Name, Owners: []string{f.Rollout.Owner}}) {
			flags = append(flags, f)
		}
	}
	all := timeline.Of(flags)
	if s.Windows != nil {
		for _, w := range s.Windows() {
			if may(access.Target{Rollout: w.Name, Owners: []string{w.Owner}}) {
				all = append(all, w)
			}
		}
	}
	timeline.Sort(all)
	return all, nil
}

func (q *request) sees(to access.Target) bool { return q.may(q.action, to) == nil }

func (s *Server) page(q *request) (any, error) { return s.pageFor(q.Context(), q.sees) }

func (s *Server) feed(q *request) (any, error) { return s.feedFor(q.Context(), q.sees) }

func (s *Server) pageFor(ctx context.Context, may func(to access.Target) bool) (any, error) {
	all, err := s.windows(ctx, may)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = timeline.Page(&b, s.Registry, all, time.Now())
	return document{timeline.PageType, timeline.Policy(), b.Bytes()}, err
}

func (s *Server) feedFor(ctx context.Context, may func(to access.Target) bool) (any, error) {
	all, err := s.windows(ctx, may)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = timeline.Feed(&b, s.Registry, all, time.Now())
	return document{timeline.FeedType, "default-src 'none'", b.Bytes()}, err
}

// write answers with the document, or that the asker has it already.
func (d document) write(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256(d.body)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Vary", "Authorization, X-API-Key")
	h.Set("Content-Security-Policy", d.policy)
	h.Set("Referrer-Policy", "no-referrer")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", d.kind)
	_, _ = w.Write(d.body) // the client may have gone
}

// Published answers everybody who comes to it with what ends, as a page and as a feed, and with nothing else. Whether
// that is everybody there is, or some whom somebody has let in, says by whom the answers may be kept.
func (s *Server) Published(all bool) http.Handler {
	kept := keptByOnes
	if all {
		kept = keptByAll
	}
	mux := http.NewServeMux()
	everything := func(access.Target) bool { return true }
	for path, make := range map[string]func(context.Context, func(access.Target) bool) (any, error){timeline.PagePath: s.pageFor, timeline.FeedPath: s.feedFor} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			s.finish(w, r, kept, func() (any, error) { return make(r.Context(), everything) })
		})
	}
	return mux
}
