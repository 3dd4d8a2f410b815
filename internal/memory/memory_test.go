package memory

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// goal is how large the heap may grow before it is collected, and how much of it
// is alive, in bytes.
func goal() (goal, live uint64) {
	runtime.GC()
	s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

// The garbage that may lie about is what Go allows and twice the headroom; once it
// is given back, what Go allows.
func TestHeadroomIsGarbageThatMayLieAbout(t *testing.T) {
	used := make([]byte, 8<<20) // above the smallest heap that Go collects
	without, live := goal()
	restore := Relax()
	with, more := goal()
	restore()
	after, _ := goal()
	const slack = 1 << 20
	if grown := with - without; grown < 2*headroom-slack || grown > 2*headroom+slack || more-live > headroom+slack {
		t.Errorf("a heap of %d may grow to %d with headroom (%d alive), to %d without", live, with, more, without)
	}
	if after > without+slack {
		t.Errorf("a heap may still grow to %d when the headroom was given back, %d before", after, without)
	}
	runtime.KeepAlive(used)
}
