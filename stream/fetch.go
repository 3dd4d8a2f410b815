package stream

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetcher reads one partition, an answer at a time, and knows the offset that comes
// next. A consumer of the client does not: where a stretch of a partition holds
// nothing but aborted records and commit markers, it never tells that it passed it.
type fetcher struct {
	log          *Log
	topic        TopicInfo
	partition    int32
	decompressor *decompressor
}

func (l *Log) newFetcher(topic TopicInfo, partition int32) (*fetcher, error) {
	d, err := newDecompressor()
	if err != nil {
		return nil, err
	}
	return &fetcher{l, topic, partition, d}, nil
}

func (f *fetcher) close() { f.decompressor.close() }

// fetched is an answer: records from the offset that was asked for on, in offset
// order, and the offset from which to ask again.
type fetched struct {
	records []*kgo.Record
	next    int64
	err     error
}

// fetch asks until there is an answer. It retries what can be retried, until ctx ends.
func (f *fetcher) fetch(ctx context.Context, offset int64) fetched {
	for tries := 0; ; tries++ {
		got := f.try(ctx, offset)
		switch {
		case got.err == nil && got.next > offset:
			return got
		case ctx.Err() != nil:
			got.err = ctx.Err()
			return got
		case got.err == kerr.OffsetOutOfRange:
			got.err = f.log.outOfRange(ctx, f.topic.Name, f.partition, offset, nil)
			return got
		case got.err != nil && !kerr.IsRetriable(got.err):
			return got
		case got.err != nil:
			f.log.forgetLeaders(f.topic.Name)
		}
		if err := backoff(ctx, tries); err != nil {
			return fetched{err: err}
		}
	}
}

// try asks once.
func (f *fetcher) try(ctx context.Context, offset int64) fetched {
	leader, err := f.log.leaderOf(ctx, f.topic.Name, f.partition)
	if err != nil {
		return fetched{err: err}
	}
	resp, err := f.log.client.Broker(int(leader)).RetriableRequest(ctx, f.request(offset))
	if err != nil {
		// The broker cannot be reached, or not any more: another may lead by now.
		if _, merr := fetchMetadata(ctx, f.log.client, f.topic.Name); merr != nil {
			return fetched{err: err}
		}
		return fetched{err: kerr.LeaderNotAvailable}
	}
	answer := resp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return fetched{err: err}
	}
	for i := range answer.Topics {
		for j := range answer.Topics[i].Partitions {
			if part := &answer.Topics[i].Partitions[j]; part.Partition == f.partition {
				return f.decode(part, offset)
			}
		}
	}
	return fetched{err: kerr.UnknownTopicOrPartition}
}

func (f *fetcher) request(offset int64) *kmsg.FetchRequest {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition = f.partition
	p.FetchOffset = offset
	p.CurrentLeaderEpoch = -1
	p.PartitionMaxBytes = maxFetchPartitionBytes
	t := kmsg.NewFetchRequestTopic()
	t.Topic = f.topic.Name
	t.TopicID = f.topic.ID
	t.Partitions = append(t.Partitions, p)
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = 500
	req.MinBytes = 1
	req.MaxBytes = maxFetchBytes
	req.IsolationLevel = 1 // read_committed
	req.Topics = append(req.Topics, t)
	return req
}

func (f *fetcher) decode(part *kmsg.FetchResponseTopicPartition, offset int64) fetched {
	if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
		return fetched{err: err}
	}
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Topic:          f.topic.Name,
		Partition:      f.partition,
		Offset:         offset,
		IsolationLevel: kgo.ReadCommitted(),
	}, part, f.decompressor, nil)
	if fp.Err != nil {
		return fetched{err: fmt.Errorf("topic %q partition %d at offset %d: %w", f.topic.Name, f.partition, next, fp.Err)}
	}
	return fetched{records: fp.Records, next: next}
}
