// Package provider is an OpenFeature provider for Go that evaluates rollouts in the
// process that asks, fed by the registry's stream.
//
// It promises the answers of package follow: what stood within the lease, or the flag's
// declared safe stage with the reason STALE. When the lease has run out it says
// PROVIDER_STALE, and PROVIDER_READY only after it has begun anew. A flag that the provider
// knows never falls to the caller's default. Evaluating takes no memory from the heap.
//
// It assumes that a caller does not change the metadata that it is given: OpenFeature's
// client hands out copies.
//
// A flag's value is the stage that the key is at, as text; the key is the context's key,
// a list of texts, or else its targetingKey.
package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/router"
	"github.com/trueup-io/trueup/schemas"
)

// StaleReason is the reason of an answer that is the safe stage.
const StaleReason openfeature.Reason = "STALE"

// maxEvents is how many events wait for OpenFeature: more than it leaves lying.
const maxEvents = 64

// Config says what a provider follows. Source is required.
type Config struct {
	follow.Config
	// Known are definitions that came with the program: of these flags the safe stage is
	// known before anything was read.
	Known []*schemas.Rollout
	// Router is who writes by these rollouts in this process, so that hand-overs wait for it (package router); nil: it
	// only evaluates, and Begin lets nothing through.
	Router *router.Config
}

// Provider is an openfeature.FeatureProvider. Its methods are for any number of goroutines.
type Provider struct {
	follower *follow.Follower
	lease    time.Duration
	known    map[string]*answers
	table    atomic.Pointer[table] // of the newest view that was asked about
	events   chan openfeature.Event
	router   *router.Router // nil: it only evaluates

	mu    sync.Mutex
	stop  context.CancelFunc // nil: it does not run
	ended chan struct{}
}

// table has the answers of one view.
type table struct {
	view *follow.View
	of   map[string]*answers
}

// answers are everything that a flag can say, made ready.
type answers struct {
	flag    *rollout.Flag
	ends    *schemas.Deprecation
	details [4][2]openfeature.StringResolutionDetail // by reason, and by the side that has authority
}

var (
	reasons = [4]rollout.Reason{rollout.ByStage, rollout.ByRamp, rollout.ByPin, rollout.Stale}
	words   = [4]openfeature.Reason{openfeature.StaticReason, openfeature.SplitReason, openfeature.TargetingMatchReason, StaleReason}
)

// New returns a provider that knows nothing but what Known has. OpenFeature starts it
// (Init), or Start does.
func New(cfg Config) *Provider {
	if cfg.Lease == 0 {
		cfg.Lease = follow.DefaultLease
	}
	p := &Provider{follower: follow.New(cfg.Config), lease: cfg.Lease, known: map[string]*answers{}, events: make(chan openfeature.Event, maxEvents)}
	for _, r := range cfg.Known {
		p.known[r.Name] = answersOf(&registry.Standing{Name: r.Name, Rollout: r, Flag: rollout.Ready(r)})
	}
	p.table.Store(&table{})
	if cfg.Router != nil {
		p.router = router.New(p.follower, *cfg.Router)
	}
	return p
}

// Begin lets a write to a key through, or says why not (router.Router). It is for who has Config.Router.
func (p *Provider) Begin(flag string, key []string) (*router.Write, error) {
	if p.router == nil {
		return nil, fmt.Errorf("%s: %w", flag, router.ErrNoFlag)
	}
	return p.router.Begin(flag, key)
}

// Deprecation is the window that a flag announces, as far as is known; nil: none. A service that still answers
// what ends says so with it (timeline.Middleware).
func (p *Provider) Deprecation(flag string) *schemas.Deprecation {
	a := p.answered(flag)
	if a == nil {
		a = p.known[flag]
	}
	if a == nil {
		return nil
	}
	return a.ends
}

// place is a side's in answers.
func place(side schemas.Side) int {
	if side == schemas.Target {
		return 1
	}
	return 0
}

