package stream

import (
	"context"
	"errors"
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
	maxBytes     int32 // of an answer, but for a batch that is larger
	decompressor decompressor
}

// newFetcher returns a fetcher for about so many records. Close it.
func (l *Log) newFetcher(topic TopicInfo, partition int32, records int64) *fetcher {
	const typical = 1 << 10 // bytes of a record
	maxBytes := int32(maxFetchPartitionBytes)
	if records < maxFetchPartitionBytes/typical {
		maxBytes = max(int32(records)*typical, 1<<16)
	}
	return &fetcher{log: l, topic: topic, partition: partition, maxBytes: maxBytes}
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
		case errors.Is(got.err, kerr.OffsetOutOfRange):
			got.err = f.log.outOfRange(ctx, f.topic.Name, f.partition, offset, nil)
			return got
		case got.err != nil && !kerr.IsRetriable(got.err):
			return got
		case got.err != nil:
			f.log.forgetLeaders(f.topic.Name)
		default: // nothing there: not yet, or nothing to come
			_, end, err := f.log.bounds(ctx, f.topic.Name, f.partition)
			if err == nil && offset >= end {
				err = f.log.outOfRange(ctx, f.topic.Name, f.partition, offset, nil)
			}
			if err != nil {
				return fetched{err: err}
			}
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
	p.PartitionMaxBytes = f.maxBytes
	t := kmsg.NewFetchRequestTopic()
	t.Topic = f.topic.Name
	t.TopicID = f.topic.ID
	t.Partitions = append(t.Partitions, p)
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = 100
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
	}, part, &f.decompressor, nil)
	if fp.Err != nil {
		return fetched{err: fmt.Errorf("topic %q partition %d at offset %d: %w", f.topic.Name, f.partition, next, fp.Err)}
	}
	return fetched{records: fp.Records, next: next}
}
