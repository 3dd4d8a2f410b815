package mysql

import (
	"sync"
	"sync/atomic"

	"github.com/trueup-io/trueup/schemas"
)

// digestRun is how many changes are digested at a time: enough that agreeing on
// them costs nothing beside it.
const digestRun = 64

// digests computes the digests of a transaction's changes, which is half of what
// making them costs, while those before are handed over already. Whoever needs
// a change that nobody has begun with takes part.
//
// The changes lie still from digestAll to wait: nobody but the digester of a run
// writes to them before it is done.
type digests struct {
	changes []*schemas.Change
	digest  func(*schemas.Change)
	next    atomic.Int64 // the run that nobody has begun with
	done    []atomic.Bool
	ready   chan struct{}       // has room for one: a run is done, or the goroutine failed
	failed  atomic.Pointer[any] // what the goroutine panicked with
	helping sync.WaitGroup
}

// digestAll begins to digest changes on another goroutine, which wait waits for.
// Where they are few, it has done so when it returns, and returns nil.
func digestAll(changes []*schemas.Change, digest func(*schemas.Change)) *digests {
	if len(changes) < 2*digestRun {
		for _, c := range changes {
			digest(c)
		}
		return nil
	}
	d := &digests{changes: changes, digest: digest, done: make([]atomic.Bool, (len(changes)+digestRun-1)/digestRun), ready: make(chan struct{}, 1)}
	d.helping.Go(d.help)
	return d
}

// help digests what nobody has begun with. What it panics with is the other
// goroutine's, which knows where it is in the log.
func (d *digests) help() {
	defer func() {
		if r := recover(); r != nil {
			d.failed.Store(&r)
			signal(d.ready)
		}
	}()
	for d.one() {
		signal(d.ready)
	}
}

// one digests the next run, false if there is none.
func (d *digests) one() bool {
	i := int(d.next.Add(1)) - 1
	if i >= len(d.done) {
		return false
	}
	for _, c := range d.changes[i*digestRun : min((i+1)*digestRun, len(d.changes))] {
		d.digest(c)
	}
	d.done[i].Store(true)
	return true
}

// reach returns when change i has its digest.
func (d *digests) reach(i int) {
	if d == nil || i%digestRun != 0 {
		return
	}
	for run := i / digestRun; !d.done[run].Load(); {
		if d.one() {
			continue
		}
		if failed := d.failed.Load(); failed != nil {
			panic(*failed)
		}
		<-d.ready // the other goroutine has begun with it, and says when it is done
	}
}

// wait returns when nobody looks at the changes any more.
func (d *digests) wait() {
	if d != nil {
		d.next.Store(int64(len(d.done))) // what nobody has begun with nobody needs
		d.helping.Wait()
	}
}
