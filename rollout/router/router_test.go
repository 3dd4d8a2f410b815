package router_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/follow/followtest"
	"github.com/trueup-io/trueup/rollout/handover"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/router"
	"github.com/trueup-io/trueup/schemas"
)

// definition has the flag "a" at a place.
func definition(place string) string {
	stage, share, _ := cut(place)
	safe, more := "shadow_read", ""
	if share != "" {
		more = ", ramp: " + share
	}
	if stage == "target_primary" {
		safe = stage
	}
	return fmt.Sprintf(`{apiVersion: trueup/v1, kind: Rollout, metadata: {name: a, owner: team}, description: Orders move., controls: routing,
intent: permanent, stage: "%s", safeStage: %s%s}`, stage, safe, more)
}

func cut(place string) (stage, share string, err error) {
	p, err := rollout.ParsePlace(place)
	if p.Stage == schemas.StageRamp {
		share = p.Ramp.String()
	}
	return p.Stage.String(), share, err
}

func at(base uint64, place string) registry.Change {
	return registry.Change{Flag: "a", Op: registry.Define, Base: base, WithoutEvidence: true, Definition: definition(place)}
}

func by(changes ...registry.Change) registry.Event {
	return registry.Event{At: time.Now(), Who: "ann", Why: "it is time", Changes: changes}
}

// process is one that follows, and writes as a router lets it.
type process struct {
	link   *followtest.Link
	follow *follow.Follower
	router *router.Router
	stop   context.CancelFunc
	group  sync.WaitGroup
}

func start(t testing.TB, log *followtest.Log, name string, lease time.Duration) *process {
	ctx, stop := context.WithCancel(t.Context())
	p := &process{link: log.Link(), stop: stop}
	p.follow = follow.New(follow.Config{Source: p.link, Lease: lease})
	p.router = router.New(p.follow, router.Config{Name: name, Flags: []string{"a"}, Registry: p.link})
	p.group.Go(func() { _ = p.follow.Run(ctx) })
	p.group.Go(func() { _ = p.router.Run(ctx) })
	return p
}

func (p *process) end() {
	p.stop()
	p.group.Wait()
}

// flagAt is a log whose flag has gone to a place.
func flagAt(t *testing.T, places ...string) *followtest.Log {
	t.Helper()
	log := followtest.NewLog()
	for i, place := range append([]string{"off", "shadow", "dual_write", "shadow_read"}, places...) {
		if _, _, err := log.Link().Submit(t.Context(), by(at(uint64(i), place))); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

// keys of which the first is the target's from 10% on, and the second is legacy's up to 90%.
func keys() (early, late []string) {
	for i := 0; early == nil || late == nil; i++ {
		key := []string{fmt.Sprint(i)}
		switch bucket := schemas.BucketOf("a", key); {
		case bucket < 10_000:
			early = key
		case bucket >= 90_000:
			late = key
		}
	}
	return early, late
}

// A write that is under way holds the hand-over up; what moves is refused meanwhile, and
// nothing else.
func TestAHoldWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := flagAt(t)
		p := start(t, log, "checkout", 15*time.Second)
		defer p.end()
		synctest.Wait()
		early, late := keys()
		w, err := p.router.Begin("a", early)
		if err != nil || w.Authority() != schemas.Legacy || w.Epoch != 4 || w.Live() != nil {
			t.Fatal(w, err)
		}
		handed := make(chan error, 1)
		fenced := &handover.Fenced{Registry: log.Link()}
		go func() {
			_, _, err := fenced.Submit(t.Context(), by(at(4, "ramp 10%")))
			handed <- err
		}()
		sleep(t.Context(), time.Second)
		var held *router.HeldError
		if _, err := p.router.Begin("a", early); !errors.As(err, &held) || held.Flag != "a" || held.Limit != 70*time.Second {
			t.Fatalf("want it held, have %v", err)
		}
		if w, err := p.router.Begin("a", late); err != nil {
			t.Fatal(err)
		} else if w.End(); w.Live() != nil {
			t.Fatal("it does not live")
		}
		select {
		case err := <-handed:
			t.Fatal("it did not wait", err)
		default:
		}
		if w.Live() != nil {
			t.Fatal("what is waited for may not commit")
		}
		w.End()
		w.End()
		if err := <-handed; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w, err = p.router.Begin("a", early)
		if err != nil || w.Authority() != schemas.Target || w.Epoch != 5 {
			t.Fatal(w, err)
		}
		w.End()
	})
}

