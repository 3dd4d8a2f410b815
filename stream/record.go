package stream

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Record is one record of a topic. Its bytes are opaque here.
//
// A record that is handed over to a Writer or a group belongs to the log until it is
// acknowledged: its slices must not change. A Producer copies what it is given. The
// slices of a record that was read may share memory with the records read beside it.
type Record struct {
	Topic     string
	Partition int32
	Key       []byte
	Value     []byte // nil is a tombstone; an empty, non-nil value is empty
	Headers   []Header

	// Set on records that were read; ignored on records to write.
	Offset      int64
	LeaderEpoch int32
	// Time is when the record was written, in milliseconds. It is never the time of what
	// the record is about: retention goes by it, and a row of last year is no old record.
	Time time.Time
}

// Header is a name with a value beside a record's key and value: fields Key
// (string) and Value ([]byte).
type Header = kgo.RecordHeader

// Position is a place in a partition: the next record to read.
type Position struct {
	Offset int64 // of the next record; below 0: none, or Earliest
	// Epoch is the leader epoch of the record before, which lets the client see that
	// the log behind the position was replaced. Below 0: not known.
	Epoch int32
}

// NoPosition is the position of a partition of which nothing was read or committed.
var NoPosition = Position{Offset: -1, Epoch: -1}

// Earliest stands for the oldest record that the log still has.
var Earliest = Position{Offset: -2, Epoch: -1}

// At is the position of an offset whose leader epoch is not known.
func At(offset int64) Position { return Position{Offset: offset, Epoch: -1} }

func (r *Record) toClient() *kgo.Record {
	return &kgo.Record{
		Topic:     r.Topic,
		Partition: r.Partition,
		Key:       r.Key,
		Value:     r.Value,
		Headers:   r.Headers,
	}
}

// prefixed is a record as it is written, with what stands before its topic's values.
func (c *Config) prefixed(r Record) Record {
	if prefix := c.ValuePrefix[r.Topic]; len(prefix) > 0 && r.Value != nil {
		r.Value = slices.Concat(prefix, r.Value)
	}
	return r
}

func fromClient(r *kgo.Record) Record {
	return Record{
		Topic:       r.Topic,
		Partition:   r.Partition,
		Key:         r.Key,
		Value:       r.Value,
		Headers:     r.Headers,
		Time:        r.Timestamp,
		Offset:      r.Offset,
		LeaderEpoch: r.LeaderEpoch,
	}
}

// Size bounds what a record takes in a batch, which is what TopicInfo.MaxRecordBytes is
// about: its bytes and the most that lengths, deltas and header counts can add.
func (r *Record) Size() int {
	n := len(r.Key) + len(r.Value) + 48
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 10
	}
	return n
}
