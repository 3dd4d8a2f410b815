package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/trueup-io/trueup/internal/outbound"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/subscribe"
	"github.com/trueup-io/trueup/subscribe/sse"
	"github.com/trueup-io/trueup/subscribe/webhook"
)

// subscriptions tell others of events: those who listen over HTTP, and webhooks. None of them holds up the pipeline.
type subscriptions struct {
	feed   *subscribe.Feed
	hooks  []*webhook.Hook
	events *sse.Handler // nil: nobody may listen

	mu      sync.Mutex
	stopped map[string]string // why a hook has stopped, by name; guarded by mu
}

// newSubscriptions returns nil where there is nobody to tell.
func (p *pipeline) newSubscriptions(ctx context.Context) (*subscriptions, error) {
	cfg := p.cfg.migration.Subscribe
	served := p.observer != nil && (p.observer.loopback() || cfg.Events.Token != nil)
	if !served && len(cfg.Webhooks) == 0 {
		return nil, nil
	}
	feed, err := subscribe.NewFeed(ctx, p.log, p.rules.Migration)
	if err != nil {
		return nil, err
	}
	s := &subscriptions{feed: feed, stopped: map[string]string{}}
	for _, c := range cfg.Webhooks {
		h, err := p.newWebhook(ctx, feed, c)
		if err != nil {
			return nil, err
		}
		s.hooks = append(s.hooks, h)
	}
	if served {
		s.events = &sse.Handler{Feed: feed, Rules: p.rules, Clients: cfg.Events.Clients, Logger: p.cfg.log}
		if cfg.Events.Token != nil {
			if s.events.Token, err = cfg.Events.Token.Resolve(); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func (p *pipeline) newWebhook(ctx context.Context, feed *subscribe.Feed, c *schemas.WebhookConfig) (*webhook.Hook, error) {
	cfg, err := webhookConfig(p.cfg.migration, c, p.cfg.log)
	if err != nil {
		return nil, err
	}
	return webhook.New(ctx, feed, cfg)
}

func webhookConfig(m *schemas.Migration, c *schemas.WebhookConfig, l *slog.Logger) (webhook.Config, error) {
	cfg := webhook.Config{Name: c.Name, URL: c.URL, Filter: c.Filter, FromStart: c.FromStart, Timeout: c.Timeout, GiveUp: c.GiveUp,
		Guard: outbound.Guard{Allow: c.Allow}, Dir: m.DataDir, Logger: l}
	for _, t := range c.Topics {
		cfg.Topics = append(cfg.Topics, subscribe.Topic(t))
	}
	for _, reference := range c.Secrets {
		text, err := reference.Resolve()
		if err != nil {
			return cfg, err
		}
		secret, err := webhook.ParseSecret(text)
		if err != nil {
			return cfg, fmt.Errorf("the signing secret of webhook %s (%s): %w", c.Name, reference.Reference, err)
		}
		cfg.Secrets = append(cfg.Secrets, secret)
	}
	return cfg, nil
}

// run runs all of them until ctx is done. A hook that cannot go on stops alone.
func (s *subscriptions) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, h := range s.hooks {
		wg.Go(func() {
			if err := h.Run(ctx); err != nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.stopped[h.Status().Name] = err.Error()
			}
		})
	}
	if err := s.feed.Run(ctx); ctx.Err() == nil {
		return fmt.Errorf("read the events: %w", err)
	}
	return nil
}

// serveEvents answers /events where the pipeline has nobody for it.
func (p *pipeline) serveEvents() http.Handler {
	if p.subscriptions != nil && p.subscriptions.events != nil {
		return p.subscriptions.events
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "events have rows in them: to serve them beyond this machine, set subscribe.events.token in the migration.yaml", http.StatusForbidden)
	})
}

// webhookStatus is how a webhook stands.
type webhookStatus struct {
	Name    string `json:"name"`
	Taken   int64  `json:"taken"`   // events, since the start
	Failed  int64  `json:"failed"`  // attempts
	Dead    int64  `json:"dead"`    // events that were given up
	Waiting int    `json:"waiting"` // events that are tried again
	Problem string `json:"problem,omitempty"`
}

type clientsStatus struct {
	Connected int64 `json:"connected"`
	Dropped   int64 `json:"dropped"`
}

func (s *statusFile) addSubscriptions(sub *subscriptions, dir string) {
	if sub.events != nil {
		s.Clients = &clientsStatus{sub.events.Connected(), sub.events.Dropped()}
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for _, h := range sub.hooks {
		st := h.Status()
		one := webhookStatus{st.Name, st.Taken, st.Failed, st.Dead, st.Waiting, st.Problem}
		if why := sub.stopped[st.Name]; why != "" {
			one.Problem = why
			s.Problems = append(s.Problems, "it has stopped: "+why)
		} else if !st.GoneFrom.IsZero() {
			s.Problems = append(s.Problems, fmt.Sprintf("webhook %s: %s: it gets no more events until Trueup is started again", st.Name, st.Problem))
		} else if st.Problem != "" {
			s.Problems = append(s.Problems, fmt.Sprintf("webhook %s does not take events: %s", st.Name, st.Problem))
		}
		if webhook.HasDeadLetters(dir, st.Name) {
			s.Problems = append(s.Problems, fmt.Sprintf("webhook %s: events were given up: %s says why; trueup webhooks redeliver %s posts them once more",
				st.Name, webhook.DeadLetters(dir, st.Name), st.Name))
		}
		s.Webhooks = append(s.Webhooks, one)
	}
}
