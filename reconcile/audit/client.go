package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	// A short wait with a large answer times out.
	maxWait = 2 * time.Second
	// maxBytes bounds an answer, and so what a partition holds of the log.
	maxBytes int32 = 256 << 10
	// maxEmpty bounds how often a broker may answer with nothing where there is something.
	maxEmpty = 30
)

// client reads topics by kafka-go: the pipeline writes them by another client.
type client struct {
	addr      kafka.Client
	transport *kafka.Transport
	answer    int32 // bytes, unless a batch alone is larger
}

func newClient(brokers []string, answer int32) *client {
	t := &kafka.Transport{ClientID: "trueup-audit"}
	return &client{addr: kafka.Client{Addr: kafka.TCP(brokers...), Transport: t, Timeout: time.Minute}, transport: t, answer: answer}
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// offsets asks for one offset of each partition: kafka.FirstOffset,
// kafka.LastOffset (after the last that is committed) or that of a time in
// milliseconds, which is below 0 where nothing is so late.
func (c *client) offsets(ctx context.Context, topic string, partitions int, at int64) ([]int64, error) {
	req := make([]kafka.OffsetRequest, partitions)
	for p := range req {
		req[p] = kafka.OffsetRequest{Partition: p, Timestamp: at}
	}
	got, err := c.addr.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: req}, IsolationLevel: kafka.ReadCommitted})
	if err != nil {
		return nil, fmt.Errorf("offsets of topic %q: %w", topic, err)
	}
	out := make([]int64, partitions)
	seen := 0
	for _, p := range got.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("offsets of topic %q partition %d: %w", topic, p.Partition, p.Error)
		}
		seen++
		switch at {
		case kafka.FirstOffset:
			out[p.Partition] = p.FirstOffset
		case kafka.LastOffset:
			out[p.Partition] = p.LastOffset
		default:
			out[p.Partition] = -1
			for offset := range p.Offsets { // there is one
				out[p.Partition] = offset
			}
		}
	}
	if seen != partitions {
		return nil, fmt.Errorf("offsets of topic %q: the brokers know %d partitions of %d", topic, seen, partitions)
	}
	return out, nil
}

// committed returns how far a group has read, -1 where it has said nothing. It
// does not join the group.
func (c *client) committed(ctx context.Context, group, topic string, partitions int) ([]int64, error) {
	out, all := make([]int64, partitions), make([]int, partitions)
	for p := range out {
		out[p], all[p] = -1, p
	}
	got, err := c.addr.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: all}})
	if err == nil {
		err = got.Error
	}
	if errors.Is(err, kafka.GroupIdNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("offsets of group %q: %w", group, err)
	}
	for _, p := range got.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("offset of group %q in partition %d: %w", group, p.Partition, p.Error)
		}
		if p.CommittedOffset >= 0 {
			out[p.Partition] = p.CommittedOffset
		}
	}
	return out, nil
}

// message is a record as it stands in a topic.
type message struct {
	offset     int64
	hole       int64 // how many offsets before it hold nothing, neither a record nor a marker
	key, value []byte
}

