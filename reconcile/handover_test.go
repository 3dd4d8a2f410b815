package reconcile

import (
	"fmt"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// handOverLog writes logs in which a rollout gives every key from legacy to the target.
type handOverLog struct {
	*history
	names []string
	want  []handedOver
}

// handedOver is what is to be said of a key: that its histories are legal on both sides of
// the fence, or how they end.
type handedOver struct {
	legal   bool
	equal   bool         // the latest versions are
	opened  schemas.Kind // before the hand-over; "" for none
	touched bool         // something was written after the fence
}

// handOverFence is when the rollout of these logs goes on. What was before it was written in the
// microseconds from epoch0 on, what comes after it in those from handOverFence+1 on.
const handOverFence = epoch0 + 10_000

func (l *handOverLog) move(epoch uint64, stage schemas.RolloutStage, fence schemas.Micros) {
	l.step(schemas.Record{Control: &schemas.Control{Rollout: &schemas.RolloutControl{Name: "orders", Revision: epoch, Epoch: epoch, Stage: stage, Fence: fence}}})
}

// write writes one version of a key, and that its side is complete up to it.
func (l *handOverLog) write(s schemas.Side, key int, v byte, at schemas.Micros) {
	l.change(s, fmt.Sprint(key), v, at)
	l.progress(s, at)
}

// phases are a key's two histories, before and after the fence.
type phases struct{ legacy, target, targetAfter, legacyAfter []byte }

func (p phases) String() string {
	return fmt.Sprintf("legacy=%s target=%s | target=%s legacy=%s", p.legacy, p.target, p.targetAfter, p.legacyAfter)
}

func lastOf(v byte, more ...[]byte) byte {
	for _, m := range more {
		if len(m) > 0 {
			v = m[len(m)-1]
		}
	}
	return v
}

// judged says what is to be said of a key by the two phases, each judged by brute force:
// the first under legacy's authority, the second under the target's, from what both had.
func (p phases) judged() handedOver {
	before := bruteForce(p.legacy, p.target)
	has := lastOf(gone, p.target)
	after := bruteForceFrom(has, p.targetAfter, p.legacyAfter)
	return handedOver{
		legal:   before == judgement{} && after,
		equal:   lastOf(gone, p.legacy, p.legacyAfter) == lastOf(gone, p.target, p.targetAfter),
		opened:  before.kind,
		touched: len(p.targetAfter)+len(p.legacyAfter) > 0,
	}
}

// bruteForceFrom says whether a follower's history stands in an authority's, and ends with
// it, where both begin with one value.
func bruteForceFrom(start byte, l, n []byte) bool {
	l = append([]byte{start}, l...)
	places := []int{0}
	for j := 1; j < len(l); j++ {
		if l[j] == start {
			places = append(places, j)
		}
	}
	for _, v := range n {
		var next []int
		for j := places[0]; j < len(l); j++ {
			if l[j] == v {
				next = append(next, j)
			}
		}
		if len(next) == 0 {
			return false
		}
		places = next
	}
	return l[places[len(places)-1]] == l[len(l)-1] && places[len(places)-1] == len(l)-1
}

// eachPhases calls fn with all histories of up to so many versions a side and phase.
func eachPhases(before, after int, fn func(phases)) {
	first, then := sequences("ab", before), sequences("aD", after)
	for _, a := range first {
		for _, b := range first {
			for _, c := range then {
				for _, d := range then {
					fn(phases{a, b, c, d})
				}
			}
		}
	}
}

// finish has both sides pass the fence and the window, then another window, and holds what
// was said of each key to what is to be said.
func (l *handOverLog) finish(t *testing.T) {
	t.Helper()
	for _, at := range []schemas.Micros{handOverFence + 1_500_000, handOverFence + 10_000_000, handOverFence + 20_000_000} {
		for _, s := range schemas.Sides {
			l.progress(s, at)
		}
	}
	type said struct {
		opened, closed int
		first          schemas.Kind
		side           schemas.Side // of the last event
	}
	got := make([]said, len(l.want))
	for i := range l.out.Verdicts {
		v := &l.out.Verdicts[i]
		var n int
		if _, err := fmt.Sscan(v.Key[0], &n); err != nil {
			t.Fatal(err)
		}
		g := &got[n]
		g.side = v.Side
		switch v.Stage {
		case schemas.Opened:
			if g.opened == 0 {
				g.first = v.Verdict
			}
			g.opened++
		case schemas.Closed:
			g.closed++
		}
		if open := g.opened - g.closed; open < 0 || open > 1 {
			t.Fatalf("I11: %s: opened %d times, closed %d times", l.names[n], g.opened, g.closed)
		}
	}
	for n, want := range l.want {
		g := got[n]
		open := g.opened > g.closed
		switch {
		case want.legal && g.opened > 0:
			t.Errorf("I12: %s: %s was said, and nothing is wrong", l.names[n], g.first)
		case open == want.equal:
			t.Errorf("I11: %s: open %v, equal %v", l.names[n], open, want.equal)
		case open && g.side != schemas.Target:
			t.Errorf("%s: what is open stands under the authority of %s", l.names[n], g.side)
		case want.opened != "" && !want.touched && g.first != want.opened:
			t.Errorf("%s: what went wrong before the fence is %s, not %s", l.names[n], g.first, want.opened)
		}
		if t.Failed() && n > 5000 {
			t.FailNow()
		}
	}
	if n := l.core.Counters(); n.Unaccounted() != 0 || n.Applied != n.Consumed {
		t.Fatalf("I21: accounts do not add up: %+v", n)
	}
}

// Every pair of histories of up to two versions a side before the fence, and of up to two after it,
// with the record of the hand-over before all, between, and behind: what is legal on both
// sides of the fence is never said, what differs in the end is open once and under the new
// authority, and what was wrong before the fence is what it was under the old one.
func TestI11_I12_EveryHandOver(t *testing.T) {
	cases := 0
	for _, record := range []string{"first", "between", "last"} {
		for _, fenced := range []bool{false, true} { // the sides have passed the fence and the window before the second phase
			l := &handOverLog{history: newHistory(t, "1s")}
			l.baseline()
			l.move(1, schemas.StageShadowRead, epoch0-3_600_000_000)
			if record == "first" {
				l.move(2, schemas.StageTargetPrimary, handOverFence)
			}
			var all []phases
			eachPhases(2, 2, func(p phases) { all = append(all, p) })
			start := handOverFence
			for n, p := range all {
				l.want, l.names = append(l.want, p.judged()), append(l.names, fmt.Sprintf("record %s, fenced %v: %s", record, fenced, p))
				alternate(p.legacy, p.target, func(first bool, v byte, i int) {
					l.write(sideOf(first, schemas.Legacy), n, v, epoch0+schemas.Micros(i))
				})
			}
			if record == "between" {
				l.move(2, schemas.StageTargetPrimary, handOverFence)
			}
			if fenced && record != "last" {
				start += 3_000_000
				for _, s := range schemas.Sides {
					l.progress(s, start)
				}
			}
			for n, p := range all {
				alternate(p.targetAfter, p.legacyAfter, func(first bool, v byte, i int) {
					l.write(sideOf(first, schemas.Target), n, v, start+1+schemas.Micros(i))
				})
			}
			if record == "last" {
				l.move(2, schemas.StageTargetPrimary, handOverFence)
			}
			l.finish(t)
			cases += len(all)
		}
	}
	t.Logf("%d histories with a hand-over", cases)
}

func sideOf(first bool, authority schemas.Side) schemas.Side {
	if first {
		return authority
	}
	return authority.Other()
}

// alternate calls fn with the versions of two sequences in turn, the second one's first
// where it is longer.
func alternate(a, b []byte, fn func(first bool, v byte, i int)) {
	n := 0
	put := func(first bool, v byte) {
		fn(first, v, n)
		n++
	}
	for i := range max(len(a), len(b)) {
		if len(b) > len(a) && i < len(b) {
			put(false, b[i])
		}
		if i < len(a) {
			put(true, a[i])
		}
		if len(b) <= len(a) && i < len(b) {
			put(false, b[i])
		}
	}
}
