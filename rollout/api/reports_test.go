package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
)

// What an application saw goes to the log of the rollout's migration, in the name of who was let in;
// what is no report is refused with what it is to be, and what the log does not take is to be
// sent again.
func TestReportsOverHTTP(t *testing.T) {
	w := begin(t)
	now := time.Now()
	report := func(more map[string]any) map[string]any {
		out := map[string]any{"flag": "pay", "reporter": "checkout-1", "from": now.Add(-10 * time.Second), "to": now,
			"reads": map[string]any{"of": 100, "mismatched": 2}, "writes": map[string]any{"of": 50, "failed": 1}}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	const path = "POST /v1/reports"
	if code, said := w.ask("router", path, report(map[string]any{"leaves": true})); code != http.StatusOK || !strings.Contains(said, `"reporter":"router/checkout-1"`) {
		t.Fatalf("have %d %s", code, said)
	}
	if len(w.reports) != 1 || w.reports[0].Flag != "pay" || w.reports[0].Reporter != "router/checkout-1" || !w.reports[0].From.Equal(now.Add(-10*time.Second)) ||
		w.reports[0].Reads != (measure.Share{Count: 2, Of: 100}) || w.reports[0].Writes != (measure.Share{Count: 1, Of: 50}) || !w.reports[0].Leaves {
		t.Fatalf("have %+v", w.reports)
	}
	w.direct(registry.Change{Flag: "still", Op: registry.Define, Definition: strings.Replace(definition("still", "team", "off", "off"), "migration: orders, ", "", 1)})
	for want, c := range map[string]struct {
		more map[string]any
		code int
	}{
		"name the flag":                         {map[string]any{"flag": ""}, http.StatusBadRequest},
		"there is no such flag":                 {map[string]any{"flag": "nothing"}, http.StatusNotFound},
		"it moves by no migration":              {map[string]any{"flag": "still"}, http.StatusConflict},
		"reporter: want":                        {map[string]any{"reporter": "a b"}, http.StatusBadRequest},
		"at most 1m0s in one report":            {map[string]any{"from": now.Add(-5 * time.Minute)}, http.StatusBadRequest},
		"still to come":                         {map[string]any{"to": now.Add(40 * time.Second)}, http.StatusBadRequest},
		"reads: 3 of 2":                         {map[string]any{"reads": map[string]any{"of": 2, "mismatched": 3}}, http.StatusBadRequest},
		"the request cannot be read: json: unk": {map[string]any{"reads": map[string]any{"off": 2}}, http.StatusBadRequest},
	} {
		if code, said := w.ask("admin", path, report(c.more)); code != c.code || !strings.Contains(said, want) {
			t.Errorf("want %d %s, have %d %s", c.code, want, code, said)
		}
	}
	w.topic.full = true
	if code, said := w.ask("router", path, report(nil)); code != http.StatusServiceUnavailable || len(w.reports) != 1 {
		t.Errorf("have %d %s", code, said)
	}
}
