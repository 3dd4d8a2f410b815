package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/trueup-io/trueup/stream"
)

// ErrVoid is a write that had no effect.
var ErrVoid = errors.New("without effect")

// Store reads and writes a registry's topic. It is safe for use by several goroutines,
// and any number of processes may have one.
type Store struct {
	log    *stream.Log
	writer *stream.Writer

	mu    sync.Mutex
	state *State // what was read so far
}

// NewStore returns a store over a log of stream.Config.Rollouts. Close it before the log.
func NewStore(log *stream.Log) (*Store, error) {
	w, err := log.Writer()
	if err != nil {
		return nil, err
	}
	return &Store{log: log, writer: w, state: NewState()}, nil
}

// Close ends the store.
func (s *Store) Close() error { return s.writer.Close() }

// topic is where the events are.
func (s *Store) topic() string { return s.log.Topics().Rollouts }

// Load returns what stands: it has read every event that was written before the call.
func (s *Store) Load(ctx context.Context) (*State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.catchUp(ctx, func(Outcome) {}); err != nil {
		return nil, err
	}
	return s.state.Clone(), nil
}

// catchUp reads to the end of the topic.
func (s *Store) catchUp(ctx context.Context, said func(Outcome)) error {
	next, err := s.log.Read(ctx, s.topic(), 0, s.state.Next, stream.End, func(r stream.Record) error {
		said(s.state.Apply(r.Offset, r.Value))
		return nil
	})
	s.state.Next = max(s.state.Next, next)
	if err != nil {
		return fmt.Errorf("read the registry of rollouts: %w", err)
	}
	return nil
}

// Each gives fn every event that was written before the call, with what became of it.
func (s *Store) Each(ctx context.Context, fn func(value []byte, o Outcome) error) error {
	state := NewState()
	_, err := s.log.Read(ctx, s.topic(), 0, 0, stream.End, func(r stream.Record) error { return fn(r.Value, state.Apply(r.Offset, r.Value)) })
	if err != nil {
		return fmt.Errorf("read the registry of rollouts: %w", err)
	}
	return nil
}

// End returns the offset behind the last event: who has read as far knew everything
// when End was called.
func (s *Store) End(ctx context.Context) (int64, error) {
	ends, err := s.log.EndOffsets(ctx, s.topic())
	if err != nil {
		return 0, err
	}
	return ends[0], nil
}

// Submit writes an event, reads on until it is there, and returns what stood right behind
// it. If the event has no effect the error is ErrVoid, and what stood is returned as well.
// Any other error leaves open whether the event had or will have an effect; ID finds it.
func (s *Store) Submit(ctx context.Context, e Event) (*State, Outcome, error) {
	e.Version = e.version()
	if e.ID == "" {
		e.ID = rand.Text()
	}
	mine := Outcome{Offset: -1, Event: e.ID}
	if err := e.validate(); err != nil {
		return nil, mine, err
	}
	value, err := e.Encode()
	if err != nil {
		return nil, mine, fmt.Errorf("event %s: %w", e.ID, err)
	}
	record := stream.Record{Topic: s.topic(), Key: []byte(e.Changes[0].Flag), Value: value}
	if topic, ok := s.log.Topic(s.topic()); ok {
		if err := e.fits(record.Size(), topic.Name, topic.MaxRecordBytes); err != nil {
			return nil, mine, err
		}
	}
	if err := s.writer.Write(ctx, record); err != nil {
		return nil, mine, fmt.Errorf("event %s: outcome not known: %w", e.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var then *State
	if err := s.catchUp(ctx, func(o Outcome) {
		if o.Event == e.ID && then == nil {
			mine, then = o, s.state.Clone()
		}
	}); err != nil {
		return nil, mine, fmt.Errorf("event %s: outcome not known: %w", e.ID, err)
	}
	if then == nil {
		return nil, mine, fmt.Errorf("event %s: %w: it is not where it was written", e.ID, stream.ErrDataLoss)
	}
	if mine.Effect != Effective {
		return then, mine, fmt.Errorf("%w (%s): %s", ErrVoid, mine.Effect, mine.Reason)
	}
	return then, mine, nil
}

// Tail gives fn the records of the topic from an offset on, as they come, until ctx ends or fn returns an error.
func (s *Store) Tail(ctx context.Context, from int64, fn func(offset int64, value []byte) error) error {
	return s.log.Tail(ctx, s.topic(), map[int32]int64{0: from}, func(r stream.Record) error { return fn(r.Offset, r.Value) })
}
