package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

func joined(router string) Change {
	return Change{Flag: "a", Op: Join, Router: router, LeaseMs: 15000}
}

func heldFor(base uint64, definition string) Change {
	return Change{Flag: "a", Op: Hold, Base: base, Definition: definition, LimitMs: 60000, WithoutEvidence: true}
}

// walked is a registry whose flag is at the stage before keys move.
func walked(t interface{ Fatal(...any) }) *State {
	s := NewState()
	for i, stage := range []string{"off", "shadow", "dual_write", "shadow_read"} {
		if out := apply(t, s, event(stage, defined("a", uint64(i), file("a", stage, "off")))); out.Effect != Effective {
			t.Fatal(out.Reason)
		}
	}
	return s
}

func ramp(percent string) string { return file("a", "ramp", "shadow_read", "ramp: "+percent) }

// "A hand-over is fenced: epoch, acknowledgement by every router, switch", step by step.
func TestAHandOverWaitsForEachRouter(t *testing.T) {
	s, n := walked(t), 0
	try := func(want Effect, reason string, c Change) {
		t.Helper()
		n++
		if out := apply(t, s, event(fmt.Sprint("e", n), c)); out.Effect != want || !strings.Contains(out.Reason, reason) {
			t.Fatalf("want %s (%s), have %+v", want, reason, out)
		}
	}
	ack := func(router, hold string) Change {
		return Change{Flag: "a", Op: Ack, Router: router, Epoch: s.Flag("a").Epoch, Hold: hold}
	}
	try(Effective, "", joined("one"))
	try(Refused, "already", joined("one"))
	try(Effective, "", joined("two"))
	try(Refused, "held first", defined("a", 4, ramp("10%")))
	try(Refused, "no key", heldFor(4, file("a", "off", "off")))
	try(Effective, "", heldFor(4, ramp("10%")))
	hold := s.Flag("a").Held.Event
	try(Refused, "already", heldFor(5, ramp("10%")))
	try(Conflict, "", defined("a", 4, ramp("10%")))
	try(Refused, "wait for one, two", defined("a", 5, ramp("10%")))
	try(Effective, "", ack("one", hold))
	try(Refused, "does not stand", ack("two", "another"))
	try(Refused, "does not stand", Change{Flag: "a", Op: Excuse, Router: "two", Hold: "another"})
	try(Refused, "wait for two", defined("a", 5, ramp("10%")))
	try(Refused, "held first", defined("a", 5, ramp("20%")))
	try(Effective, "", joined("three"))
	try(Effective, "", Change{Flag: "a", Op: Excuse, Router: "two", Hold: hold})
	gone := s.Flag("a").Routers[1].Gone
	try(Refused, "join again", ack("two", hold))
	try(Refused, "does not stand", Change{Flag: "a", Op: Forget, Router: "two", Hold: "another"})
	try(Effective, "", joined("two"))
	try(Refused, "does not stand", Change{Flag: "a", Op: Forget, Router: "two", Hold: gone})
	try(Refused, "wait for three", defined("a", 5, ramp("10%")))
	try(Effective, "", ack("three", hold))
	try(Effective, "", defined("a", 5, ramp("10%")))
	if f := s.Flag("a"); f.Held != nil || f.Epoch != 5 || len(f.Routers) != 3 || f.Routers[0].Epoch != 4 {
		t.Fatalf("have %+v", f)
	}
	try(Effective, "", ack("one", ""))
	try(Effective, "", Change{Flag: "a", Op: Leave, Router: "two"})
	try(Refused, "no router", ack("two", ""))
	// A step that moves no key waits for nobody.
	try(Effective, "", defined("a", 6, file("a", "ramp", "shadow_read", "ramp: 10%", "decision: here")))
	// Back to where keys are legacy's again, it waits; a kill and a rollback do not.
	try(Refused, "held first", defined("a", 7, file("a", "shadow_read", "off")))
	try(Effective, "", heldFor(7, file("a", "shadow_read", "off")))
	hold = s.Flag("a").Held.Event
	try(Refused, "no hold", Change{Flag: "a", Op: Release, Hold: "another"})
	try(Effective, "", Change{Flag: "a", Op: Release, Hold: hold})
	try(Conflict, "", defined("a", 8, file("a", "shadow_read", "off")))
	try(Effective, "", heldFor(9, file("a", "shadow_read", "off")))
	try(Effective, "", Change{Flag: "a", Op: Kill})
	if f := s.Flag("a"); f.Held != nil || f.Flag.Place().Stage != schemas.StageShadowRead {
		t.Fatalf("have %+v", f)
	}
	// Neither does a revival go past a router.
	try(Refused, "held first", Change{Flag: "a", Op: Revive, Base: 11, WithoutEvidence: true})
	try(Effective, "", Change{Flag: "a", Op: Hold, Base: 11, LimitMs: 1, WithoutEvidence: true})
	hold = s.Flag("a").Held.Event
	try(Effective, "", ack("one", hold))
	try(Effective, "", ack("three", hold))
	try(Effective, "", Change{Flag: "a", Op: Revive, Base: 12, WithoutEvidence: true})
	try(Effective, "", heldFor(13, ramp("20%")))
	try(Effective, "", Change{Flag: "a", Op: Rollback, Base: 14, To: "shadow_read", Trigger: "burning"})
	if f := s.Flag("a"); f.Held != nil || f.Flag.Place().Stage != schemas.StageShadowRead || f.Killed != nil {
		t.Fatalf("have %+v", f)
	}
}

