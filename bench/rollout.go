package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldbuilders"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/testhelpers/ldtestdata"
	"github.com/open-feature/go-sdk/openfeature"

	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/follow/followtest"
	"github.com/trueup-io/trueup/rollout/provider"
	"github.com/trueup-io/trueup/rollout/registry"
)

const (
	evaluations   = 2_000_000 // of a round
	evaluatedKeys = 1 << 10
)

// rolloutEvaluate measures evaluations in process of a flag at 12.5%, beside LaunchDarkly's
// SDK for Go that evaluates an equal one from its test data, without events.
func rolloutEvaluate(_ context.Context, _ *session, name string) (lines []line, err error) {
	ours, err := rolloutProvider()
	if err != nil {
		return nil, err
	}
	defer ours.Shutdown()
	data := ldtestdata.DataSource()
	data.UsePreconfiguredFlag(ldbuilders.NewFlagBuilder("orders").On(true).Salt("orders").
		Variations(ldvalue.String("shadow_read"), ldvalue.String("target_primary")).
		Fallthrough(ldbuilders.Rollout(ldbuilders.Bucket(0, 87_500), ldbuilders.Bucket(1, 12_500))).Build())
	theirs, err := ld.MakeCustomClient("none", ld.Config{DataSource: data, Events: ldcomponents.NoEvents(), Logging: ldcomponents.NoLogging()}, 10*time.Second)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, theirs.Close()) }()
	var keys [evaluatedKeys]openfeature.FlattenedContext
	var contexts [evaluatedKeys]ldcontext.Context
	for i := range keys {
		keys[i] = openfeature.FlattenedContext{openfeature.TargetingKey: strconv.Itoa(i)}
		contexts[i] = ldcontext.New(strconv.Itoa(i))
	}
	c := comparison{unit: "evaluations/s", limit: "launchdarkly go-server-sdk",
		subject: work(func() (int, error) {
			on := 0
			for i := range evaluations {
				d := ours.StringEvaluation(context.Background(), "orders", "default", keys[i%evaluatedKeys])
				if d.Value == "target_primary" {
					on++
				}
			}
			return evaluations, plausible(on)
		}).timed,
		against: work(func() (int, error) {
			on := 0
			for i := range evaluations {
				value, err := theirs.StringVariation("orders", contexts[i%evaluatedKeys], "default")
				if err != nil {
					return i, err
				}
				if value == "target_primary" {
					on++
				}
			}
			return evaluations, plausible(on)
		}).timed}
	l, err := c.measure(name)
	return []line{l}, err
}

// plausible refuses a share that is not that of the flag.
func plausible(on int) error {
	if share := float64(on) / evaluations; share < 0.05 || share > 0.2 {
		return fmt.Errorf("a share of %v was on the target, of a flag at 0.125", share)
	}
	return nil
}

func rolloutProvider() (*provider.Provider, error) {
	log := followtest.NewLog()
	for i, stage := range []string{"off", "shadow", "dual_write", "shadow_read", "ramp"} {
		more := ""
		if stage == "ramp" {
			more = ", ramp: 12.5%"
		}
		if err := log.Write(registry.Change{Flag: "orders", Op: registry.Define, Base: uint64(i), WithoutEvidence: true, Definition: fmt.Sprintf(
			`{apiVersion: trueup/v1, kind: Rollout, metadata: {name: orders, owner: bench}, description: Orders move., controls: routing,
intent: permanent, stage: "%s", safeStage: shadow_read%s}`, stage, more)}); err != nil {
			return nil, err
		}
	}
	p := provider.New(provider.Config{Config: follow.Config{Source: log, Lease: time.Hour}})
	return p, p.Init(openfeature.EvaluationContext{})
}
