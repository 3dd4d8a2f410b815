package shop

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// script is everything that a seed says, n writes of each writer.
func script(seed int64, changes, n int) []string {
	c := cast{writers: 3}
	var all []string
	say := func(what string, w *Write) {
		all = append(all, fmt.Sprintf("%s %+v target first %t, aborted %t", what, w.Tag, w.TargetFirst, w.Aborted))
		for _, s := range w.Steps {
			statement, args := s.target("shop")
			all = append(all, fmt.Sprintf("  %s %v", statement, args))
		}
	}
	for _, w := range c.openShared(seed) {
		say("shared", &w)
	}
	for writer := range c.writers {
		p := c.planner(seed, writer)
		for range n {
			w := p.next()
			say("writer", &w)
		}
	}
	for _, f := range c.faults(seed, Counts(changes)) {
		all = append(all, fmt.Sprintf("fault %d %s %s %v %+v", f.ID, f.Kind, f.Story, f.Expect, f.Tag))
		for _, w := range f.opening {
			say("opening", &w)
		}
		for _, a := range f.acts {
			say(a.side.String(), &Write{Tag: a.tag, Steps: a.steps})
		}
	}
	return all
}

// "What it writes, to which keys, with which values and tags, follows from the
// seed alone."
func TestPlanFollowsFromTheSeed(t *testing.T) {
	one, again, other := script(7, 60_000, 500), script(7, 60_000, 500), script(8, 60_000, 500)
	if !slices.Equal(one, again) {
		t.Error("the same seed, another plan")
	}
	if slices.Equal(one, other) {
		t.Error("another seed, the same plan")
	}
}

// "The legitimate writers never touch its order", and faults do not share one.
func TestFaultsHaveOrdersOfTheirOwn(t *testing.T) {
	c := cast{writers: DefaultWriters}
	legitimate := map[int64]bool{}
	for _, w := range c.openShared(3) {
		legitimate[w.orders()[0]] = true
	}
	kinds := map[string]int{}
	for writer := range c.writers {
		p := c.planner(3, writer)
		for range 3000 {
			w := p.next()
			for _, id := range w.orders() {
				legitimate[id] = true
			}
			kinds[fmt.Sprintf("%T/%t/%t", w.Steps[len(w.Steps)-1], w.Aborted, w.TargetFirst)]++
		}
	}
	if len(kinds) < 12 {
		t.Errorf("the plan is a dull one: %v", kinds)
	}
	seen := map[int64]bool{}
	tags := map[string]bool{}
	for _, f := range c.faults(3, Counts(60_000)) {
		orders := map[int64]bool{}
		for _, w := range f.opening {
			orders[w.orders()[0]] = true
		}
		for _, a := range f.acts {
			w := Write{Steps: a.steps}
			for _, id := range w.orders() {
				orders[id] = true
			}
		}
		if len(orders) != 1 {
			t.Errorf("fault %d touches %d orders", f.ID, len(orders))
		}
		for id := range orders {
			if legitimate[id] || seen[id] {
				t.Errorf("order %d of fault %d (%s) is somebody else's too", id, f.ID, f.Kind)
			}
			seen[id] = true
			for _, k := range f.Expect {
				if k.Key[0] != fmt.Sprint(id) {
					t.Errorf("fault %d (%s) is expected at %s, and touches order %d", f.ID, f.Kind, k.Text(), id)
				}
			}
		}
		if f.Kind != schemas.Rogue && f.Tag == (Tag{}) || f.Kind == schemas.Rogue && f.Tag != (Tag{}) {
			t.Errorf("fault %d (%s) has tag %+v", f.ID, f.Kind, f.Tag)
		}
		if f.Tag.WriteID != "" && tags[f.Tag.WriteID] {
			t.Errorf("write id %s twice", f.Tag.WriteID)
		}
		tags[f.Tag.WriteID] = true
	}
}

func TestCounts(t *testing.T) {
	for changes, want := range map[int][2]int{0: {2, 2}, 3000: {2, 2}, 30_000: {10, 2}, 60_000: {20, 5}, 1_000_000: {20, 5}} {
		counts := Counts(changes)
		if len(counts) != 7 || counts[schemas.Stale] != want[0] || counts[schemas.Torn] != want[1] {
			t.Errorf("%d changes: %v, want %d of each and %d torn", changes, counts, want[0], want[1])
		}
	}
}

// Pace and room: at the default size a run takes 40 s, a small one
// still has room for everything that takes windows.
func TestLength(t *testing.T) {
	for _, c := range []struct {
		changes int
		window  time.Duration
		want    time.Duration
	}{{60_000, 2 * time.Second, 40 * time.Second}, {2000, 2 * time.Second, 26 * time.Second}} {
		got := Config{Changes: c.changes, SettleWindow: c.window}.Length()
		if got != c.want {
			t.Errorf("%d changes take %s, want %s", c.changes, got, c.want)
		}
	}
	if spell := (Config{SettleWindow: 2 * time.Second}).SpellLength(); spell < 8*time.Second || spell > 20*time.Second {
		t.Errorf("the spell takes %s", spell)
	}
}

// The planner's picture of its orders is what it has written: an update of an
// order, or of a line, that was never placed or was cancelled would be a hole.
func TestPlannerKnowsItsOrders(t *testing.T) {
	p := cast{writers: 2}.planner(5, 0)
	shared := map[int64]bool{}
	for _, id := range p.shared {
		shared[id] = true
	}
	lines := map[int64]int{}
	for range 20_000 {
		w := p.next()
		if w.Aborted {
			continue
		}
		for _, s := range w.Steps {
			switch s := s.(type) {
			case putOrder:
				lines[s.order.ID] = 0
			case putLines:
				lines[s.lines[0].Order] = len(s.lines)
			case dropLines:
				if lines[s.order] != s.n {
					t.Fatalf("%s drops %d lines of %d", w.Tag.WriteID, s.n, lines[s.order])
				}
			case dropOrder:
				delete(lines, s.id)
			default:
				for _, id := range s.orders() {
					if _, ok := lines[id]; !ok && !shared[id] {
						t.Fatalf("%s (%s) touches order %d, which is not there", w.Tag.WriteID, reflect.TypeOf(s), id)
					}
				}
			}
		}
	}
	if len(p.owned) > mostOwned || len(p.owned) < fewestOwned {
		t.Errorf("%d orders are kept", len(p.owned))
	}
}

func TestCents(t *testing.T) {
	for c, want := range map[Cents]string{0: "0.00", 5: "0.05", -5: "-0.05", 1050: "10.50", -123456: "-1234.56", 999_999_999_999: "9999999999.99"} {
		if got := c.String(); got != want {
			t.Errorf("%d: %s, want %s", int64(c), got, want)
		}
	}
}
