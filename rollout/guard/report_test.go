package guard

import (
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/registry"
)

// A guard takes a rollout back by what the application reports, as by what the pipeline measures;
// what is told again counts once.
func TestWhatTheApplicationReportsTakesBack(t *testing.T) {
	r := &topic{state: registry.NewState()}
	file := strings.Replace(head, "    - {name: any, when: open_divergences > 0, windows: [1m]}\n",
		"    - {name: failing, when: write_errors > 0.1 || read_mismatch > 0.1, windows: [1m], minSamples: 100}\n", 1)
	for i, stage := range []string{"off", "shadow"} {
		if _, out, err := r.Submit(t.Context(), registry.Event{At: day, Who: "ann", Why: "x", Changes: []registry.Change{{Flag: "orders", Op: registry.Define, Base: uint64(i),
			Definition: file + "stage: \"" + stage + "\"\n", WithoutEvidence: true}}}); err != nil {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	g, m := guarded(r)
	report := func(after time.Duration, failed uint64) {
		one := measure.Report{Flag: "orders", Reporter: "checkout", From: day.Add(after - 10*time.Second), To: day.Add(after),
			Reads: measure.Share{Of: 100}, Writes: measure.Share{Count: failed, Of: 100}}
		m.history.Add(one.Record())
	}
	for after := 30 * time.Second; after <= 50*time.Second; after += 10 * time.Second {
		m.add(after, nil)
		report(after, 0)
	}
	for range 9 {
		report(50*time.Second, 100) // again, and otherwise
	}
	if g.look(t.Context(), day.Add(51*time.Second)); r.place() != "shadow" {
		t.Fatalf("it is at %s: %+v", r.place(), r.state.Flag("orders").RolledBack)
	}
	m.add(60*time.Second, nil)
	report(60*time.Second, 60)
	if g.look(t.Context(), day.Add(61*time.Second)); r.place() != "off" || !strings.Contains(r.state.Flag("orders").RolledBack.Why, "write_errors is 0.15") {
		t.Fatalf("it is at %s: %+v", r.place(), r.state.Flag("orders").RolledBack)
	}
}
