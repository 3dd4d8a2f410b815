package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadata is what a broker knows now: never a client's cached answer, since it is
// asked for when an answer of before was wrong.
type metadata struct {
	cluster string
	brokers int
	topics  map[string]topicMetadata
}

type topicMetadata struct {
	id      TopicID
	err     error
	leaders []int32 // by partition; -1: none just now
}

func fetchMetadata(ctx context.Context, client *kgo.Client, topics ...string) (metadata, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // not nil, which asks for all
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return metadata{}, err
	}
	m := metadata{brokers: len(resp.Brokers), topics: make(map[string]topicMetadata, len(resp.Topics))}
	if resp.ClusterID != nil {
		m.cluster = *resp.ClusterID
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil {
			continue
		}
		state := topicMetadata{id: t.TopicID, err: kerr.ErrorForCode(t.ErrorCode), leaders: make([]int32, len(t.Partitions))}
		for p := range state.leaders {
			state.leaders[p] = -1
		}
		for _, p := range t.Partitions {
			if p.Partition >= 0 && int(p.Partition) < len(state.leaders) && p.ErrorCode == 0 {
				state.leaders[p.Partition] = p.Leader
			}
		}
		m.topics[*t.Topic] = state
	}
	return m, nil
}

// ready says that every partition can be written to and read from.
func (t topicMetadata) ready() bool {
	if t.err != nil || len(t.leaders) == 0 {
		return false
	}
	for _, leader := range t.leaders {
		if leader < 0 {
			return false
		}
	}
	return true
}

// missing says that the topic does not exist.
func (t topicMetadata) missing() bool { return errors.Is(t.err, kerr.UnknownTopicOrPartition) }

// leaderOf returns the broker that leads a partition.
func (l *Log) leaderOf(ctx context.Context, topic string, partition int32) (int32, error) {
	l.mu.Lock()
	leaders := l.leaders[topic]
	l.mu.Unlock()
	if int(partition) < len(leaders) && leaders[partition] >= 0 {
		return leaders[partition], nil
	}
	m, err := fetchMetadata(ctx, l.client, topic)
	if err != nil {
		return -1, err
	}
	t := m.topics[topic]
	if t.err != nil {
		return -1, t.err
	}
	if known := l.topics[topic]; known.ID != t.id {
		return -1, fmt.Errorf("topic %q: %w: positions in it mean nothing any more; run a new baseline in a new data directory", topic, ErrRecreated)
	}
	if int(partition) >= len(t.leaders) {
		return -1, kerr.UnknownTopicOrPartition
	}
	l.mu.Lock()
	l.leaders[topic] = t.leaders
	l.mu.Unlock()
	if t.leaders[partition] < 0 {
		return -1, kerr.LeaderNotAvailable
	}
	return t.leaders[partition], nil
}

// forgetLeaders makes leaderOf ask again.
func (l *Log) forgetLeaders(topic string) {
	l.mu.Lock()
	delete(l.leaders, topic)
	l.mu.Unlock()
}

// backoff waits before a try is made again: longer with each, up to a second.
func backoff(ctx context.Context, tries int) error {
	d := min(20*time.Millisecond<<min(tries, 6), time.Second)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