// read gives fn the committed records of a partition from from (included) to
// to (excluded), an answer at a time; next is the offset to go on at.
func (c *client) read(ctx context.Context, topic string, partition int32, from, to int64, fn func(batch []message, next int64) error) error {
	for at, empty := from, 0; at < to; {
		batch, next, err := c.fetch(ctx, topic, partition, at, to)
		if err != nil {
			return fmt.Errorf("read topic %q partition %d from offset %d: %w", topic, partition, at, err)
		}
		if next == at {
			if empty++; empty > maxEmpty {
				return fmt.Errorf("read topic %q partition %d: the broker gives nothing at offset %d, and says that it ends at %d", topic, partition, at, to)
			}
			continue
		}
		empty = 0
		if err := fn(batch, min(next, to)); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// fetch asks for one answer. Only the partition's bound is given: the embedded broker, where
// it stops at the bound of a whole answer, leaves out which transactions were taken back.
func (c *client) fetch(ctx context.Context, topic string, partition int32, from, to int64) ([]message, int64, error) {
	answer, err := c.transport.RoundTrip(ctx, c.addr.Addr, &fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(maxWait.Milliseconds()), MinBytes: 1, MaxBytes: math.MaxInt32, IsolationLevel: int8(kafka.ReadCommitted),
		SessionID: -1, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{Topic: topic, Partitions: []fetch.RequestPartition{{
			Partition: partition, CurrentLeaderEpoch: -1, FetchOffset: from, LogStartOffset: -1, PartitionMaxBytes: c.answer}}}},
	})
	if err != nil {
		return nil, from, err
	}
	r, ok := answer.(*fetch.Response)
	if !ok || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return nil, from, errors.New("the broker answered something else")
	}
	p := &r.Topics[0].Partitions[0]
	if r.ErrorCode != 0 || p.ErrorCode != 0 {
		return nil, from, kafka.Error(max(r.ErrorCode, p.ErrorCode))
	}
	if p.RecordSet.Records == nil {
		return nil, from, nil
	}
	batches, ok := p.RecordSet.Records.(*protocol.RecordStream)
	if !ok {
		return nil, from, errors.New("the broker answered with records of another format")
	}
	return collect(batches.Records, newAborted(p.AbortedTransactions), from, to)
}

// collect takes the records of batches that are committed.
func collect(batches []protocol.RecordReader, aborted *aborted, from, to int64) (out []message, next int64, err error) {
	next = from
	var texts slab
	for _, b := range batches {
		control, isControl := b.(*protocol.ControlBatch)
		data, isData := b.(*protocol.RecordBatch)
		if !isControl && !isData {
			return nil, from, errors.New("the topic holds records of a format before Kafka 0.11")
		}
		skip := isData && data.Attributes.Transactional() && aborted.covers(data.ProducerID, data.BaseOffset)
		for {
			rec, err := b.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, from, err
			}
			m := message{offset: rec.Offset, hole: max(0, rec.Offset-next)}
			var kerr, verr error
			m.key, kerr = texts.take(rec.Key)
			m.value, verr = texts.take(rec.Value)
			if err := errors.Join(kerr, verr); err != nil {
				return nil, from, fmt.Errorf("offset %d: %w", rec.Offset, err)
			}
			if isControl {
				aborted.ends(control.ProducerID, rec.Offset)
			} else if !skip && m.offset >= from && m.offset < to {
				out = append(out, m)
			}
			next = max(next, rec.Offset+1)
		}
	}
	return out, next, nil
}

// slabBytes is the size of the pieces of memory that contents are cut from.
const slabBytes = 256 << 10

// slab cuts memory for many small texts.
type slab []byte

func (s *slab) take(from protocol.Bytes) ([]byte, error) {
	if from == nil {
		return nil, nil
	}
	n := from.Len()
	if n > len(*s) {
		*s = make([]byte, max(n, slabBytes))
	}
	b := (*s)[:n:n]
	*s = (*s)[n:]
	_, err := io.ReadFull(from, b)
	return b, errors.Join(err, from.Close())
}

// aborted knows the transactions of an answer that were taken back: kafka-go
// hands their records on.
type aborted struct {
	first map[int64][]int64 // by producer: where its aborted transactions begin, in order
}

func newAborted(txns []fetch.ResponseTransaction) *aborted {
	a := &aborted{first: map[int64][]int64{}}
	for _, t := range txns {
		a.first[t.ProducerID] = append(a.first[t.ProducerID], t.FirstOffset)
	}
	return a
}

func (a *aborted) covers(producer, offset int64) bool {
	first := a.first[producer]
	return len(first) > 0 && offset >= first[0]
}

// ends takes a producer's marker. That of a commit before the aborted
// transaction begins is no end of it.
func (a *aborted) ends(producer, offset int64) {
	if first := a.first[producer]; len(first) > 0 && offset > first[0] {
		a.first[producer] = first[1:]
	}
}
