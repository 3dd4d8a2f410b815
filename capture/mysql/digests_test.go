package mysql

import (
	"sync/atomic"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// Each change has its digest when it is reached, and is digested once; whoever
// stops early leaves nobody behind who looks at changes.
func TestChangesHaveDigestsWhenTheyAreReached(t *testing.T) {
	for _, n := range []int{0, 1, digestRun, 2 * digestRun, 2*digestRun + 1, 20 * digestRun} {
		for _, stop := range []int{n, n / 2, 0} {
			changes := make([]*schemas.Change, n)
			for i := range changes {
				changes[i] = new(schemas.Change)
			}
			var total atomic.Int64
			d := digestAll(changes, func(c *schemas.Change) { c.Ordinal++; total.Add(1) })
			for i, c := range changes[:stop] {
				if d.reach(i); c.Ordinal != 1 {
					t.Fatalf("change %d of %d was digested %d times when it was reached", i, n, c.Ordinal)
				}
			}
			d.wait()
			for i, c := range changes {
				if c.Ordinal > 1 || stop == n && c.Ordinal != 1 {
					t.Fatalf("change %d of %d was digested %d times", i, n, c.Ordinal)
				}
			}
			if stop == n && total.Load() != int64(n) {
				t.Errorf("%d of %d changes were digested", total.Load(), n)
			}
		}
	}
}

// E13: a panic is an error of the event that it is about, on whichever goroutine
// it happens.
func TestE13_PanicOfADigestIsTheStreams(t *testing.T) {
	changes := make([]*schemas.Change, 4*digestRun)
	for i := range changes {
		changes[i] = &schemas.Change{EventID: schemas.EventID{Ordinal: uint32(i)}}
	}
	for range 100 {
		func() {
			var d *digests
			defer func() {
				if r := recover(); r != "a row" {
					t.Errorf("recovered %v", r)
				}
				d.wait()
			}()
			d = digestAll(changes, func(c *schemas.Change) {
				if c.Ordinal == 3*digestRun {
					panic("a row")
				}
			})
			for i := range changes {
				d.reach(i)
			}
			t.Error("every change was reached")
		}()
	}
}
