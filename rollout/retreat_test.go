package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

// burning is the file's first trigger: divergence > 0.001 over 1h and 5m.
func burning(t rapid.TB) *schemas.Trigger {
	t.Helper()
	return &gated(t).Rollback.Triggers[schemas.StageRamp][0]
}

func burned(long, short Sample) Measured {
	for _, s := range []*Sample{&long, &short} {
		s.From, s.To = now.Add(-time.Minute), now.Add(-time.Second) // no window is filled
	}
	return Measured{At: now, Frontier: now.Add(-time.Second), Samples: map[string]Sample{SampleOver("divergence", time.Hour): long,
		SampleOver("divergence", 5*time.Minute): short}}
}

// A trigger pulls when it holds over each window, and what one window refutes is not
// unknown.
func TestPull(t *testing.T) {
	bad, good, few, part := Sample{Count: 100, Of: 1000}, Sample{Count: 0, Of: 100_000}, Sample{Count: 1, Of: 99}, Sample{Count: 100, Of: 1000, Problem: "x"}
	unsure := Sample{Count: 1, Of: 1000}
	for _, c := range []struct {
		long, short Sample
		want        Verdict
	}{
		{bad, bad, Pass}, {bad, good, Fail}, {good, bad, Fail}, {good, good, Fail}, {few, bad, Unknown}, {bad, part, Unknown}, {few, good, Fail}, {unsure, bad, Hold},
	} {
		if v, results := Pull(burning(t), burned(c.long, c.short)); v != c.want || len(results) != 2 {
			t.Errorf("%+v, %+v: want %s, have %s", c.long, c.short, c.want, v)
		}
	}
	stale := burned(bad, bad)
	stale.Frontier = now.Add(-2 * time.Minute)
	if v, _ := Pull(burning(t), stale); v != Unknown {
		t.Errorf("of a frontier that is old: %s", v)
	}
	if v, _ := Pull(&schemas.Trigger{}, burned(bad, bad)); v == Pass {
		t.Error("a trigger without a condition pulls")
	}
	_, results := Pull(burning(t), burned(bad, bad))
	if why := Explain(burning(t), results); !strings.HasPrefix(why, "burning (divergence > 0.001): over 1h0m0s divergence is 0.0") {
		t.Errorf("it says %q", why)
	}
}

// "Restores the prior stage, scoped where possible."
func TestBackward(t *testing.T) {
	flag := func(stage schemas.RolloutStage, ramp schemas.RampShare) *Flag {
		return Ready(&schemas.Rollout{Name: "a", Salt: "a"}).At(Place{stage, ramp})
	}
	added, before, after := keyIn(5_000, 12_000), keyIn(0, 5_000), keyIn(12_000, schemas.Buckets)
	five := Place{schemas.StageRamp, 5_000}
	dual := schemas.StageDualWrite
	for _, c := range []struct {
		name  string
		at    *Flag
		to    *schemas.RolloutStage
		prior Place
		keys  [][]string
		whole bool
		want  string
	}{
		{"what was added alone", flag(schemas.StageRamp, 12_000), nil, five, [][]string{added}, true, "ramp 5%"},
		{"what was there before, too", flag(schemas.StageRamp, 12_000), nil, five, [][]string{added, before}, true, "shadow_read"},
		{"what is not at the target", flag(schemas.StageRamp, 12_000), nil, five, [][]string{after}, true, "shadow_read"},
		{"not all are known", flag(schemas.StageRamp, 12_000), nil, five, [][]string{added}, false, "shadow_read"},
		{"none is known", flag(schemas.StageRamp, 12_000), nil, five, nil, true, "shadow_read"},
		{"no share before", flag(schemas.StageRamp, 12_000), nil, Place{Stage: schemas.StageShadowRead}, [][]string{added}, true, "shadow_read"},
		{"as the file says", flag(schemas.StageRamp, 12_000), &dual, five, [][]string{added}, true, "dual_write"},
		{"the whole ramp is at the target", flag(schemas.StageTargetPrimary, 0), nil, Place{schemas.StageRamp, schemas.WholeRamp}, nil, true, "shadow_read"},
		{"a stage", flag(schemas.StageShadowRead, 0), nil, Place{}, nil, true, "dual_write"},
		{"the first", flag(schemas.StageShadow, 0), nil, Place{}, nil, true, "off"},
		{"no way back", flag(schemas.StageComplete, 0), &dual, Place{}, nil, true, ""},
		{"nothing behind", flag(schemas.StageOff, 0), nil, Place{}, nil, true, ""},
		{"the file says forward", flag(schemas.StageShadow, 0), &dual, Place{}, nil, true, ""},
	} {
		to, ok := Backward(c.at, &schemas.Trigger{To: c.to}, c.prior, c.keys, c.whole)
		if have := to.String(); ok != (c.want != "") || ok && have != c.want {
			t.Errorf("%s: want %q, have %s, %v", c.name, c.want, have, ok)
		}
		if !ok {
			continue
		}
		if step, err := Step(c.at, c.at.At(to)); err != nil || step.Forward {
			t.Errorf("%s: %+v, %v", c.name, step, err)
		}
	}
}

// keyIn is a key whose bucket lies in a range.
func keyIn(from, to int) []string {
	for i := 0; ; i++ {
		if key := []string{fmt.Sprint(i)}; schemas.BucketOf("a", key) >= from && schemas.BucketOf("a", key) < to {
			return key
		}
	}
}

func TestPlacesAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Place{Stage: rapid.SampledFrom(schemas.RolloutStages).Draw(t, "stage")}
		if p.Stage == schemas.StageRamp {
			p.Ramp = schemas.RampShare(rapid.IntRange(0, 100_000).Draw(t, "share"))
		}
		if have, err := ParsePlace(p.String()); err != nil || have != p {
			t.Fatalf("%s: %s, %v", p, have, err)
		}
	})
	for _, bad := range []string{"", "ramp", "off 5%", "ramp 5", "ramp 101%", "there"} {
		if _, err := ParsePlace(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
