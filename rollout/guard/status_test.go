package guard

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/measure"
	"github.com/trueup-io/trueup/rollout/undo"
)

// A guard says what it has done: how often each trigger was judged and how, when one began to
// want its flag back, what that loses, and what came of it.
func TestTheStatusSaysWhatWasDone(t *testing.T) {
	r := ramped(t, "  maxLost: 2\n")
	report := losing(3)
	g, look, answer := costing(t, r, func(context.Context) (*undo.Report, error) { return report, nil })
	if have := g.Status(); !have.Looked.IsZero() || len(have.Triggers) > 0 {
		t.Fatalf("have %+v", have)
	}
	look(25 * time.Second)
	look(31 * time.Second)
	have := g.Status()
	if len(have.Triggers) != 1 || have.Triggers[0].Flag != "orders" || have.Triggers[0].Trigger != "burning" || have.Triggers[0].Trips != 0 ||
		!maps.Equal(have.Triggers[0].Judged, map[rollout.Verdict]uint64{rollout.Unknown: 1, rollout.Fail: 1, rollout.Pass: 0, rollout.Hold: 0}) ||
		!have.Looked.Equal(day.Add(31*time.Second)) || len(have.Flags) != 1 || have.Flags[0] != (FlagStatus{"orders", false, -1}) {
		t.Fatalf("have %+v", have)
	}
	look(41 * time.Second)
	answer()
	look(42 * time.Second)
	if have := g.Status(); have.Triggers[0].Trips != 1 || have.Triggers[0].Reverts != 0 || have.Flags[0] != (FlagStatus{"orders", true, 3}) {
		t.Fatalf("have %+v", have)
	}
	report = losing(1)
	look(72 * time.Second)
	answer()
	look(73 * time.Second)
	if have := g.Status(); have.Triggers[0].Trips != 1 || have.Triggers[0].Reverts != 1 || have.Flags[0] != (FlagStatus{"orders", false, 1}) {
		t.Fatalf("have %+v", have)
	}
	look(74 * time.Second) // at shadow_read there is no trigger
	if have := g.Status(); len(have.Flags) != 0 || have.Triggers[0].Reverts != 1 {
		t.Fatalf("have %+v", have)
	}
}

// For how long a trigger could not be judged is said, and ends.
func TestTheStatusSaysWhatIsUnknown(t *testing.T) {
	r := stands(t)
	g, m := guarded(r)
	for after := time.Second; after < 10*time.Second; after += time.Second {
		g.look(t.Context(), day.Add(after))
	}
	have := g.Status()
	if len(have.Triggers) != 2 || have.Triggers[0].Trigger != "blind" || !have.Triggers[0].UnknownSince.Equal(day.Add(time.Second)) {
		t.Fatalf("have %+v", have)
	}
	m.add(40*time.Second, func(*measure.Record) {})
	g.look(t.Context(), day.Add(41*time.Second))
	if have := g.Status(); !have.Triggers[0].UnknownSince.IsZero() {
		t.Fatalf("have %+v", have)
	}
}
