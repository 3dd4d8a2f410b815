package memory

import (
	"os"
	"runtime"
	"runtime/metrics"
	"testing"
)

// goal is how large the heap may grow before it is collected, and how much of it
// is alive, in bytes.
func goal() (goal, live uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

// Beside a small heap lies as much garbage as headroom says, beside a large one
// nearly as much as Go allows.
func TestHeadroomIsGarbageThatMayLieAbout(t *testing.T) {
	if os.Getenv("GOGC") != "" {
		t.Skip("GOGC is set, and is what counts")
	}
	tuned := &tuner{}
	defer Tune()()
	for _, mb := range []int{0, 4, 12, 24, 96, 200} {
		used := make([]byte, mb<<20)
		runtime.GC()
		tuned.tune()
		goal, live := goal()
		want := uint64(min(max(headroom, int(live)-headroom), most+int(live)/4))
		if garbage := goal - live; garbage < want*3/4 || garbage > want*5/4+1<<20 {
			t.Errorf("a heap of %d bytes may grow to %d: garbage of %d, want %d", live, goal, garbage, want)
		}
		runtime.KeepAlive(used)
	}
}

// Each collection is followed by a look at what it left, without being asked.
func TestTuneFollowsTheHeap(t *testing.T) {
	if os.Getenv("GOGC") != "" {
		t.Skip("GOGC is set, and is what counts")
	}
	restore := Tune()
	used := make([]byte, 48<<20)
	small := percent(1 << 20)
	for wait := 0; ; wait++ {
		runtime.GC()
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		if p := int(s[0].Value.Uint64()); p != small && p < 100 && p > 50 {
			break
		}
		if wait > 10_000 {
			t.Fatal("a heap of 48 MB changed nothing")
		}
		runtime.Gosched()
	}
	runtime.KeepAlive(used)
	restore()
	restored := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	if metrics.Read(restored); restored[0].Value.Uint64() != 100 {
		t.Errorf("GOGC is %d when the headroom was given back", restored[0].Value.Uint64())
	}
}

func TestPercent(t *testing.T) {
	last := uint64(0)
	for mb := uint64(1); mb < 4096; mb++ {
		p := percent(mb << 20)
		grown := mb + mb*uint64(p)/100
		if p < 5 || p > 300 || mb > 16 && p > 100 || grown+grown/8 < last {
			t.Errorf("%d MB alive: GOGC %d, grows to %d MB; %d with 1 MB less", mb, p, grown, last)
		}
		last = grown
	}
}
