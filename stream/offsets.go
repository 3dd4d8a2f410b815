package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// StartOffsets returns the first offset that each partition of a topic still has.
func (l *Log) StartOffsets(ctx context.Context, topic string) ([]int64, error) {
	return l.list(ctx, topic, "start", func() (kadm.ListedOffsets, error) { return l.admin.ListStartOffsets(ctx, topic) })
}

// EndOffsets returns the offset after the last committed record of each partition of a
// topic. What an open transaction wrote is not counted, nor anything after it.
func (l *Log) EndOffsets(ctx context.Context, topic string) ([]int64, error) {
	return l.list(ctx, topic, "end", func() (kadm.ListedOffsets, error) { return l.admin.ListCommittedOffsets(ctx, topic) })
}

// OffsetsAt returns for each partition of a topic the offset of the first record that
// was written at or after a time, to the millisecond; its end if there is none.
func (l *Log) OffsetsAt(ctx context.Context, topic string, t time.Time) ([]int64, error) {
	return l.list(ctx, topic, "offset by time", func() (kadm.ListedOffsets, error) {
		return l.admin.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topic)
	})
}

// listTries is how often brokers are asked again while leaders move: half a minute.
const listTries = 35

func (l *Log) list(ctx context.Context, topic, what string, ask func() (kadm.ListedOffsets, error)) ([]int64, error) {
	info, err := l.known(topic, 0)
	if err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		offsets, err := perPartition(info, ask)
		if err == nil {
			return offsets, nil
		}
		if !kerr.IsRetriable(err) || tries == listTries || backoff(ctx, tries) != nil {
			return nil, fmt.Errorf("%s of topic %q on %s: %w", what, topic, l.Describe(), explain(err))
		}
	}
}

func perPartition(info TopicInfo, ask func() (kadm.ListedOffsets, error)) ([]int64, error) {
	listed, err := ask()
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	offsets := make([]int64, info.Partitions)
	for p := range offsets {
		o, ok := listed.Lookup(info.Name, int32(p))
		if !ok {
			return nil, fmt.Errorf("the brokers did not say it of partition %d", p)
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
