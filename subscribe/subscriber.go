package subscribe

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/trueup-io/trueup/stream"
)

// Config says what is read. Migration and where the log is are required.
type Config struct {
	// Log says where the log is. The migration's owner of a topic may restrict rights: only the topics that are read are
	// asked for.
	Log stream.Config
	// Topics that are read; empty: Divergences.
	Topics []Topic
	Filter Filter
	// From is where it begins: a stored position, Now, or Start. Empty: Start. Topics that a stored position does not
	// have begin at their start.
	From Position
	// UntilNow ends it with the last event that there was when it began.
	UntilNow bool
	// Bad is told of records that are no events; an error of its ends Run. nil: each ends Run, with a *BadRecord.
	Bad    func(*BadRecord) error
	Logger *slog.Logger // nil: nothing is logged
}

func (c *Config) validate() error {
	if len(c.Topics) == 0 {
		c.Topics = []Topic{Divergences}
	}
	for _, t := range c.Topics {
		if !slices.Contains(Topics, t) {
			return fmt.Errorf("topic %q: want some of %v", t, Topics)
		}
	}
	if c.Bad == nil {
		c.Bad = func(b *BadRecord) error { return b }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Subscriber reads events. One goroutine calls Run or Events; Position may be
// called from any.
type Subscriber struct {
	cfg       Config
	migration string
	own       bool // the log is to be closed, and opened again where it was lost

	log *stream.Log // used by Run only, once it is open

	mu     sync.Mutex
	cursor *Cursor // written by Run
}

// Open connects to the log, which has to run, and takes the position that From
// says. Close it.
func Open(ctx context.Context, cfg Config) (*Subscriber, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	cfg.Log.Only = nil
	for _, t := range cfg.Topics {
		cfg.Log.Only = append(cfg.Log.Only, t.Name(cfg.Log.Migration))
	}
	log, err := stream.Connect(ctx, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	s, err := on(ctx, log, cfg.Log.Migration, cfg)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	s.own = true
	return s, nil
}

// On reads from a log that is open, which stays the caller's; Config.Log is not
// used. What ends the log ends Run.
func On(ctx context.Context, log *stream.Log, migration string, cfg Config) (*Subscriber, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return on(ctx, log, migration, cfg)
}

func on(ctx context.Context, log *stream.Log, migration string, cfg Config) (*Subscriber, error) {
	s := &Subscriber{cfg: cfg, migration: migration, log: log}
	var err error
	if s.cursor, err = newCursor(log, migration, cfg.Topics); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	if err = s.cursor.begin(ctx, log, migration, cfg.From); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return s, nil
}

// Position goes on behind the last event that Run has handled, and behind what
// the filter did not take since.
func (s *Subscriber) Position() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor.Position()
}

// Run gives fn the events as they come, until ctx ends or fn returns an error,
// which it returns. An event whose fn returned an error comes again when Run is
// called again. Lost connections are made again; an *stream.OffsetError says that
// the log cannot go on from where this subscriber is.
func (s *Subscriber) Run(ctx context.Context, fn func(ctx context.Context, e *Event) error) error {
	for tries := 0; ; tries++ {
		before := s.Position()
		err := s.read(ctx, fn)
		if err == nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var stop *stopped
		if errors.As(err, &stop) {
			return stop.err
		}
		var offset *stream.OffsetError
		if !s.own || errors.As(err, &offset) || errors.Is(err, ErrPosition) {
			return fmt.Errorf("subscribe: %w", err)
		}
		if s.Position() != before {
			tries = 0
		}
		s.cfg.Logger.Warn("the log was lost and is opened again", "stage", "subscribe", "err", err)
		if err := s.reopen(ctx, tries); err != nil {
			return err
		}
	}
}

// Events is Run as an iterator; an error is its last.
func (s *Subscriber) Events(ctx context.Context) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		left := errors.New("the loop was left")
		err := s.Run(ctx, func(_ context.Context, e *Event) error {
			if !yield(e, nil) {
				return left
			}
			return nil
		})
		if err != nil && !errors.Is(err, left) {
			yield(nil, err)
		}
	}
}

// Close closes what Open opened.
func (s *Subscriber) Close() error {
	if !s.own || s.log == nil {
		return nil
	}
	return s.log.Close()
}

// stopped is an error that ends Run: of who is told, not of the log.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }

// read reads until something ends it; nil: everything until now was read.
func (s *Subscriber) read(ctx context.Context, fn func(ctx context.Context, e *Event) error) error {
	take := func(r stream.Record) error { return s.take(ctx, r, fn) }
	if s.cfg.UntilNow {
		return s.readUntilNow(ctx, take)
	}
	from := make(map[string]map[int32]int64, len(s.cursor.topics))
	for i, t := range s.cursor.topics {
		at := make(map[int32]int64, len(s.cursor.next[i]))
		for p, offset := range s.cursor.next[i] {
			at[int32(p)] = offset
		}
		from[t.Name(s.migration)] = at
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(ctx, cancel) })
	defer watching.Wait()
	defer cancel(nil)
	return s.log.TailTopics(ctx, from, take)
}

func (s *Subscriber) readUntilNow(ctx context.Context, take func(stream.Record) error) error {
	for i, t := range s.cursor.topics {
		name := t.Name(s.migration)
		for p, from := range s.cursor.next[i] {
			if _, err := s.log.Read(ctx, name, int32(p), from, stream.End, take); err != nil {
				return err
			}
		}
	}
	return nil
}

// watchEvery is how often it is looked whether another process's broker is
// still where it was: nothing else tells.
const watchEvery = time.Second

func (s *Subscriber) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	if !s.own {
		return
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.log.Moved() {
				cancel(stream.ErrNotRunning)
				return
			}
		}
	}
}

// topicOf returns which of the topics a name is.
func (s *Subscriber) topicOf(name string) Topic {
	for _, t := range s.cursor.topics {
		if t.Name(s.migration) == name {
			return t
		}
	}
	return ""
}

func (s *Subscriber) take(ctx context.Context, r stream.Record, fn func(ctx context.Context, e *Event) error) error {
	t := s.topicOf(r.Topic)
	e, err := decode(&r)
	switch {
	case err != nil:
		if err := s.cfg.Bad(&BadRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Err: err}); err != nil {
			return &stopped{err}
		}
	case s.cfg.Filter.Takes(&e.CloudEvent):
		after := s.cursor.Clone()
		after.Move(t, r.Partition, r.Offset+1)
		e.Topic, e.Partition, e.Offset, e.Position = t, r.Partition, r.Offset, after.Position()
		if err := fn(ctx, e); err != nil {
			return &stopped{err}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor.Move(t, r.Partition, r.Offset+1)
	return nil
}

// reopenMax bounds the wait between attempts to reach the log.
const reopenMax = 5 * time.Second

// reopen opens the log again and sees that it is the one that was read.
func (s *Subscriber) reopen(ctx context.Context, tries int) error {
	_ = s.log.Close() // it was lost
	s.log = nil
	for ; ; tries++ {
		wait := time.NewTimer(min(reopenMax, 100*time.Millisecond<<min(tries, 10)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return context.Cause(ctx)
		case <-wait.C:
		}
		log, err := stream.Connect(ctx, s.cfg.Log)
		if err != nil {
			s.cfg.Logger.Debug("the log cannot be opened yet", "stage", "subscribe", "err", err)
			continue
		}
		c, err := newCursor(log, s.migration, s.cfg.Topics)
		if err == nil {
			err = c.Set(s.Position())
		}
		if err != nil {
			return errors.Join(fmt.Errorf("subscribe: %w", err), log.Close())
		}
		s.log = log
		return nil
	}
}
