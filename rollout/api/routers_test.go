package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/rollout/registry"
)

// A router over HTTP: it joins, acknowledges a hold, and only then the keys move.
func TestARouterOverHTTP(t *testing.T) {
	w := begin(t)
	for i, stage := range []string{"shadow", "dual_write", "shadow_read"} {
		w.direct(registry.Change{Flag: "pay", Op: registry.Define, Base: uint64(i + 1), WithoutEvidence: true, Definition: definition("pay", "team-pay", stage, "off")})
	}
	for _, bad := range []map[string]any{
		{"flags": []string{"pay"}, "name": "checkout"},
		{"flags": []string{"pay"}, "name": "checkout", "uses_for": "2h"},
		{"flags": []string{"pay"}, "uses_for": "2s"},
		{"name": "checkout", "uses_for": "2s"},
		{"flags": []string{""}, "name": "checkout", "uses_for": "2s"},
	} {
		if code, said := w.ask("router", "POST /v1/routers", bad); code != http.StatusBadRequest {
			t.Errorf("%v: have %d %s", bad, code, said)
		}
	}
	_, said := w.ask("router", "POST /v1/routers", map[string]any{"flags": []string{"pay"}, "name": "checkout", "uses_for": "2s"})
	var joined struct {
		ID      string `json:"id"`
		LeaseMs int64  `json:"lease_ms"`
	}
	if err := json.Unmarshal([]byte(said), &joined); err != nil || !strings.HasPrefix(joined.ID, "checkout-") || joined.LeaseMs != 2000 {
		t.Fatalf("have %s, %v", said, err)
	}
	ramp := `{apiVersion: trueup/v1, kind: Rollout, metadata: {name: pay, owner: team-pay}, description: Orders move., controls: routing,
intent: permanent, stage: ramp, ramp: 10%, safeStage: shadow_read}`
	w.direct(registry.Change{Flag: "pay", Op: registry.Hold, Base: 4, LimitMs: 1000, WithoutEvidence: true, Definition: ramp})
	state, err := w.topic.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	apply := func() (int, string) {
		t.Helper()
		_, said := w.ask("admin", "POST /v1/plan", map[string]any{"definitions": []string{ramp}})
		var plan registry.Plan
		if err := json.Unmarshal([]byte(said), &plan); err != nil {
			t.Fatal(said, err)
		}
		return w.ask("admin", "POST /v1/apply", map[string]any{"definitions": []string{ramp}, "plan": plan.ID, "why": "x", "without_evidence": []string{"pay"}})
	}
	if code, said := apply(); code != http.StatusConflict || !strings.Contains(said, "wait for checkout-") {
		t.Fatalf("have %d %s", code, said)
	}
	ack := "POST /v1/routers/" + joined.ID + "/ack"
	hold := state.Flag("pay").Held.Event
	if code, said := w.ask("router", ack, map[string]any{"flag": "pay", "hold": hold}); code != http.StatusBadRequest {
		t.Fatalf("have %d %s", code, said)
	}
	if code, said := w.ask("router", ack, map[string]any{"flag": "pay", "epoch": 3, "hold": hold}); code != http.StatusConflict {
		t.Fatalf("have %d %s", code, said)
	}
	if code, said := w.ask("router", ack, map[string]any{"flag": "pay", "epoch": 4, "hold": hold}); code != http.StatusOK {
		t.Fatalf("have %d %s", code, said)
	}
	if code, said := w.ask("viewer", "GET /v1/routers", nil); code != http.StatusOK || !strings.Contains(said, hold) {
		t.Fatalf("have %d %s", code, said)
	}
	if code, said := apply(); code != http.StatusOK {
		t.Fatalf("have %d %s", code, said)
	}
	if code, said := w.ask("router", "POST /v1/routers/"+joined.ID+"/leave", map[string]any{"flags": []string{"pay"}}); code != http.StatusOK {
		t.Fatalf("have %d %s", code, said)
	}
}