// "A lost lease counts as acknowledged only after the lease's time + clock error has passed",
// "a dead router does not block for ever", and on timeout the transition is taken back and says which
// router did not answer.
func TestARouterThatIsGone(t *testing.T) {
	for _, c := range []struct {
		timeout time.Duration
		freed   bool
	}{{30 * time.Second, true}, {10 * time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			log := flagAt(t)
			alive, dead := start(t, log, "alive", 15*time.Second), start(t, log, "dead", 15*time.Second)
			synctest.Wait()
			early, _ := keys()
			late, err := dead.router.Begin("a", early)
			if err != nil {
				t.Fatal(err)
			}
			dead.link.Set(true, false, false)
			began := time.Now()
			state, _, err := (&handover.Fenced{Registry: log.Link(), Timeout: c.timeout}).Submit(t.Context(), by(at(4, "ramp 10%")))
			took := time.Since(began)
			switch {
			case c.freed && (err != nil || took < 16*time.Second || took > 17*time.Second):
				t.Fatalf("after %s: %v", took, err)
			case !c.freed && (!errors.Is(err, registry.ErrVoid) || took != 10*time.Second || !strings.Contains(err.Error(), "no answer of dead-")):
				t.Fatalf("after %s: %v", took, err)
			case c.freed && (len(state.Flag("a").Waiting()) != 0 || !errors.Is(late.Live(), router.ErrStale)):
				t.Fatal("who is gone may write", late.Live())
			}
			if f := log.State().Flag("a"); f.Held != nil {
				t.Fatal("it is held still")
			}
			late.End()
			dead.link.Set(false, false, false)
			sleep(t.Context(), 5*time.Second)
			w, err := dead.router.Begin("a", early) // it comes back, and joins anew
			if err != nil || (w.Authority() == schemas.Target) != c.freed {
				t.Fatal(w, err)
			}
			w.End()
			alive.end()
			dead.end()
			if f := log.State().Flag("a"); len(f.Routers) != 0 {
				t.Fatalf("who has left is waited for: %v", f.Routers)
			}
		})
	}
}

// "Kill wins over any hold."
func TestI35_AKillEndsAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := flagAt(t, "ramp 50%")
		p := start(t, log, "checkout", 15*time.Second)
		defer p.end()
		synctest.Wait()
		early, _ := keys()
		w, err := p.router.Begin("a", early)
		if err != nil || w.Authority() != schemas.Target {
			t.Fatal(w, err)
		}
		handed := make(chan error, 1)
		go func() {
			_, _, err := (&handover.Fenced{Registry: log.Link()}).Submit(t.Context(), by(at(5, "ramp 100%")))
			handed <- err
		}()
		sleep(t.Context(), time.Second)
		pressed := time.Now()
		if _, _, err := log.Link().Submit(t.Context(), by(registry.Change{Flag: "a", Op: registry.Kill})); err != nil || time.Since(pressed) != 0 {
			t.Fatal(err)
		}
		if err := <-handed; err != nil && !errors.Is(err, registry.ErrVoid) || err == nil {
			t.Fatal(err)
		}
		if f := log.State().Flag("a"); f.Killed == nil || f.Held != nil || f.Flag.Place().Stage != schemas.StageShadowRead {
			t.Fatalf("have %+v", f)
		}
		synctest.Wait()
		if !errors.Is(w.Live(), router.ErrEnded) {
			t.Fatal("a write by what was killed lives", w.Live())
		}
		w.End()
		w, err = p.router.Begin("a", early)
		if err != nil || w.Authority() != schemas.Legacy {
			t.Fatal(w, err)
		}
		w.End()
	})
}

// Who began a hold dies: it is taken back by others, once, and writers go on.
func TestAHoldOfSomebodyWhoDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := flagAt(t)
		p, q := start(t, log, "one", 15*time.Second), start(t, log, "two", 15*time.Second)
		defer p.end()
		defer q.end()
		synctest.Wait()
		early, _ := keys()
		if _, _, err := log.Link().Submit(t.Context(), by(registry.Change{Flag: "a", Op: registry.Hold, Base: 4, Definition: definition("ramp 10%"), LimitMs: 20_000, WithoutEvidence: true})); err != nil {
			t.Fatal(err)
		}
		sleep(t.Context(), 19*time.Second)
		if _, err := p.router.Begin("a", early); err == nil {
			t.Fatal("it is not held")
		}
		sleep(t.Context(), 15*time.Second)
		w, err := p.router.Begin("a", early)
		if err != nil {
			t.Fatal(err)
		}
		w.End()
	})
}

// What a write pays for the fence: Begin, Live and End.
func BenchmarkBegin(b *testing.B) {
	log := followtest.NewLog()
	link := log.Link()
	for i, place := range []string{"off", "shadow", "dual_write", "shadow_read", "ramp 50%"} {
		if _, _, err := link.Submit(b.Context(), by(at(uint64(i), place))); err != nil {
			b.Fatal(err)
		}
	}
	p := start(b, log, "checkout", 15*time.Second)
	defer p.end()
	key := []string{"42"}
	followtest.Until(b, "it has joined", func() bool {
		w, err := p.router.Begin("a", key)
		if err == nil {
			w.End()
		}
		return err == nil
	})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w, err := p.router.Begin("a", key)
			if err != nil {
				b.Error(err)
				return
			}
			if err := w.Live(); err != nil {
				b.Error(err)
				return
			}
			w.End()
		}
	})
}
