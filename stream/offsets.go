package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// StartOffsets returns the first offset that each partition of a topic still has.
func (l *Log) StartOffsets(ctx context.Context, topic string) ([]int64, error) {
	listed, err := l.admin.ListStartOffsets(ctx, topic)
	return l.perPartition(topic, "start", listed, err)
}

// EndOffsets returns the offset after the last committed record of each partition of a
// topic. What an open transaction wrote is not counted, nor anything after it.
func (l *Log) EndOffsets(ctx context.Context, topic string) ([]int64, error) {
	listed, err := l.admin.ListCommittedOffsets(ctx, topic)
	return l.perPartition(topic, "end", listed, err)
}

// OffsetsAt returns for each partition of a topic the offset of the first record that
// was written at or after a time, to the millisecond; its end if there is none.
func (l *Log) OffsetsAt(ctx context.Context, topic string, t time.Time) ([]int64, error) {
	listed, err := l.admin.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topic)
	return l.perPartition(topic, "offset by time", listed, err)
}

func (l *Log) perPartition(topic, what string, listed kadm.ListedOffsets, err error) ([]int64, error) {
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("%s of topic %q: %w", what, topic, err)
	}
	info, err := l.known(topic, 0)
	if err != nil {
		return nil, err
	}
	offsets := make([]int64, info.Partitions)
	for p := range offsets {
		o, ok := listed.Lookup(topic, int32(p))
		if !ok {
			return nil, fmt.Errorf("%s of topic %q: the brokers did not say it of partition %d", what, topic, p)
		}
		offsets[p] = o.Offset
	}
	return offsets, nil
}

// bounds returns what a partition has to read: from start on, up to before end.
func (l *Log) bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	starts, err := l.StartOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	ends, err := l.EndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	return starts[partition], ends[partition], nil
}

// outOfRange tells what became of an offset that the log says it does not have.
func (l *Log) outOfRange(ctx context.Context, topic string, partition int32, offset int64, cause error) error {
	start, end, err := l.bounds(ctx, topic, partition)
	if err != nil {
		return err
	}
	kind := ErrDataLoss
	if offset < start {
		kind = ErrRetention
	}
	return &OffsetError{Kind: kind, Topic: topic, Partition: partition, Offset: offset, Start: start, End: end, Cause: cause}
}
