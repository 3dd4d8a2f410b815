package stream

import (
	"context"
	"fmt"
)

// End, given to Read as the last offset, stands for the end of the partition at the
// time of the call.
const End int64 = -1

// Read gives fn the committed records of a partition with offsets from from (included)
// to to (excluded; or End), in offset order, and returns the offset at which to go on.
// It belongs to no group and changes nothing. It stops at the first error of fn and
// returns it with the offset of the record that fn refused, so that reading can be
// resumed there.
//
// If the log no longer has a record in between, or does not have it yet, the error is an
// *OffsetError.
func (l *Log) Read(ctx context.Context, topic string, partition int32, from, to int64, fn func(Record) error) (next int64, err error) {
	info, err := l.known(topic, partition)
	if err != nil {
		return from, err
	}
	if to < 0 {
		ends, err := l.EndOffsets(ctx, topic)
		if err != nil {
			return from, err
		}
		if to = ends[partition]; from > to {
			return from, l.outOfRange(ctx, topic, partition, from, nil)
		}
	}
	f := l.newFetcher(info, partition, to-from)
	defer f.close()
	next, err = f.read(ctx, from, to, fn)
	if err != nil {
		return next, fmt.Errorf("read topic %q partition %d from offset %d: %w", topic, partition, from, err)
	}
	return next, nil
}

// read asks for the next answer while fn has the records of the one before.
func (f *fetcher) read(ctx context.Context, from, to int64, fn func(Record) error) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan fetched, 1) // one answer is asked for at a time
	asked := false
	ask := func(offset int64) {
		asked = true
		go func() { answers <- f.fetch(ctx, offset) }()
	}
	defer func() {
		cancel()
		if asked {
			<-answers
		}
	}()
	if from < to {
		ask(from)
	}
	for at := from; at < to; {
		got := <-answers
		asked = false
		if got.err != nil {
			return at, got.err
		}
		if got.next < to {
			ask(got.next)
		}
		for _, r := range got.records {
			if r.Offset >= to {
				break
			}
			if err := fn(fromClient(r)); err != nil {
				return r.Offset, err
			}
			if err := ctx.Err(); err != nil {
				return r.Offset + 1, err
			}
		}
		at = min(got.next, to)
	}
	return max(from, to), nil
}

func (l *Log) known(topic string, partition int32) (TopicInfo, error) {
	info, ok := l.topics[topic]
	if !ok {
		return info, fmt.Errorf("topic %q is none of migration %q", topic, l.cfg.Migration)
	}
	if partition < 0 || int(partition) >= info.Partitions {
		return info, fmt.Errorf("topic %q has %d partitions, and none is number %d", topic, info.Partitions, partition)
	}
	return info, nil
}
