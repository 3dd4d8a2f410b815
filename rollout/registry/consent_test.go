package registry

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/rollout"
)

const governed2 = `governance:
  approvals: {shadow: 2}
  approvalsLast: 2h`

// said is an event of somebody at a time.
func saidBy(id, who string, at time.Time, changes ...Change) Event {
	e := event(id, changes...)
	e.Who, e.At, e.Version = who, at, Version
	return e
}

func approval(base uint64, definition string) Change {
	return Change{Flag: "a", Op: Approve, Base: base, Definition: definition, WithoutEvidence: true}
}

func begun(t interface{ Fatal(...any) }, more string) *State {
	s := NewState()
	if o := apply(t, s, event("1", defined("a", 0, file("a", "off", "off", more)))); o.Effect != Effective {
		t.Fatal(o)
	}
	return s
}

func wants(t *testing.T, s *State, e Event, effect Effect, reason string) {
	t.Helper()
	if o := apply(t, s, e); o.Effect != effect || !strings.Contains(o.Reason, reason) {
		t.Fatalf("%s: want %s (%s), have %+v", e.ID, effect, reason, o)
	}
}

// Separation of duties: whoever applies does not count, nor does anybody twice.
func TestI37_TheAuthorDoesNotApprove(t *testing.T) {
	s, next := begun(t, governed2), file("a", "shadow", "off", governed2)
	step := defined("a", 1, next)
	wants(t, s, saidBy("2", "ann", day, step), Refused, "needs 2 approvals of others for exactly this, and has 0")
	wants(t, s, saidBy("3", "ann", day, approval(1, next)), Effective, "")
	wants(t, s, saidBy("4", "bob", day, approval(1, next)), Effective, "")
	wants(t, s, saidBy("5", "bob", day, approval(1, next)), Effective, "") // once more
	wants(t, s, saidBy("6", "ann", day, step), Refused, "has 1")
	wants(t, s, saidBy("7", "bob", day, step), Refused, "has 1")
	if f := s.Flag("a"); f.Revision != 1 || len(f.Approvals) != 2 {
		t.Fatalf("an approval is no change: %+v", f)
	}
	wants(t, s, saidBy("8", "eve", day, step), Effective, "")
	if f := s.Flag("a"); len(f.Approvals) != 0 || f.Revision != 2 {
		t.Errorf("have %+v", f)
	}
}

// An approval is for one definition on one revision, for a while, and not for less evidence
// than it was given on.
func TestI37_ApprovalsFall(t *testing.T) {
	next := file("a", "shadow", "off", governed2)
	approved := func(t *testing.T) *State {
		t.Helper()
		s := begun(t, governed2)
		wants(t, s, saidBy("2", "bob", day, approval(1, next)), Effective, "")
		wants(t, s, saidBy("3", "eve", day, approval(1, next)), Effective, "")
		return s
	}
	step := defined("a", 1, next)
	t.Run("another definition", func(t *testing.T) {
		wants(t, approved(t), saidBy("4", "ann", day, defined("a", 1, next+"\n# a word more\n")), Refused, "has 0")
	})
	t.Run("what stands has changed", func(t *testing.T) {
		s := approved(t)
		wants(t, s, saidBy("4", "ann", day, defined("a", 1, file("a", "off", "dual_write", governed2))), Effective, "")
		wants(t, s, saidBy("5", "ann", day, defined("a", 2, next)), Refused, "has 0")
		wants(t, s, saidBy("6", "bob", day, approval(1, next)), Conflict, "decided on revision 1")
	})
	t.Run("a kill", func(t *testing.T) {
		s := approved(t)
		wants(t, s, saidBy("4", "ann", day, Change{Flag: "a", Op: Kill}), Effective, "")
		if have := s.Flag("a").Approvals; len(have) != 0 {
			t.Errorf("have %+v", have)
		}
	})
	t.Run("time", func(t *testing.T) {
		wants(t, approved(t), saidBy("4", "ann", day.Add(2*time.Hour), step), Effective, "")
		wants(t, approved(t), saidBy("4", "ann", day.Add(2*time.Hour+time.Second), step), Refused, "has 0")
		wants(t, approved(t), saidBy("4", "ann", day.Add(-time.Second), step), Refused, "has 0")
	})
	t.Run("the evidence worsens", func(t *testing.T) {
		s, bare := approved(t), step
		bare.WithoutEvidence = false
		wants(t, s, saidBy("4", "ann", day, bare), Refused, "nothing was measured")
		if len(s.Flag("a").Approvals) != 2 {
			t.Fatal("nothing was judged, and approvals fell")
		}
		bare.Measured = measuredAt(day, 1)
		wants(t, s, saidBy("5", "ann", day, bare), Refused, "the gate before shadow says fail")
		wants(t, s, saidBy("6", "ann", day, step), Refused, "has 0")
	})
	t.Run("without evidence", func(t *testing.T) {
		s := begun(t, governed2)
		for _, who := range []string{"bob", "eve"} {
			c := approval(1, next)
			c.WithoutEvidence = false
			wants(t, s, saidBy(who, who, day, c), Effective, "")
		}
		wants(t, s, saidBy("4", "ann", day, step), Refused, "has 0")
		bare := step
		bare.WithoutEvidence, bare.Measured = false, measuredAt(day, 0)
		wants(t, s, saidBy("5", "ann", day, bare), Effective, "")
	})
}

