package stream

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// check refuses a record that the topic cannot take, before it can block others.
func (t *TopicInfo) check(r *Record) error {
	if size := r.Size(); size > t.MaxRecordBytes {
		return fmt.Errorf("topic %q: a record of %d bytes is larger than the %d that it takes: raise its max.message.bytes", t.Name, size, t.MaxRecordBytes)
	}
	if r.Partition < 0 || int(r.Partition) >= t.Partitions {
		return fmt.Errorf("topic %q has %d partitions, and none is number %d", t.Name, t.Partitions, r.Partition)
	}
	return nil
}

// explain adds what to do about a client's error that an operator can meet.
func explain(err error) error {
	switch {
	case errors.Is(err, kgo.ErrClientClosed):
		return ErrClosed
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w, or deleted: %w: run a new baseline in a new data directory", ErrRecreated, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("%w: grant this user read and write on the topic", err)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w: raise the topic's max.message.bytes", err)
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.FencedInstanceID):
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return err
}
