package router_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/follow/followtest"
	"github.com/trueup-io/trueup/rollout/handover"
	"github.com/trueup-io/trueup/rollout/router"
)

// fleet is processes that write while a flag is handed over again and again.
type fleet struct {
	*testing.T
	log *followtest.Log

	mu sync.Mutex // guards what follows
	tally
	wrong []string
}

// tally is what came of it.
type tally struct{ commits, held, stale, switched, taken int }

// write is one write after another, in a thread of a process that can be stopped anywhere
// but between Live and the commit.
func (f *fleet) write(ctx context.Context, p *process, r *rand.Rand) {
	for ctx.Err() == nil {
		_, _ = p.link.Thawed(ctx)
		key := []string{fmt.Sprint(r.IntN(200))}
		if w, err := p.router.Begin("a", key); err == nil {
			d := time.Duration(r.IntN(300)) * time.Millisecond
			if r.IntN(30) == 0 {
				d = time.Duration(r.IntN(12)) * time.Second // a slow store
			}
			sleep(ctx, d)
			_, _ = p.link.Thawed(ctx)
			f.commit(w, key)
			w.End()
		} else {
			f.refused(err)
		}
		sleep(ctx, time.Duration(1+r.IntN(100))*time.Millisecond)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (f *fleet) refused(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var held *router.HeldError
	switch {
	case errors.As(err, &held):
		f.held++
	case errors.Is(err, router.ErrStale):
		f.stale++
	}
}

// commit writes, if the write lives, and asks the registry who has authority in this very moment.
func (f *fleet) commit(w *router.Write, key []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.Live() != nil {
		return
	}
	is := f.log.State().Flag("a")
	f.commits++
	if rollout.Evaluate(is.Flag, key).Authority() != w.Authority() {
		f.wrong = append(f.wrong, fmt.Sprintf("key %v is written by epoch %d on %s, and since epoch %d it is the other side's", key, w.Epoch, w.Authority(), is.Epoch))
	}
}

// add starts a process with some threads.
func (f *fleet) add(name string, r *rand.Rand) *process {
	ctx, stop := context.WithCancel(f.Context())
	p := start(f.T, f.log, name, time.Duration(2+r.IntN(9))*time.Second)
	was := p.stop
	p.stop = func() { stop(); was() }
	for range 3 {
		mine := rand.New(rand.NewPCG(r.Uint64(), 0))
		p.group.Go(func() { f.write(ctx, p, mine) })
	}
	return p
}

// trouble is what happens to a process, one after another, until ctx ends.
func (f *fleet) trouble(ctx context.Context, name string, r *rand.Rand) {
	p := f.add(name, r)
	for ctx.Err() == nil {
		d, kind := time.Duration(r.IntN(20_000))*time.Millisecond, r.IntN(8)
		switch kind {
		case 0, 1, 2: // cut off; stopped, and going on; without answers
			p.link.Set(kind == 0, kind == 1, kind == 2)
		case 3: // it ends
			p.end()
			p = f.add(name, r)
		case 4: // it is killed
			p.link.Set(true, false, false)
			p.end()
			p = f.add(name, r)
		}
		sleep(ctx, d)
		p.link.Set(false, false, false)
	}
	sleep(f.Context(), 5*time.Minute) // everything heals
	p.end()
}

// handOver goes to another place, or dies on the way, or has too little patience.
func (f *fleet) handOver(r *rand.Rand) {
	is := f.log.State().Flag("a")
	next := []string{"shadow_read", "ramp 30%", "ramp 70%", "ramp 100%"}
	to := next[r.IntN(len(next))]
	ctx, cancel := context.WithCancel(f.Context())
	defer cancel()
	link := f.log.Link()
	fenced := &handover.Fenced{Registry: link, Timeout: time.Duration(1+r.IntN(20)) * time.Second}
	dies := r.IntN(5) == 0
	if dies { // and takes nothing back
		time.AfterFunc(time.Duration(r.IntN(3000))*time.Millisecond, func() { link.Set(true, false, false) })
	}
	_, _, err := fenced.Submit(ctx, by(at(is.Revision, to)))
	now := f.log.State().Flag("a")
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil && now.Epoch > is.Epoch:
		f.switched++
	case now.Revision > is.Revision:
		f.taken++
	}
	if is.Held == nil && now.Held != nil && !dies {
		f.wrong = append(f.wrong, fmt.Sprint("it is held, and nobody died: ", err))
	}
}

// "No write under the old epoch after the switch, ever, with routers paused, cut off, slow,
// restarted": at each commit the registry says who has authority.
func TestNoWriteUnderTheOldEpochAfterTheSwitch(t *testing.T) {
	seeds, all := 40, tally{}
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			f := &fleet{T: t, log: flagAt(t)}
			ctx, stop := context.WithCancel(t.Context())
			var group sync.WaitGroup
			for i := range 3 {
				r := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
				group.Go(func() { f.trouble(ctx, fmt.Sprint("p", i), r) })
			}
			r := rand.New(rand.NewPCG(uint64(seed), 99))
			for range 15 {
				sleep(ctx, time.Duration(r.IntN(5000))*time.Millisecond)
				f.handOver(r)
			}
			stop()
			sleep(t.Context(), 2*time.Minute) // a hold of one that died goes by itself
			if f.log.State().Flag("a").Held != nil {
				t.Errorf("seed %d: it is held for ever", seed)
			}
			group.Wait()
			for _, text := range f.wrong {
				t.Errorf("seed %d: %s", seed, text)
			}
			all.commits += f.commits
			all.held, all.stale, all.switched, all.taken = all.held+f.held, all.stale+f.stale, all.switched+f.switched, all.taken+f.taken
		})
	}
	t.Logf("%d runs: %+v", seeds, all)
	if all.commits < 1000*seeds || all.held == 0 || all.stale == 0 || all.switched < 2*seeds || all.taken == 0 {
		t.Errorf("too little has happened to say anything: %+v", all)
	}
}