// A hold knows which keys move: those, and no others.
func TestAHoldIsOfTheKeysThatMove(t *testing.T) {
	s := walked(t)
	for i, c := range []Change{joined("one"), heldFor(4, ramp("30%"))} {
		if out := apply(t, s, event(fmt.Sprint(i), c)); out.Effect != Effective {
			t.Fatal(out.Reason)
		}
	}
	f, moving := s.Flag("a"), 0
	for i := range 1000 {
		key := []string{fmt.Sprint(i)}
		if f.Moves(key) != (schemas.BucketOf("a", key) < 30_000) {
			t.Fatalf("key %v", key)
		}
		if f.Moves(key) {
			moving++
		}
	}
	if moving < 200 || moving > 400 {
		t.Fatalf("%d of 1000 move", moving)
	}
	if from, to := f.Held.Places(); from.String() != "shadow_read" || to.String() != "ramp 30%" {
		t.Fatal(from, to)
	}
}

// Whatever is written in whatever order: keys go to the other side only with the word of each
// router that had joined, or by a kill or a rollback; and the same records give the same.
func TestNoOrderOfEventsPassesARouter(t *testing.T) {
	places := []string{file("a", "shadow_read", "off"), ramp("10%"), ramp("40%"), file("a", "dual_write", "off")}
	rapid.Check(t, func(t *rapid.T) {
		s, again, n, moved := walked(t), walked(t), 0, 0
		apply1 := func(c Change) {
			was := s.Flag("a")
			e := event(fmt.Sprint("e", n), c)
			n++
			out := apply(t, s, e)
			apply(t, again, e)
			is := s.Flag("a")
			if out.Effect != Effective || !moves(was, is) {
				return
			}
			if moved++; c.Op != Kill && c.Op != Rollback {
				for _, r := range was.Routers {
					if was.Held == nil || r.Hold != was.Held.Event {
						t.Fatalf("%s moved keys past %s", c.Op, r.ID)
					}
				}
			}
			if is.Held != nil {
				t.Fatalf("%s leaves a hold of what was", c.Op)
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			f := s.Flag("a")
			router := fmt.Sprint("r", rapid.IntRange(0, 2).Draw(t, "router"))
			hold := ""
			if f.Held != nil {
				hold = f.Held.Event
			}
			to := rapid.SampledFrom(places).Draw(t, "to")
			if f.Held != nil && rapid.Bool().Draw(t, "the same") {
				to = f.Held.Definition
			}
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				apply1(joined(router))
			case 1:
				c := Change{Flag: "a", Op: Leave, Router: router}
				if hold != "" && rapid.Bool().Draw(t, "excused") {
					c.Op, c.Hold = Excuse, hold
				}
				apply1(c)
			case 2, 3:
				apply1(Change{Flag: "a", Op: Ack, Router: router, Epoch: f.Epoch, Hold: hold})
			case 4:
				apply1(heldFor(f.Revision, to))
			case 5, 6:
				if to == "" {
					apply1(Change{Flag: "a", Op: Revive, Base: f.Revision, WithoutEvidence: true})
				} else {
					apply1(defined("a", f.Revision, to))
				}
			case 7:
				if hold != "" {
					apply1(Change{Flag: "a", Op: Release, Hold: hold})
				}
			case 8:
				apply1(Change{Flag: "a", Op: Kill})
			case 9:
				apply1(Change{Flag: "a", Op: Rollback, Base: f.Revision, To: "shadow_read", Trigger: "burning"})
			}
		}
		one, err1 := s.MarshalJSON()
		two, err2 := again.MarshalJSON()
		if err1 != nil || err2 != nil || !slices.Equal(one, two) {
			t.Fatalf("not the same: %s, %s", one, two)
		}
	})
}
