package provider_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/follow/followtest"
	"github.com/trueup-io/trueup/rollout/provider"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

func definition(name, stage, more string) string {
	safe := "dual_write"
	if stage == "target_primary" || stage == "complete" {
		safe = "target_primary"
	}
	return fmt.Sprintf(`{apiVersion: trueup/v1, kind: Rollout, metadata: {name: %s, owner: team}, description: Orders move., controls: routing,
intent: permanent, stage: "%s", safeStage: "%s"%s}`, name, stage, safe, more)
}

func defined(name string, base uint64, stage, more string) registry.Change {
	return registry.Change{Flag: name, Op: registry.Define, Base: base, WithoutEvidence: true, Definition: definition(name, stage, more)}
}

func write(t *testing.T, log *followtest.Log, changes ...registry.Change) {
	t.Helper()
	if err := log.Write(changes...); err != nil {
		t.Fatal(err)
	}
}

var key = openfeature.FlattenedContext{openfeature.TargetingKey: "42"}

// The same in the process as in the core: the golden vectors.
func TestI31_TheProviderEvaluatesTheVectors(t *testing.T) {
	src, err := os.ReadFile("../testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Salt, Stage string
		Key, Axes   []string
		Share       int
	}
	if err := json.Unmarshal(src, &vectors); err != nil {
		t.Fatal(err)
	}
	log := followtest.NewLog()
	stages := []string{"off", "shadow", "dual_write", "shadow_read", "ramp", "target_primary", "complete"}
	names := map[string]string{}
	for _, v := range vectors {
		of := fmt.Sprintf("%q %s %d", v.Salt, v.Stage, v.Share)
		if v.Salt == "" || names[of] != "" {
			continue
		}
		names[of] = fmt.Sprintf("f%d", len(names))
		salt, err := json.Marshal(v.Salt)
		if err != nil {
			t.Fatal(err)
		}
		for i, stage := range stages {
			more := ", salt: " + string(salt)
			if stage == "ramp" {
				share := 100_000
				if v.Stage == "ramp" {
					share = v.Share
				}
				more += fmt.Sprintf(", ramp: %d.%03d%%", share/1000, share%1000)
			}
			write(t, log, defined(names[of], uint64(i), stage, more))
			if stage == v.Stage {
				break
			}
		}
	}
	p := provider.New(provider.Config{Config: follow.Config{Source: log, Lease: 5 * time.Minute}})
	if err := p.Init(openfeature.EvaluationContext{}); err != nil {
		t.Fatal(err)
	}
	defer p.Shutdown()
	asked := 0
	for _, v := range vectors {
		name := names[fmt.Sprintf("%q %s %d", v.Salt, v.Stage, v.Share)]
		if name == "" {
			continue // no file has an empty salt
		}
		d := p.StringEvaluation(t.Context(), name, "default", openfeature.FlattenedContext{"key": v.Key})
		for i, axis := range []string{"writes", "reads", "compare", "sync"} {
			if d.FlagMetadata[axis] != v.Axes[i] {
				t.Errorf("%+v: have %+v", v, d)
			}
		}
		asked++
	}
	if asked < 100 {
		t.Errorf("only %d vectors were asked", asked)
	}
}

