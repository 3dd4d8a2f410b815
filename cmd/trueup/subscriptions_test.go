package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/subscribe/subscribetest"
	"github.com/trueup-io/trueup/subscribe/webhook"
)

// subscribed is a pipeline of nothing but its subscribers, and of who listens.
func subscribed(t *testing.T, more, listen string) *pipeline {
	t.Helper()
	m := subscribetest.Migration(t, more)
	p := &pipeline{cfg: pipelineConfig{migration: m, stages: stages{subscribe: true}, log: slog.New(slog.DiscardHandler)}, rules: subscribetest.Rules(t)}
	m.DataDir = t.TempDir()
	p.log = subscribetest.Log(t, m.DataDir+"/broker")
	t.Cleanup(func() { p.log.Close() })
	var err error
	if p.observer, err = observe(listen, &p.latest); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.observer.close() })
	return p
}

// What migration.yaml says of subscribers is what a run does: a webhook is posted
// to, /events serves, and the status and its problems speak of both.
func TestSubscribersOfARun(t *testing.T) {
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	t.Setenv("HOOK_SECRET", secret)
	key, err := webhook.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	type delivery struct {
		id  string
		err error
	}
	took := make(chan delivery, 10) // more than are sent
	fail := make(chan struct{}, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case <-fail:
			w.WriteHeader(http.StatusTeapot)
		default:
			took <- delivery{r.Header.Get(webhook.HeaderID), webhook.Verify(r.Header, body, time.Now(), key)}
		}
	}))
	defer receiver.Close()
	p := subscribed(t, `
subscribe:
  webhooks:
    - {name: pager, url: "`+receiver.URL+`", secret: env:HOOK_SECRET, allowNetworks: 127.0.0.0/8, kinds: missing, from: start}`, "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if p.subscriptions, err = p.newSubscriptions(ctx); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	p.subscriptions.events.Done = running
	p.observer.events = p.serveEvents()
	ended := make(chan error, 2)
	go func() { ended <- p.subscriptions.run(running) }()
	go func() { ended <- p.observer.run(running) }()

	resp, err := http.DefaultClient.Do(request(t, "http://"+p.observer.listener.Addr().String()+"/events?from=start&severity=critical"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	fail <- struct{}{}
	subscribetest.Publish(ctx, t, p.log, p.rules, subscribetest.Divergence("order", 0), subscribetest.Divergence("order", 1))
	select {
	case d := <-took:
		if d.id != "d-order-1/0" || d.err != nil {
			t.Errorf("the webhook got %+v", d)
		}
	case <-ctx.Done():
		t.Fatal("the webhook got nothing")
	}
	for lines := bufio.NewScanner(resp.Body); ; {
		if !lines.Scan() {
			t.Fatalf("/events ended: %v", lines.Err())
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if !strings.Contains(data, `"id":"d-order-1/0"`) {
				t.Errorf("/events says %s", data)
			}
			break
		}
	}
	s := &statusFile{}
	s.addSubscriptions(p.subscriptions, p.cfg.migration.DataDir)
	if s.Clients == nil || s.Clients.Connected != 1 || len(s.Webhooks) != 1 || s.Webhooks[0].Name != "pager" || s.Webhooks[0].Failed != 1 {
		t.Errorf("the status is %+v, %+v", s.Webhooks, s.Clients)
	}
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Beyond this machine events are served to who shows the token, and to nobody
// where there is none; a secret that is missing or none ends the start.
func TestEventsBeyondThisMachineNeedAToken(t *testing.T) {
	ctx := t.Context()
	ask := func(p *pipeline, token string) int {
		r := request(t, "http://trueup.example/events")
		r.Method = http.MethodHead
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		p.observer.events = p.serveEvents()
		p.observer.handler().ServeHTTP(w, r)
		return w.Code
	}
	p := subscribed(t, "", "0.0.0.0:0")
	var err error
	if p.subscriptions, err = p.newSubscriptions(ctx); err != nil || p.subscriptions != nil {
		t.Fatalf("without a token: %+v, %v", p.subscriptions, err)
	}
	if code := ask(p, ""); code != http.StatusForbidden {
		t.Errorf("without a token: %d", code)
	}
	t.Setenv("EVENTS_TOKEN", "s3cret")
	p = subscribed(t, "subscribe: {events: {token: env:EVENTS_TOKEN}}", "0.0.0.0:0")
	if p.subscriptions, err = p.newSubscriptions(ctx); err != nil {
		t.Fatal(err)
	}
	p.subscriptions.events.Done = ctx
	if code := ask(p, ""); code != http.StatusUnauthorized {
		t.Errorf("without showing the token: %d", code)
	}
	if code := ask(p, "s3cret"); code != http.StatusInternalServerError && code != http.StatusOK { // a recorder is no connection
		t.Errorf("with the token: %d", code)
	}
	for more, want := range map[string]string{
		"subscribe: {events: {token: env:NO_SUCH_TOKEN}}":                                               "subscribe.events.token: the environment variable NO_SUCH_TOKEN is not set",
		`subscribe: {webhooks: [{name: a, url: "https://example.com", secret: env:EVENTS_TOKEN}]}`:      "the signing secret of webhook a (env:EVENTS_TOKEN): want whsec_",
		`subscribe: {webhooks: [{name: a, url: "https://example.com", secret: "file:no.such.secret"}]}`: "subscribe.webhooks[0].secret: the file",
	} {
		p := subscribed(t, more, "0.0.0.0:0")
		if _, err := p.newSubscriptions(ctx); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", more, err)
		}
	}
	var errs schemas.ConfigErrors
	if _, err := schemas.ParseMigration([]byte("subscribe: {events: {token: s3cret}}"), "m.yaml"); !errors.As(err, &errs) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a token in the file: %v", err)
	}
}
