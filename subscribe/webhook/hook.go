package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/trueup-io/trueup/internal/outbound"
	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/subscribe"
)

const (
	// maxInFlight bounds the attempts of a hook at once.
	maxInFlight = 8
	// refusals is how often an event is posted that the receiver says is wrong: once may be a receiver that is being
	// deployed.
	refusals = 5

	firstWait = time.Second
	maxWait   = 5 * time.Minute
	// saveEvery bounds how much is posted again after a kill.
	saveEvery = 200 * time.Millisecond
)

// Config is one receiver. Name, URL and Secrets are required.
type Config struct {
	Name    string // names its files: letters, digits and hyphens
	URL     string
	Secrets []Secret // each signs; the newest first
	Topics  []subscribe.Topic
	Filter  subscribe.Filter
	// FromStart says that the first start begins with the oldest event, not with the next.
	FromStart bool
	Timeout   time.Duration // of an attempt
	GiveUp    time.Duration // after which an event becomes a dead letter
	Guard     outbound.Guard
	Dir       string // of its files
	Logger    *slog.Logger
	// Wait is how long to wait after so many failed attempts; nil: from a second to five minutes, by chance.
	Wait func(failed int) time.Duration
}

func (c *Config) validate() error {
	switch {
	case c.Name == "" || c.URL == "" || c.Dir == "":
		return errors.New("name, URL or directory is missing")
	case len(c.Secrets) == 0:
		return errors.New("there is no secret to sign with")
	case c.Timeout <= 0 || c.GiveUp <= 0:
		return errors.New("timeout and time to give up have to be more than nothing")
	case len(c.Topics) == 0:
		return errors.New("no topics")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Wait == nil {
		c.Wait = func(failed int) time.Duration {
			d := min(maxWait, firstWait<<min(failed-1, 20))
			return d/2 + rand.N(d/2) // receivers that come back are not hit by all at once
		}
	}
	return nil
}

// Status is how a hook stands.
type Status struct {
	Name     string
	Taken    int64  // events that the receiver took, since the start
	Failed   int64  // attempts that it did not
	Dead     int64  // events that became dead letters, since the start
	Waiting  int    // events that are being tried again
	Problem  string // what the latest attempt met; empty: it was taken
	GoneFrom time.Time
}

// Hook posts events to one receiver.
type Hook struct {
	cfg    Config
	feed   *subscribe.Feed
	client *http.Client
	slots  chan struct{} // one for each attempt in flight

	mu     sync.Mutex
	cursor *subscribe.Cursor // behind what is done; guarded by mu
	status Status            // guarded by mu
	dirty  chan struct{}     // the cursor has moved since it was saved; holds one
	gone   context.CancelFunc
}

// New takes up the hook where its file says that it was; the first time at the
// oldest or the next event, which it remembers at once.
func New(ctx context.Context, feed *subscribe.Feed, cfg Config) (*Hook, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("webhook %q: %w", cfg.Name, err)
	}
	h := &Hook{cfg: cfg, feed: feed, client: newClient(cfg.Guard), slots: make(chan struct{}, maxInFlight), dirty: make(chan struct{}, 1),
		status: Status{Name: cfg.Name}}
	from := subscribe.Now
	if cfg.FromStart {
		from = subscribe.Start
	}
	var err error
	if h.cursor, err = feed.Cursor(ctx, from, cfg.Topics); err != nil {
		return nil, fmt.Errorf("webhook %q: %w", cfg.Name, err)
	}
	was, err := loadPosition(h.file())
	if err != nil {
		return nil, fmt.Errorf("webhook %q: %w", cfg.Name, err)
	}
	if was != "" {
		if err := h.cursor.Set(was); err != nil {
			return nil, fmt.Errorf("webhook %q: %s: %w; remove the file to begin anew", cfg.Name, h.file(), err)
		}
	}
	return h, h.save()
}

func (h *Hook) file() string { return filepath.Join(h.cfg.Dir, "webhook-"+h.cfg.Name+".json") }

// DeadLetters is the file of events that were given up: a JSON object a line.
func DeadLetters(dir, name string) string { return filepath.Join(dir, "webhook-"+name+".dead.jsonl") }

// Status may be called at any time.
func (h *Hook) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

// Run posts until ctx ends. Trouble with the receiver is no error; one with this
// machine's disk, or with the log, is.
func (h *Hook) Run(ctx context.Context) error {
	defer h.client.CloseIdleConnections()
	lanes, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	h.gone = func() { stop(errGone) }
	var wg sync.WaitGroup
	for _, t := range h.cursor.Topics() {
		for p := range h.cursor.Partitions(t) {
			wg.Go(func() {
				if err := h.lane(lanes, t, int32(p)); err != nil && lanes.Err() == nil {
					stop(err)
				}
			})
		}
	}
	wg.Go(func() {
		if err := h.saver(lanes); err != nil && lanes.Err() == nil {
			stop(err)
		}
	})
	wg.Wait()
	err := context.Cause(lanes)
	if errors.Is(err, errGone) && ctx.Err() == nil {
		err = nil
		<-ctx.Done() // it rests until somebody has looked at it
	}
	if ctx.Err() != nil {
		err = nil
	}
	if err = errors.Join(err, h.save()); err != nil {
		return fmt.Errorf("webhook %q: %w", h.cfg.Name, err)
	}
	return nil
}

