package follow_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/follow/followtest"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

// definition is a flag that stands at off at first; its safe stage is another one, so that one sees which it is.
func definition(stage string) string {
	return fmt.Sprintf(`{apiVersion: trueup/v1, kind: Rollout, metadata: {name: a, owner: team}, description: Orders move., controls: routing,
intent: permanent, stage: "%s", safeStage: dual_write}`, stage)
}

func defined(base uint64, stage string) registry.Change {
	return registry.Change{Flag: "a", Op: registry.Define, Base: base, Definition: definition(stage), WithoutEvidence: true}
}

func following(t *testing.T, log *followtest.Log, lease time.Duration) *follow.Follower {
	t.Helper()
	f := follow.New(follow.Config{Source: log, Lease: lease})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f
}

func stage(f *follow.Follower) (schemas.RolloutStage, rollout.Reason) {
	_, d := f.Evaluate("a", []string{"42"})
	return d.Stage, d.Reason
}

// "Says stale, falls to the declared stage, never to a default, never reports healthy":
// with the stream cut, and with one that is late while the log can be asked.
func TestI35_CutOffItFallsToTheSafeStage(t *testing.T) {
	for what, cut := range map[string]func(*followtest.Log){
		"cut": (*followtest.Log).Cut,
		"late": func(l *followtest.Log) {
			l.Hold()
			if err := l.Write(defined(1, "shadow")); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			log := followtest.NewLog()
			if err := log.Write(defined(0, "off")); err != nil {
				t.Fatal(err)
			}
			f := following(t, log, time.Second)
			followtest.Until(t, "fresh, at off", func() bool { s, why := stage(f); return s == schemas.StageOff && why == rollout.ByStage })
			cut(log)
			followtest.Until(t, "stale", func() bool { return !f.Fresh(time.Now()) })
			for range 100 { // it stays so as long as the cut lasts
				if s, why := stage(f); s != schemas.StageDualWrite || why != rollout.Stale || f.Fresh(time.Now()) {
					t.Fatalf("cut off it is at %s by %s, fresh: %v", s, why, f.Fresh(time.Now()))
				}
			}
			log.Heal()
			followtest.Until(t, "fresh again", func() bool { _, why := stage(f); return why == rollout.ByStage })
		})
	}
}

// A kill reaches whoever follows, over what is written beside it.
func TestI35_AKillArrives(t *testing.T) {
	log := followtest.NewLog()
	f := following(t, log, time.Minute)
	if flag, _ := f.Evaluate("a", nil); flag != nil {
		t.Fatal("nothing stands")
	}
	for _, c := range []registry.Change{defined(0, "off"), {Flag: "a", Op: registry.Kill}, defined(1, "shadow")} {
		if err := log.Write(c); err != nil {
			t.Fatal(err)
		}
	}
	log.Append([]byte("{")) // what is damaged holds up nobody
	pressed := time.Now()
	followtest.Until(t, "all is read", func() bool { return f.View().Next == 4 && f.Fresh(time.Now()) })
	t.Logf("the kill was there within %s", time.Since(pressed).Round(time.Microsecond))
	flag, d := f.Evaluate("a", []string{"42"})
	if d.Stage != schemas.StageOff || flag.Killed == nil || d.Reason != rollout.ByStage {
		t.Errorf("have %+v, %+v", flag, d)
	}
	if n := f.View().Counts[registry.Damaged]; n != 1 {
		t.Errorf("%d damaged", n)
	}
}

func TestEvaluateAllocatesNothing(t *testing.T) {
	log := followtest.NewLog()
	if err := log.Write(defined(0, "off")); err != nil {
		t.Fatal(err)
	}
	f := following(t, log, time.Minute)
	followtest.Until(t, "fresh", func() bool { return f.Fresh(time.Now()) && f.View().Next == 1 })
	key := []string{"42"}
	if n := testing.AllocsPerRun(100, func() { f.Evaluate("a", key) }); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}
