package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/access"
	"github.com/trueup-io/trueup/rollout/compat"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/timeline"
	"github.com/trueup-io/trueup/schemas"
)

// What is published for everybody is the page and the feed of all windows, and no other route; who has
// it already is not sent it again.
func TestPublished(t *testing.T) {
	w := begin(t)
	w.direct(registry.Change{Flag: "pay", Op: registry.Define, Base: 1, Definition: ending("pay")})
	s := &Server{Store: w.topic, Registry: "rollouts", Windows: func() []timeline.Window {
		return []timeline.Window{{Kind: timeline.KindMigration, Name: "baskets", Owner: "team-baskets", Announced: day, Deprecation: schemas.Deprecation{What: "the baskets table",
			Deprecated: day, Sunset: day.AddDate(1, 0, 0), Replacement: "y"}}}
	}}
	handler := s.Published(true)
	ask := func(method, path, tag string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		return answer
	}
	for path, kind := range map[string]string{timeline.PagePath: "text/html; charset=utf-8", timeline.FeedPath: "application/atom+xml; charset=utf-8"} {
		have := ask(http.MethodGet, path, "")
		text, h := have.Body.String(), have.Header()
		if have.Code != http.StatusOK || h.Get("Content-Type") != kind || !strings.Contains(text, "the baskets table") || !strings.Contains(text, "team-pay") || strings.Contains(text, "orders-eu") {
			t.Errorf("%s: have %d, %v, %s", path, have.Code, h, text)
		}
		if h.Get("Cache-Control") != "public, max-age=300" || h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: have %v", path, h)
		}
		if again := ask(http.MethodGet, path, h.Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
			t.Errorf("%s: have %d", path, again.Code)
		}
		if posted := ask(http.MethodPost, path, ""); posted.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: have %d", path, posted.Code)
		}
	}
	some := httptest.NewRecorder()
	s.Published(false).ServeHTTP(some, httptest.NewRequestWithContext(t.Context(), http.MethodGet, timeline.PagePath, nil))
	if kept := some.Header().Get("Cache-Control"); kept != "private, no-cache" {
		t.Errorf("what some get may be kept: %s", kept)
	}
	for _, route := range Routes() {
		method, path, _ := strings.Cut(route.Pattern, " ")
		if code := ask(method, path, "").Code; (code == http.StatusOK) != (path == timeline.PagePath || path == timeline.FeedPath) {
			t.Errorf("%s: have %d", route.Pattern, code)
		}
	}
	s.Stands = func() []*registry.Standing { return nil } // what is followed goes first
	if text := ask(http.MethodGet, timeline.PagePath, "").Body.String(); strings.Contains(text, "team-pay") {
		t.Errorf("have %s", text)
	}
}

// What does not fit is said by a plan, holds a step, and is agreed to, over HTTP as elsewhere: the
// server looks, by the documents that the definitions name and by no others.
func TestI37_WhatDoesNotFitOverHTTP(t *testing.T) {
	w := begin(t)
	known := &access.Authority{}
	for _, who := range []string{"operator", "approver"} {
		known.Tokens = append(known.Tokens, access.Token{Name: who, Sum: sha256.Sum256([]byte("token of " + who)), Roles: access.Roles})
		known.Grants = append(known.Grants, access.Grant{Role: access.Role(who), To: []string{who}})
	}
	var documents map[string][]byte
	places := []string{"GET /orders"}
	w.handler = (&Server{Store: w.topic, Access: known,
		Evidence: func(context.Context, *registry.State, *registry.Plan, []registry.Definition, []registry.Change) error {
			return nil
		},
		Look: func(_ context.Context, _ *registry.Plan, files []registry.Definition) (map[string]*compat.Report, error) {
			documents = files[0].Documents
			var findings []compat.Finding
			for _, place := range places {
				findings = append(findings, compat.Finding{Level: compat.Incompatible, Rule: "gone", Name: "api", Place: place, Problem: "it is gone"})
			}
			r := &compat.Report{At: time.Now(), To: "shadow"}
			r.Add(schemas.CompatibilityCheck{Kind: schemas.CheckContract, Name: "api"}, nil, findings)
			return map[string]*compat.Report{"new": r}, nil
		}}).Handler()
	file := func(stage string) string {
		return strings.TrimSuffix(definition("new", "team-new", stage, "off"), "}") + `, gates: {shadow: [{name: few, condition: divergence < 0.1, window: 1m, minSamples: 1}]},
compatibility: {contracts: [{name: api, old: v1.yaml, new: v2.yaml, before: shadow}]}}`
	}
	w.direct(registry.Change{Flag: "new", Op: registry.Define, Definition: file("off")})
	body := func() map[string]any {
		return map[string]any{"definitions": []string{file("shadow")}, "documents": map[string]string{"v1.yaml": "a", "v2.yaml": "b", "../secret": "c"}, "why": "x"}
	}
	var plan registry.Plan
	code, said := w.ask("operator", "POST /v1/plan", body())
	if err := json.Unmarshal([]byte(said), &plan); err != nil || code != http.StatusOK || plan.Steps[0].Looked == nil || !strings.Contains(plan.Steps[0].Blocked, "needs 1 approvals") {
		t.Fatalf("have %d %s, %v", code, said, err)
	}
	if len(documents) != 2 || string(documents["v2.yaml"]) != "b" {
		t.Errorf("have %q", documents)
	}
	// What a gate passes is another matter: nothing is measured here, so the refusal is that of the evidence.
	apply := body()
	apply["plan"] = plan.ID
	if code, said := w.ask("operator", "POST /v1/apply", apply); code != http.StatusConflict || !strings.Contains(said, "nothing was measured") {
		t.Errorf("have %d %s", code, said)
	}
	if code, said := w.ask("approver", "POST /v1/approve", body()); code != http.StatusOK || strings.Count(said, `"accepted":["`) != 1 {
		t.Errorf("have %d %s", code, said)
	}
	state, err := w.topic.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	accepted := state.Flag("new").Approvals[0].Accepted
	places = append(places, "POST /orders")
	_, said = w.ask("operator", "POST /v1/plan", body())
	if err := json.Unmarshal([]byte(said), &plan); err != nil {
		t.Fatal(err)
	}
	ids := plan.Steps[0].Looked.Incompatible()
	if len(ids) != 2 || len(accepted) != 1 || !slices.Contains(ids, accepted[0]) || !strings.Contains(plan.Steps[0].Blocked, "1 of which nobody has agreed to") {
		t.Errorf("have %v, %v, %s", ids, accepted, fmt.Sprint(plan.Steps[0].Blocked))
	}
}
