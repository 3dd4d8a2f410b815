package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/undo"
)

// "Before a rollback: what would be lost": who plans over HTTP is told, too, without the
// keys; and why, where it cannot be said.
func TestThePlanSaysWhatGoingBackWouldLose(t *testing.T) {
	w := begin(t)
	asked := 0
	w.server.UndoCost = func(ctx context.Context, f *registry.Standing, to *rollout.Flag) (*undo.Report, error) {
		if asked++; asked == 2 {
			return nil, errors.New("the log of orders is not there")
		}
		report, err := undo.Ask(ctx, nil, nil, undo.Question{Flag: f.Flag, To: to, Placed: f.Placed, Crossed: f.Crossed}, time.Now())
		if err == nil {
			report.Lost, report.Examples = 3, []undo.Key{{Entity: "order", Key: []string{"4711"}}}
		}
		return report, err
	}
	at := func(stage string) string {
		text := definition("pay", "team-pay", stage, "off")
		if stage == "ramp" {
			text = strings.TrimSuffix(text, "}") + `, ramp: "100%"}`
		}
		return text
	}
	plan := func(stage string) (step string, cost []map[string]any) {
		t.Helper()
		code, text := w.ask("viewer", "POST /v1/plan", map[string]any{"definitions": []string{at(stage)}})
		var said struct {
			ID    string           `json:"id"`
			Undo  []map[string]any `json:"undo_cost"`
			Steps []struct {
				WayBack string `json:"way_back"`
			} `json:"steps"`
		}
		if err := json.Unmarshal([]byte(text), &said); err != nil || code != http.StatusOK || said.ID == "" || len(said.Steps) != 1 {
			t.Fatalf("%d %s: %v", code, text, err)
		}
		return said.Steps[0].WayBack, said.Undo
	}
	for _, stage := range []string{"shadow", "dual_write"} {
		state, err := w.topic.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.direct(registry.Change{Flag: "pay", Op: registry.Define, Base: state.Flag("pay").Revision, Definition: at(stage), WithoutEvidence: true, BreakGlass: true})
	}
	if way, cost := plan("shadow_read"); way != "" || cost != nil || asked != 0 {
		t.Errorf("a step that does nothing to the way back: %s, %v", way, cost)
	}
	state, err := w.topic.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.direct(registry.Change{Flag: "pay", Op: registry.Define, Base: state.Flag("pay").Revision, Definition: at("shadow_read"), WithoutEvidence: true, BreakGlass: true})
	way, cost := plan("ramp")
	if way != string(rollout.WayNears) || len(cost) != 1 || cost[0]["flag"] != "pay" || cost[0]["lost"] != 3.0 || cost[0]["examples"] != nil {
		t.Errorf("a step that nears the point of no return: %s, %v", way, cost)
	}
	if _, cost := plan("ramp"); len(cost) != 1 || cost[0]["not_known"] != "the log of orders is not there" || cost[0]["lost"] != nil {
		t.Errorf("where it is not known: %v", cost)
	}
}