// "A replica cut off from the stream: says stale, falls to the declared stage, never to a
// default, never reports healthy": through OpenFeature's own client.
func TestI35_CutOffTheProviderIsStale(t *testing.T) {
	log := followtest.NewLog()
	write(t, log, defined("a", 0, "off", ""))
	p := provider.New(provider.Config{Config: follow.Config{Source: log, Lease: 2 * time.Second}})
	ready, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // longer than Init's own lease: a busy machine is none that is cut off
	defer cancel()
	if err := openfeature.SetNamedProviderWithContextAndWait(ready, t.Name(), p); err != nil {
		t.Fatal(err)
	}
	defer openfeature.Shutdown()
	client := openfeature.NewClient(t.Name())
	ask := func() openfeature.StringEvaluationDetails {
		d, err := client.StringValueDetails(t.Context(), "a", "default", openfeature.NewEvaluationContext("42", nil))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	followtest.Until(t, "fresh", func() bool { d := ask(); return d.Value == "off" && d.Reason == openfeature.StaticReason })
	log.Cut()
	followtest.Until(t, "stale", func() bool { return !p.Fresh() })
	if d := ask(); d.Value != "dual_write" || d.Reason != provider.StaleReason || d.FlagMetadata["stale"] != true {
		t.Errorf("have %+v", d)
	}
	followtest.Until(t, "OpenFeature says so", func() bool { return client.State() == openfeature.StaleState })
	if age, ever := p.Age(); !ever || age < 2*time.Second {
		t.Errorf("it is stale at the age of %s", age)
	}
	log.Heal()
	write(t, log, registry.Change{Flag: "a", Op: registry.Kill})
	followtest.Until(t, "it is back, and killed", func() bool {
		d := ask()
		return d.Value == "off" && d.Reason == openfeature.DisabledReason && client.State() == openfeature.ReadyState
	})
}

// Before anything was read, what came with the program has its safe stage, and what did not
// has no answer; neither is healthy.
func TestI35_NeverConnected(t *testing.T) {
	r, err := schemas.ParseRollout([]byte(definition("a", "off", "")), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	log := followtest.NewLog()
	log.Cut()
	p := provider.New(provider.Config{Config: follow.Config{Source: log, Lease: 100 * time.Millisecond}, Known: []*schemas.Rollout{r}})
	if err := p.Init(openfeature.EvaluationContext{}); err == nil {
		t.Error("it says that it is ready")
	}
	defer p.Shutdown()
	if d := p.StringEvaluation(t.Context(), "a", "default", key); d.Value != "dual_write" || d.Reason != provider.StaleReason || p.Fresh() {
		t.Errorf("have %+v", d)
	}
	if d := p.StringEvaluation(t.Context(), "b", "default", key); d.Value != "default" || d.Reason != openfeature.ErrorReason || d.Error() == nil {
		t.Errorf("have %+v", d)
	}
}

func started(t testing.TB) *provider.Provider {
	t.Helper()
	log := followtest.NewLog()
	for i, stage := range []string{"off", "shadow", "dual_write", "shadow_read", "ramp"} {
		more := ""
		if stage == "ramp" {
			more = ", ramp: 12.5%"
		}
		if err := log.Write(defined("a", uint64(i), stage, more)); err != nil {
			t.Fatal(err)
		}
	}
	p := provider.New(provider.Config{Config: follow.Config{Source: log, Lease: time.Minute}})
	if err := p.Init(openfeature.EvaluationContext{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Shutdown)
	return p
}

func TestEvaluationAllocatesNothing(t *testing.T) {
	p := started(t)
	several := openfeature.FlattenedContext{"key": []string{"tenant-a", "17"}}
	for _, in := range []openfeature.FlattenedContext{key, several} {
		if n := testing.AllocsPerRun(100, func() { p.StringEvaluation(t.Context(), "a", "default", in) }); n >= 1 {
			t.Errorf("%v: %v allocations", in, n)
		}
	}
	if d := p.StringEvaluation(t.Context(), "a", "default", openfeature.FlattenedContext{}); d.Error() == nil || d.Value != "default" {
		t.Errorf("without a key: %+v", d)
	}
	if d := p.BooleanEvaluation(t.Context(), "a", true, key); d.Error() == nil || !d.Value {
		t.Errorf("a boolean: %+v", d)
	}
}

// What a flag announces is known in the process, and what was built in before anything was read.
func TestProviderKnowsWhatEnds(t *testing.T) {
	const window = ", deprecation: {what: x, deprecated: 2026-12-01, sunset: %s, replacement: y}"
	r, err := schemas.ParseRollout([]byte(definition("a", "off", fmt.Sprintf(window, "2027-01-01"))), "a")
	if err != nil {
		t.Fatal(err)
	}
	log := followtest.NewLog()
	p := provider.New(provider.Config{Config: follow.Config{Source: log, Lease: time.Minute}, Known: []*schemas.Rollout{r}})
	if d := p.Deprecation("a"); d == nil || d.Sunset.Month() != time.January {
		t.Errorf("have %+v", d)
	}
	write(t, log, defined("a", 0, "off", fmt.Sprintf(window, "2027-06-01")), defined("b", 0, "off", ""))
	if err := p.Init(openfeature.EvaluationContext{}); err != nil {
		t.Fatal(err)
	}
	defer p.Shutdown()
	if d := p.Deprecation("a"); d == nil || d.Sunset.Month() != time.June {
		t.Errorf("have %+v", d)
	}
	if d := p.Deprecation("b"); d != nil {
		t.Errorf("have %+v", d)
	}
	if d := p.Deprecation("c"); d != nil {
		t.Errorf("have %+v", d)
	}
}
