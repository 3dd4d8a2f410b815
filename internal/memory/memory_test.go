package memory

import (
	"runtime"
	"testing"
)

var sink []byte

// collections counts how often 64 MB of garbage are collected.
func collections() uint32 {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 64 << 10 {
		sink = make([]byte, 1<<10)
	}
	runtime.ReadMemStats(&after)
	return after.NumGC - before.NumGC
}

// A small heap is collected more seldom with headroom than without.
func TestHeadroomMakesCollectionsRare(t *testing.T) {
	without := collections()
	restore := Relax()
	with := collections()
	restore()
	if with >= without*3/4 {
		t.Errorf("64 MB of garbage were collected %d times with headroom, %d times without", with, without)
	}
}
