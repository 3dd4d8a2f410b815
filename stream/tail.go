package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Tail gives fn the committed records of a topic as they come, in offset order within
// each partition, until ctx ends or fn returns an error. It starts at the offsets in
// from, by partition; where from has none (or is nil) at the end of the partition. It
// belongs to no group and changes nothing.
//
// If the log does not have a record that should come next, the error is an
// *OffsetError.
func (l *Log) Tail(ctx context.Context, topic string, from map[int32]int64, fn func(Record) error) error {
	return l.TailTopics(ctx, map[string]map[int32]int64{topic: from}, fn)
}

// TailTopics is Tail of several topics at once, the keys of from.
func (l *Log) TailTopics(ctx context.Context, from map[string]map[int32]int64, fn func(Record) error) error {
	next := make(map[string]map[int32]int64, len(from))
	at := make(map[string]map[int32]kgo.Offset, len(from))
	for topic := range from {
		offsets, err := l.tailOffsets(ctx, topic, from[topic])
		if err != nil {
			return err
		}
		next[topic], at[topic] = offsets, make(map[int32]kgo.Offset, len(offsets))
		for p, offset := range offsets {
			at[topic][p] = kgo.NewOffset().At(offset)
		}
	}
	opts, err := l.cfg.clientOptions(l.brokers)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts, kgo.ConsumePartitions(at),
		// An answer is bounded by its partitions' parts alone: where the embedded broker stops at the bound of the whole, it
		// does not say which transactions were aborted of the partition that it stops in.
		kgo.FetchMaxBytes(maxWholeFetchBytes), kgo.FetchMaxPartitionBytes(partitionShare(next)))...)
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	defer client.Close()
	alive, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer l.onFailure(func(err error) { end(err) })()
	for {
		fetches := client.PollRecords(alive, maxPollRecords)
		if alive.Err() != nil {
			return context.Cause(alive)
		}
		for _, fe := range fetches.Errors() {
			if err := l.consumeError(ctx, fe, next[fe.Topic][fe.Partition]); err != nil {
				return fmt.Errorf("tail: %w", err)
			}
		}
		for r := range fetches.RecordsAll() {
			if err := fn(fromClient(r)); err != nil {
				return err
			}
			next[r.Topic][r.Partition] = r.Offset + 1
		}
	}
}

// partitionShare is how much of each partition an answer holds that holds some of all of them, in bytes.
func partitionShare(partitions map[string]map[int32]int64) int32 {
	n := 0
	for _, of := range partitions {
		n += len(of)
	}
	return int32(max(minFetchPartitionBytes, min(maxFetchPartitionBytes, maxFetchBytes/max(n, 1))))
}

// maxPollRecords bounds what is taken from a client's buffer at once: at a few hundred
// thousand records a second, a tenth of a second's work.
const maxPollRecords = 20_000

func (l *Log) tailOffsets(ctx context.Context, topic string, from map[int32]int64) (map[int32]int64, error) {
	for p := range from {
		if _, err := l.known(topic, p); err != nil {
			return nil, err
		}
	}
	ends, err := l.EndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	starts, err := l.StartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	at := make(map[int32]int64, len(ends))
	for p := range ends {
		offset, ok := from[int32(p)]
		if !ok {
			offset = ends[p]
		}
		if offset < starts[p] || offset > ends[p] {
			return nil, l.outOfRange(ctx, topic, int32(p), offset, nil)
		}
		at[int32(p)] = offset
	}
	return at, nil
}

// consumeError turns what a consumer of the client reports of a partition, of which it
// was to read on at offset at, into what it means here; nil for what the client goes
// on to retry.
func (l *Log) consumeError(ctx context.Context, fe kgo.FetchError, at int64) error {
	var loss *kgo.ErrDataLoss
	switch {
	case errors.As(fe.Err, &loss):
		return l.lost(ctx, fe, loss)
	case errors.Is(fe.Err, kerr.OffsetOutOfRange):
		return l.outOfRange(ctx, fe.Topic, fe.Partition, at, fe.Err)
	case errors.Is(fe.Err, context.Canceled), errors.Is(fe.Err, context.DeadlineExceeded):
		return nil
	case errors.Is(fe.Err, kgo.ErrClientClosed):
		return ErrClosed
	case kerr.IsRetriable(fe.Err) && !errors.Is(fe.Err, kerr.UnknownTopicID):
		return nil
	}
	return fmt.Errorf("topic %q partition %d: %w", fe.Topic, fe.Partition, explain(fe.Err))
}

// lost names what the client found: that the log was cut, or replaced, before what was
// read already.
func (l *Log) lost(ctx context.Context, fe kgo.FetchError, loss *kgo.ErrDataLoss) error {
	start, end, err := l.bounds(ctx, fe.Topic, fe.Partition)
	if err != nil {
		return err
	}
	return &OffsetError{Kind: ErrDataLoss, Topic: fe.Topic, Partition: fe.Partition, Offset: loss.ConsumedTo, Start: start, End: end, Cause: loss}
}
