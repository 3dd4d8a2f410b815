package decisions

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

var day = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// topic is a registry's topic, and what a reader makes of one flag's.
type topic struct {
	*testing.T
	values [][]byte
	state  *registry.State
	files  map[string]string // of the definitions that stand
}

func begin(t *testing.T) *topic {
	return &topic{T: t, state: registry.NewState(), files: map[string]string{}}
}

// file is a definition at a stage; more is lines of its own.
func file(name, stage, more string) string {
	return fmt.Sprintf(`apiVersion: trueup/v1
kind: Rollout
metadata: {name: %s, owner: team-%s}
description: Orders move.
controls: routing
intent: permanent
stage: "%s"
safeStage: "off"
gates:
  dual_write: [{name: few, condition: divergence <= 0.01, window: 1m, minSamples: 100, confidence: 99%%}]
%s
`, name, name, stage, more)
}

// says writes an event, which has the wanted effect.
func (p *topic) says(want registry.Effect, who, why string, changes ...registry.Change) {
	p.Helper()
	e := registry.Event{Version: registry.Version, ID: fmt.Sprint("e", len(p.values)), At: day.Add(time.Duration(len(p.values)) * time.Minute), Who: who, Why: why, Changes: changes}
	value, err := e.Encode()
	if err != nil {
		p.Fatal(err)
	}
	if out := p.state.Apply(int64(len(p.values)), value); out.Effect != want {
		p.Fatalf("event %s: want %s, have %+v", e.ID, want, out)
	}
	p.values = append(p.values, value)
}

// to has a flag stand at a stage without evidence.
func (p *topic) to(flag, stage, more string) {
	p.Helper()
	p.says(registry.Effective, "ann", "on to "+stage, p.define(flag, stage, more, func(c *registry.Change) { c.WithoutEvidence = true }))
}

func (p *topic) define(flag, stage, more string, change func(*registry.Change)) registry.Change {
	c := registry.Change{Flag: flag, Op: registry.Define, Base: p.revision(flag), Definition: file(flag, stage, more)}
	change(&c)
	return c
}

func (p *topic) revision(flag string) uint64 {
	if f := p.state.Flag(flag); f != nil {
		return f.Revision
	}
	return 0
}

// records are the decision records of a flag.
func (p *topic) records(flag string) (out []string) {
	p.Helper()
	r := NewReader(flag)
	for i, value := range p.values {
		d, err := r.Add(int64(i), value)
		if err != nil {
			p.Fatal(err)
		}
		if d != nil {
			out = append(out, d.Markdown())
		}
	}
	return out
}

// last is the newest record of a flag, which is to say all of this.
func (p *topic) last(flag string, want ...string) string {
	p.Helper()
	all := p.records(flag)
	if len(all) == 0 {
		p.Fatal("nothing was decided")
	}
	text := all[len(all)-1]
	for _, one := range want {
		if !strings.Contains(text, one) {
			p.Errorf("want %q, have:\n%s", one, text)
		}
	}
	return text
}

// measured is what the gate before dual_write judges: so many divergences of ten thousand writes.
func measured(at time.Time, diverged uint64) *rollout.Measured {
	return &rollout.Measured{At: at, Frontier: at, CoveredAt: at, Samples: map[string]rollout.Sample{
		rollout.SampleOver("divergence", time.Minute): {Count: diverged, Of: 10_000, From: at.Add(-2 * time.Minute), To: at}}}
}

// "Decision records generated from the evidence": what moved by a gate says what was measured and how
// the gate judged it, who agreed and with which record; what a gate refused is no decision.
func TestAMeasuredGateIsInTheRecord(t *testing.T) {
	p := begin(t)
	const governed = "governance: {approvals: {dual_write: 1}, escalation: orders on call}"
	for _, stage := range []string{"off", "shadow"} {
		p.to("orders", stage, governed)
	}
	at := day.Add(time.Duration(len(p.values)) * time.Minute)
	by := func(m *rollout.Measured) registry.Change {
		return p.define("orders", "dual_write", governed, func(c *registry.Change) { c.Measured = m })
	}
	p.says(registry.Refused, "ann", "too soon", by(measured(at, 500)))
	if n := len(p.records("orders")); n != 2 {
		t.Fatalf("what was refused is one of %d decisions", n)
	}
	p.says(registry.Effective, "bob", "read and *understood*", registry.Change{Flag: "orders", Op: registry.Approve, Base: p.revision("orders"), Definition: file("orders", "dual_write", governed)})
	p.says(registry.Effective, "ann", "the gate passes", by(measured(at, 5)))
	p.last("orders", "# orders: define, from shadow to dual_write\n", `decision-makers: ["ann"]`, `consulted: ["bob"]`, "date: 2026-11-23\n",
		"When the owner does not answer: orders on call.", "- The gate of dual_write, by what was measured at 2026-11-23T10:02:00Z: **pass**\n",
		"  - few: `divergence <= 0.01` over 1m0s: **pass**; divergence from 7.39", "- Measured: divergence@1m0s is 5 of 10000\n", "- Promote: its gate said pass\n",
		"- Approved by bob (record 3): read and \\*understood\\*\n", "legacy has authority for all keys; writes go by legacy_then_target", "Event e4 is record 4 of the registry's topic")
}