var errGone = errors.New("the receiver wants no more events")

// lane posts the events of a partition, one after the other.
func (h *Hook) lane(ctx context.Context, t subscribe.Topic, partition int32) error {
	mine := h.snapshot()
	for failed := 0; ; {
		more, changed := h.feed.News(mine, t, partition)
		if !more {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed:
			}
			continue
		}
		var stop error // of ours; others are the log's
		err := h.feed.Read(ctx, mine, t, partition, func(e *subscribe.Event, bad *subscribe.BadRecord) error {
			failed = 0
			switch {
			case bad != nil:
				h.cfg.Logger.Error("a record is passed over", "stage", "subscribe", "webhook", h.cfg.Name, "err", bad)
			case h.cfg.Filter.Takes(&e.CloudEvent):
				if stop = h.deliver(ctx, e); stop != nil {
					return stop
				}
				h.move(t, partition, e.Offset+1)
			}
			return nil
		})
		var gone *stream.OffsetError
		switch {
		case stop != nil:
			return stop
		case errors.As(err, &gone) || ctx.Err() != nil:
			return err
		case err != nil: // brokers that are away come back
			failed++
			h.cfg.Logger.Warn("the log cannot be read", "stage", "subscribe", "webhook", h.cfg.Name, "err", err)
			if err := pause(ctx, h.cfg.Wait(failed)); err != nil {
				return err
			}
			continue
		}
		h.move(t, partition, mine.At(t, partition))
	}
}

func pause(ctx context.Context, d time.Duration) error {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hook) snapshot() *subscribe.Cursor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cursor.Clone()
}

func (h *Hook) move(t subscribe.Topic, partition int32, next int64) {
	h.mu.Lock()
	h.cursor.Move(t, partition, next)
	h.mu.Unlock()
	select {
	case h.dirty <- struct{}{}:
	default: // it is known
	}
}

// deliver returns nil once an event was taken, or has become a dead letter.
func (h *Hook) deliver(ctx context.Context, e *subscribe.Event) error {
	began, refused := time.Now(), 0
	for failed := 0; ; {
		select {
		case h.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		a := h.post(ctx, e, time.Now())
		<-h.slots
		if ctx.Err() != nil && !a.taken {
			return ctx.Err()
		}
		h.note(a, failed)
		if a.taken {
			return nil
		}
		failed++
		if a.refused {
			refused++
		}
		if a.gone {
			h.cfg.Logger.Error("a receiver is gone: it gets no more events until the next start", "stage", "subscribe", "webhook", h.cfg.Name, "problem", a.problem)
			h.gone()
			return errGone
		}
		if refused >= refusals || time.Since(began) >= h.cfg.GiveUp {
			if err := h.bury(e, failed, a.problem); err != nil {
				return err
			}
			return nil
		}
		if err := pause(ctx, max(h.cfg.Wait(failed), a.wait)); err != nil {
			return err
		}
	}
}

// note keeps what an attempt met, failed attempts of the same event before it.
func (h *Hook) note(a answer, failed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &h.status
	was := s.Problem
	s.Problem = a.problem
	switch {
	case a.taken:
		s.Taken++
		if failed > 0 {
			s.Waiting--
		}
	default:
		s.Failed++
		if failed == 0 {
			s.Waiting++
		}
		if a.gone {
			s.GoneFrom = time.Now()
		}
	}
	if (was == "") != (a.problem == "") {
		h.cfg.Logger.Warn("a receiver's state has changed", "stage", "subscribe", "webhook", h.cfg.Name, "takes_events", a.taken, "problem", a.problem)
	}
}

// bury makes an event a dead letter.
func (h *Hook) bury(e *subscribe.Event, attempts int, problem string) error {
	if err := appendDeadLetters(DeadLetters(h.cfg.Dir, h.cfg.Name), []deadLetter{{
		At: time.Now().UTC(), Webhook: h.cfg.Name, Attempts: attempts, Problem: problem, Event: e.AppendJSON(nil)}}); err != nil {
		return err
	}
	h.cfg.Logger.Error("an event became a dead letter", "stage", "subscribe", "webhook", h.cfg.Name, "event", e.ID, "attempts", attempts, "problem", problem,
		"file", DeadLetters(h.cfg.Dir, h.cfg.Name))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status.Dead++
	h.status.Waiting--
	return nil
}

// saver saves the position a moment after it has moved.
func (h *Hook) saver(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.dirty:
		}
		if pause(ctx, saveEvery) != nil {
			return nil
		}
		if err := h.save(); err != nil {
			return err
		}
	}
}

func (h *Hook) save() error { return storePosition(h.file(), h.snapshot().Position()) }