// A file does not take its own hurdle away.
func TestI37_LessAgreementNeedsAgreement(t *testing.T) {
	for _, more := range []string{"", "governance: {approvals: {shadow: 1}, approvalsLast: 2h}", "governance: {approvals: {shadow: 2}, approvalsLast: 3h}"} {
		s := begun(t, governed2)
		wants(t, s, saidBy("2", "ann", day, defined("a", 1, file("a", "shadow", "off", more))), Refused, "has 0")
		wants(t, s, saidBy("3", "ann", day, defined("a", 1, file("a", "off", "off", more))), Refused, "needs 2 approvals")
	}
	s := begun(t, "governance: {approvals: {shadow: 1}}")
	wants(t, s, saidBy("2", "ann", day, defined("a", 1, file("a", "off", "off", governed2))), Effective, "") // more is no less
}

// An objection holds what goes forward, and nothing else, until it is resolved.
func TestI37_AnObjectionHolds(t *testing.T) {
	s, next := begun(t, ""), file("a", "shadow", "off")
	wants(t, s, saidBy("2", "bob", day, Change{Flag: "a", Op: Object}), Effective, "")
	wants(t, s, saidBy("3", "ann", day, defined("a", 1, next)), Refused, "bob objects (2)")
	wants(t, s, saidBy("4", "ann", day, defined("a", 1, file("a", "off", "dual_write"))), Effective, "") // no step
	wants(t, s, saidBy("5", "ann", day, Change{Flag: "a", Op: Resolve, Objection: "1"}), Refused, "no objection 1")
	wants(t, s, saidBy("6", "ann", day, Change{Flag: "a", Op: Kill}), Effective, "")
	wants(t, s, saidBy("7", "ann", day, Change{Flag: "a", Op: Revive, Base: 3}), Effective, "")
	wants(t, s, saidBy("8", "bob", day, Change{Flag: "a", Op: Resolve, Objection: "2"}), Effective, "")
	wants(t, s, saidBy("9", "ann", day, defined("a", 4, next)), Effective, "")
}

// A freeze and a schedule hold what goes forward; breaking the glass does not wait, and is
// named until the flag goes forward with the agreement that it needs.
func TestI37_FreezesAndGlass(t *testing.T) {
	frozen := "governance: {freezes: [{from: 2026-11-20, to: 2026-11-23, why: the sale}], schedule: {days: [mon, tue], from: \"09:00\", to: \"11:00\"}}"
	next := file("a", "shadow", "off", frozen)
	s := begun(t, frozen)
	wants(t, s, saidBy("2", "ann", day, defined("a", 1, next)), Refused, "frozen from 2026-11-20 to 2026-11-23: the sale")
	wants(t, s, saidBy("3", "ann", day, defined("a", 1, file("a", "shadow", "off"))), Refused, "frozen")
	tuesday := day.Add(24 * time.Hour)
	wants(t, s, saidBy("4", "ann", tuesday.Add(time.Hour), defined("a", 1, next)), Refused, "outside its schedule: mon tue, 09:00 to 11:00 UTC")
	wants(t, s, saidBy("5", "ann", tuesday.Add(24*time.Hour), defined("a", 1, next)), Refused, "outside its schedule")
	glass := defined("a", 1, next)
	glass.BreakGlass = true
	wants(t, s, saidBy("6", "ann", day, glass), Effective, "")
	if f := s.Flag("a"); f.BrokeGlass == nil || f.BrokeGlass.Who != "ann" {
		t.Fatalf("have %+v", f)
	}
	wants(t, s, saidBy("7", "ann", day, defined("a", 2, file("a", "off", "off", frozen))), Effective, "") // back asks nobody
	if s.Flag("a").BrokeGlass == nil {
		t.Error("the broken glass is forgotten")
	}
	wants(t, s, saidBy("8", "ann", tuesday, defined("a", 3, next)), Effective, "")
	if have := s.Flag("a").BrokeGlass; have != nil {
		t.Errorf("have %+v", have)
	}
}

// Over all that people can say before, going back and a kill always have effect.
func TestI34_NobodyHoldsWhatGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frozen := governed2 + "\n  freezes: [{from: 2026-01-01, to: 2027-01-01, why: x}]"
		s := begun(t, frozen)
		glass := defined("a", 1, file("a", "shadow", "off", frozen))
		glass.BreakGlass = true
		if o := apply(t, s, saidBy("2", "ann", day, glass)); o.Effect != Effective {
			t.Fatal(o)
		}
		for i := range rapid.IntRange(0, 5).Draw(t, "said") {
			c := rapid.SampledFrom([]Change{{Flag: "a", Op: Object}, approval(2, glass.Definition)}).Draw(t, "word")
			apply(t, s, saidBy(fmt.Sprint("w", i), fmt.Sprint("who", i), day, c))
		}
		back := rapid.SampledFrom([]Change{{Flag: "a", Op: Kill}, {Flag: "a", Op: Rollback, Base: 2, To: "off"},
			defined("a", 2, file("a", "off", "off", frozen))}).Draw(t, "back")
		if o := apply(t, s, saidBy("9", "ann", day, back)); o.Effect != Effective {
			t.Fatal(o)
		}
	})
}

// measuredAt is a measurement with so many divergences of a hundred.
func measuredAt(at time.Time, divergences uint64) *rollout.Measured {
	return &rollout.Measured{At: at, Frontier: at, CoveredAt: at, Samples: map[string]rollout.Sample{
		"divergence": {Count: 2 * divergences, Of: 100, From: at.Add(-2 * time.Hour), To: at}}}
}