// A rollback's record says what took it back and how that was judged, what it lost, and which keys went
// back alone.
func TestARollbackIsInTheRecord(t *testing.T) {
	p := begin(t)
	for _, stage := range []string{"off", "shadow", "dual_write", "shadow_read"} {
		p.to("orders", stage, "")
	}
	p.to("orders", "ramp", "ramp: 100%")
	results := []rollout.Result{{Criterion: "burning", Condition: "divergence >\n 0.01", Window: "1m0s", Verdict: rollout.Pass, Bounds: map[string]rollout.Bounds{"divergence": {Low: 0.05, High: 0.05}}}}
	back := func(to string, keys ...[]string) registry.Change {
		return registry.Change{Flag: "orders", Op: registry.Rollback, Base: p.revision("orders"), To: to, Keys: keys, Trigger: "burning", Measured: measured(day, 500), Results: results}
	}
	p.says(registry.Effective, "guard", "burning; going back loses what 3 of 10 keys are on the target alone", back("ramp 100%", []string{"tenant-a"}))
	p.last("orders", "# orders: rollback, from ramp 100% to ramp 100%\n", "- 1 keys alone went back to legacy; all others stay where they were.\n",
		"`trueup rollout undo-cost` counts them.\n")
	p.says(registry.Effective, "guard", "burning; going back loses what 3 of 10 keys are on the target alone", back("shadow_read"))
	text := p.last("orders", "# orders: rollback, from ramp 100% to shadow_read\n", `decision-makers: ["guard"]`, "guard said at 2026-11-23T10:06:00Z: burning; going back loses what 3 of 10 keys",
		"- What took it back: burning\n  - burning: `divergence > 0.01` over 1m0s: **pass**; divergence from 0.05 to 0.05\n", "- Measured: divergence@1m0s is 500 of 10000\n",
		"- Promote: its gate was not judged\n", "- Roll back: needs no evidence; its trigger was judged as above\n", "Chosen: rollback to shadow_read. Revision 7, epoch 7.",
		"- Going back loses nothing that legacy has.\n")
	if strings.Contains(text, "The gate of") || strings.Contains(text, "keys alone") {
		t.Errorf("a rollback has a gate, or keys of another:\n%s", text)
	}
}

// An objection that was not resolved stands in the record of who broke the glass; one that was
// resolved does not, and neither is a decision of its own.
func TestObjectionsAndBrokenGlassAreInTheRecord(t *testing.T) {
	p := begin(t)
	const governed = "governance: {approvals: {shadow: 2}}"
	p.to("orders", "off", governed)
	object := registry.Change{Flag: "orders", Op: registry.Object}
	p.says(registry.Effective, "carl", "the report is missing", object)
	p.says(registry.Effective, "eve", "<script>alert(1)</script>\n# not mine", object)
	p.says(registry.Effective, "carl", "it came", registry.Change{Flag: "orders", Op: registry.Resolve, Objection: p.state.Flag("orders").Objections[0].Event})
	p.says(registry.Refused, "ann", "now", p.define("orders", "shadow", governed, func(c *registry.Change) { c.WithoutEvidence = true }))
	if n := len(p.records("orders")); n != 1 {
		t.Fatalf("%d decisions: what somebody says to one is none", n)
	}
	p.says(registry.Effective, "ann", "it burns", p.define("orders", "shadow", governed, func(c *registry.Change) { c.WithoutEvidence, c.BreakGlass = true, true }))
	text := p.last("orders", "- Objection of eve (record 2), not resolved then: &lt;script&gt;alert(1)&lt;/script&gt; \\# not mine\n", "- The glass was broken: it needed no agreement.\n",
		"- Promote: without evidence, which was taken upon himself by who decided\n", "- Nothing that was measured stands with the event.\n")
	if strings.Contains(text, "carl") || strings.Contains(text, "<script>") || strings.Contains(text, "consulted:") || strings.Contains(text, "Nobody else had said anything") {
		t.Errorf("have:\n%s", text)
	}
}

// A kill of all flags is a decision of each that stood, and of none that did not; later events change
// no record before them.
func TestAKillOfAllIsInTheRecordOfEach(t *testing.T) {
	p := begin(t)
	for _, flag := range []string{"orders", "pay"} {
		p.to(flag, "off", "")
	}
	p.to("orders", "shadow", "")
	before := p.records("orders")
	p.says(registry.Effective, "eve", "the target burns", registry.Change{Flag: registry.All, Op: registry.Kill})
	p.to("late", "off", "")
	p.last("orders", "# orders: kill, from shadow to off\n", `decision-makers: ["eve"]`, "the target burns", "Chosen: kill to off. Revision 3, epoch 3.", "is record 3 of the registry's topic",
		"Tree head over records 0 to 3: `", "- Nobody else had said anything to it.\n")
	p.last("pay", "# pay: kill, from off to off\n", "pay is a routing rollout of team-pay.", "is record 3 of the registry's topic")
	if text := p.last("late", "# late: define, from nothing to off\n"); strings.Contains(text, "kill") {
		t.Errorf("what did not stand was killed:\n%s", text)
	}
	if n := len(p.records("orders")); n != 3 {
		t.Errorf("have %d decisions", n)
	}
	p.says(registry.Effective, "eve", "again", registry.Change{Flag: registry.All, Op: registry.Kill})
	after := p.records("orders")
	if len(after) != 3 || strings.Join(after[:2], "") != strings.Join(before, "") {
		t.Errorf("a flag that was killed is killed once, and nothing before it changes: have %d", len(after))
	}
	p.says(registry.Effective, "ann", "it is out", registry.Change{Flag: "orders", Op: registry.Revive, Base: p.revision("orders"), WithoutEvidence: true})
	p.last("orders", "# orders: revive, from off to shadow\n")
	if p.state.Flag("orders").Flag.Place().Stage != schemas.StageShadow {
		t.Error("it is not alive")
	}
}

// A topic that is not given whole, and in its order, has no records.
func TestRecordsNeedTheWholeTopic(t *testing.T) {
	p := begin(t)
	p.to("orders", "off", "")
	p.to("orders", "shadow", "")
	r := NewReader("orders")
	if d, err := r.Add(1, p.values[1]); err == nil {
		t.Errorf("have %+v", d)
	}
}