func answersOf(s *registry.Standing) *answers {
	a := &answers{flag: s.Flag, ends: s.Rollout.Deprecation}
	for i, reason := range reasons {
		for _, side := range schemas.Sides {
			stage := s.Flag.Place().Stage
			if reason == rollout.Stale {
				stage = s.Flag.Safe()
			}
			d := rollout.Decision{Stage: stage, Axes: rollout.AxesOf(stage, side == schemas.Target), Reason: reason}
			point := d.Point().String()
			word := words[i]
			if s.Killed != nil && reason != rollout.Stale {
				word = openfeature.DisabledReason
			}
			a.details[i][place(side)] = openfeature.StringResolutionDetail{Value: point, ProviderResolutionDetail: openfeature.ProviderResolutionDetail{
				Reason: word, Variant: point, FlagMetadata: openfeature.FlagMetadata{"stage": stage.String(), "authority": d.Authority().String(),
					"reads": d.Axes.Reads.String(), "writes": string(d.Axes.Writes), "compare": string(d.Axes.Compare), "sync": string(d.Axes.Sync),
					"revision": int64(s.Revision), "epoch": int64(s.Epoch), "killed": s.Killed != nil, "stale": reason == rollout.Stale}}}
		}
	}
	return a
}

// answered returns what a flag can say; nil: there is none. The first who asks about a new
// view makes its answers ready.
func (p *Provider) answered(name string) *answers {
	view, t := p.follower.View(), p.table.Load()
	if t.view != view {
		t = &table{view, make(map[string]*answers, len(view.Flags))}
		for _, s := range view.Flags {
			if s.Evaluated() {
				t.of[s.Name] = answersOf(s)
			}
		}
		p.table.Store(t)
	}
	return t.of[name]
}

// StringEvaluation answers with the stage that the key is at.
func (p *Provider) StringEvaluation(_ context.Context, flag, fallback string, in openfeature.FlattenedContext) openfeature.StringResolutionDetail {
	fresh := p.follower.Fresh(time.Now()) // before looking at what stands: what is looked at is no older
	a := p.answered(flag)
	if a == nil {
		if _, ever := p.follower.Age(time.Now()); !ever {
			a = p.known[flag]
		}
	}
	if a == nil {
		return p.unanswered(flag, fallback)
	}
	var single [1]string
	key := single[:]
	switch given := in["key"].(type) {
	case nil:
		text, ok := in[openfeature.TargetingKey].(string)
		if !ok {
			return refused(fallback, openfeature.NewTargetingKeyMissingResolutionError("want a targeting key, or key where a key has several parts"))
		}
		single[0] = text
	case []string:
		key = given
	default:
		return refused(fallback, openfeature.NewInvalidContextResolutionError("key: want a []string"))
	}
	var d rollout.Decision
	if fresh { // called by name, so that the key stays on the stack
		d = rollout.Evaluate(a.flag, key)
	} else {
		d = rollout.EvaluateStale(a.flag, key)
	}
	for i, reason := range reasons {
		if d.Reason == reason {
			return a.details[i][place(d.Authority())]
		}
	}
	panic("rollout: a decision without reason")
}

func (p *Provider) unanswered(flag, fallback string) openfeature.StringResolutionDetail {
	if _, ever := p.follower.Age(time.Now()); !ever {
		return refused(fallback, openfeature.NewProviderNotReadyResolutionError("nothing was read of the registry yet"))
	}
	return refused(fallback, openfeature.NewFlagNotFoundResolutionError(fmt.Sprintf("no flag %s stands", flag)))
}

func refused[T any](fallback T, why openfeature.ResolutionError) openfeature.GenericResolutionDetail[T] {
	return openfeature.GenericResolutionDetail[T]{Value: fallback, ProviderResolutionDetail: openfeature.ProviderResolutionDetail{ResolutionError: why, Reason: openfeature.ErrorReason}}
}

var noText = openfeature.NewTypeMismatchResolutionError("a rollout's value is a text: its stage")

// BooleanEvaluation refuses: a rollout's value is a text. So do the other types.
func (p *Provider) BooleanEvaluation(_ context.Context, _ string, fallback bool, _ openfeature.FlattenedContext) openfeature.BoolResolutionDetail {
	return refused(fallback, noText)
}

// FloatEvaluation refuses.
func (p *Provider) FloatEvaluation(_ context.Context, _ string, fallback float64, _ openfeature.FlattenedContext) openfeature.FloatResolutionDetail {
	return refused(fallback, noText)
}

// IntEvaluation refuses.
func (p *Provider) IntEvaluation(_ context.Context, _ string, fallback int64, _ openfeature.FlattenedContext) openfeature.IntResolutionDetail {
	return refused(fallback, noText)
}

// ObjectEvaluation refuses.
func (p *Provider) ObjectEvaluation(_ context.Context, _ string, fallback any, _ openfeature.FlattenedContext) openfeature.InterfaceResolutionDetail {
	return refused(fallback, noText)
}

// Metadata names the provider.
func (p *Provider) Metadata() openfeature.Metadata { return openfeature.Metadata{Name: "trueup"} }

// Hooks are none.
func (p *Provider) Hooks() []openfeature.Hook { return nil }

// EventChannel has what the provider says of itself.
func (p *Provider) EventChannel() <-chan openfeature.Event { return p.events }

// Fresh says whether the lease holds, and Age how long ago everything was known.
func (p *Provider) Fresh() bool { return p.follower.Fresh(time.Now()) }

// Age is how long ago everything was known; false: it never was.
func (p *Provider) Age() (time.Duration, bool) { return p.follower.Age(time.Now()) }

// Init is InitWithContext for at most a lease.
func (p *Provider) Init(in openfeature.EvaluationContext) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.lease)
	defer cancel()
	return p.InitWithContext(ctx, in)
}

// InitWithContext starts the provider, and returns when everything is known. If that does
// not come before ctx ends it is an error; the provider goes on trying.
func (p *Provider) InitWithContext(ctx context.Context, _ openfeature.EvaluationContext) error {
	p.mu.Lock()
	if p.stop != nil {
		p.mu.Unlock()
		return errors.New("rollouts: the provider runs already")
	}
	run, stop := context.WithCancel(context.Background())
	p.stop, p.ended = stop, make(chan struct{})
	p.mu.Unlock()
	ready := make(chan struct{})
	go func() {
		defer close(p.ended)
		var group sync.WaitGroup
		group.Go(func() { _ = p.follower.Run(run) }) // it has no error but ctx's end
		group.Go(func() { p.watch(run, ready) })
		if p.router != nil {
			group.Go(func() { _ = p.router.Run(run) }) // nor has it
		}
		group.Wait()
	}()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("rollouts: the registry was not read: %w", ctx.Err())
	}
}

// watch says how it is. Ready is closed when the lease begins for the first time.
func (p *Provider) watch(ctx context.Context, ready chan struct{}) {
	ticker := time.NewTicker(p.lease / 20)
	defer ticker.Stop()
	fresh, began, view := false, false, p.follower.View()
	for {
		changed := p.follower.Changed()
		if now := p.Fresh(); now != fresh {
			fresh = now
			switch {
			case !now:
				p.say(ctx, openfeature.ProviderStale, "the lease has run out: flags are at their safe stage", nil)
			case began:
				p.say(ctx, openfeature.ProviderReady, "the lease has begun anew", nil)
			default:
				began = true
				close(ready)
				p.say(ctx, openfeature.ProviderReady, "everything is known", nil)
			}
		}
		if now := p.follower.View(); now != view {
			if names := changes(view, now); len(names) > 0 && began {
				p.say(ctx, openfeature.ProviderConfigChange, "flags have changed", names)
			}
			view = now
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}

func changes(was, is *follow.View) (names []string) {
	revisions := map[string]uint64{}
	for _, s := range was.Flags {
		revisions[s.Name] = s.Revision
	}
	for _, s := range is.Flags {
		if revisions[s.Name] != s.Revision {
			names = append(names, s.Name)
		}
	}
	return names
}

func (p *Provider) say(ctx context.Context, what openfeature.EventType, message string, flags []string) {
	select {
	case p.events <- openfeature.Event{ProviderName: "trueup", EventType: what, ProviderEventDetails: openfeature.ProviderEventDetails{Message: message, FlagChanges: flags}}:
	case <-ctx.Done():
	}
}

// Shutdown stops the provider, and returns when all that it started has ended.
func (p *Provider) Shutdown() {
	p.mu.Lock()
	stop, ended := p.stop, p.ended
	p.mu.Unlock()
	if stop != nil {
		stop()
		<-ended
	}
}

// ShutdownWithContext is Shutdown.
func (p *Provider) ShutdownWithContext(context.Context) error {
	p.Shutdown()
	return nil
}
