package compensate

import (
	"context"
	"errors"
	"fmt"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// Topic is one of the topics that a Runner reads or writes.
type Topic int

const (
	Divergences   Topic = iota
	Compensations       // and the decisions on them
	Outcomes
)

// Log is what a Runner needs of the log. Offsets are by partition.
type Log interface {
	// ID changes when the topics are made anew.
	ID() string
	// Limit is how many bytes of JSON a compensation can have.
	Limit() int
	// Bounds returns the offsets of the first records that are left of a topic, and those after the last ones.
	Bounds(ctx context.Context, t Topic) (first, end []int64, err error)
	// Read gives the records from from to before to, in order within each partition, until fn returns an error.
	Read(ctx context.Context, t Topic, from, to []int64, fn func(Record) error) error
	// Tail gives the records from from on as they come, until ctx ends or fn returns an error.
	Tail(ctx context.Context, t Topic, from []int64, fn func(Record) error) error
	// Publish writes compensations, outcomes and breakers' decisions, each to its topic, and returns when all are durable. After an error
	// some may be in the log.
	Publish(ctx context.Context, events []schemas.Event) error
	// Change returns the change that stands at a place of the changes topic; nil if there is none any more.
	Change(ctx context.Context, at schemas.RowPlace) (*schemas.Change, error)
	// Echo returns the change that a compensation's write made, as capture put it into the log, and where it stands; nil if it
	// is not there.
	Echo(ctx context.Context, c *schemas.Compensation) (*schemas.Change, schemas.RowPlace, error)
	Close() error
}

// Record is an event of a topic, and where it stands.
type Record struct {
	Partition int32
	Offset    int64
	Event     *schemas.Event
	Err       error // why the record is no event; then Event is nil
}

// StreamLog is the Log on the topics of a migration.
type StreamLog struct {
	log    *stream.Log
	rules  *schemas.Rules
	writer *stream.Writer
}

// NewStreamLog writes under the rules' keys. Close it before the log.
func NewStreamLog(log *stream.Log, rules *schemas.Rules) (*StreamLog, error) {
	w, err := log.Writer()
	if err != nil {
		return nil, err
	}
	return &StreamLog{log: log, rules: rules, writer: w}, nil
}

// Close closes what NewStreamLog opened.
func (l *StreamLog) Close() error { return l.writer.Close() }

func (l *StreamLog) name(t Topic) string {
	topics := l.log.Topics()
	return [...]string{Divergences: topics.Divergences, Compensations: topics.Compensations, Outcomes: topics.Outcomes}[t]
}

// ID is the divergences topic's.
func (l *StreamLog) ID() string {
	info, _ := l.log.Topic(l.name(Divergences))
	return info.ID.String()
}

// headerBytes is room for a record's key and headers beside its value.
const headerBytes = 8 << 10

// Limit is the smaller of the topics' limits, less room for headers.
func (l *StreamLog) Limit() int {
	info, _ := l.log.Topic(l.name(Compensations))
	return info.MaxRecordBytes - headerBytes
}

// Bounds is Log's.
func (l *StreamLog) Bounds(ctx context.Context, t Topic) (first, end []int64, err error) {
	if first, err = l.log.StartOffsets(ctx, l.name(t)); err != nil {
		return nil, nil, err
	}
	end, err = l.log.EndOffsets(ctx, l.name(t))
	return first, end, err
}

// Read is Log's.
func (l *StreamLog) Read(ctx context.Context, t Topic, from, to []int64, fn func(Record) error) error {
	for p := range to {
		_, err := l.log.Read(ctx, l.name(t), int32(p), from[p], to[p], func(r stream.Record) error { return fn(recordOf(&r)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Tail is Log's.
func (l *StreamLog) Tail(ctx context.Context, t Topic, from []int64, fn func(Record) error) error {
	at := make(map[int32]int64, len(from))
	for p, offset := range from {
		at[int32(p)] = offset
	}
	return l.log.Tail(ctx, l.name(t), at, func(r stream.Record) error { return fn(recordOf(&r)) })
}

// Change is Log's.
func (l *StreamLog) Change(ctx context.Context, at schemas.RowPlace) (found *schemas.Change, err error) {
	_, err = l.log.Read(ctx, l.log.Topics().Changes, at.Partition, at.Offset, at.Offset+1, func(r stream.Record) error {
		if rec, err := schemas.UnmarshalRecord(r.Value); err == nil { // what cannot be read is as if it were gone
			found = rec.Change
		}
		return nil
	})
	if errors.Is(err, stream.ErrRetention) {
		return nil, nil
	}
	return found, err
}

// Echo is Log's. It reads the partition of the key from where it begins, which a
// person who takes something back can wait for.
func (l *StreamLog) Echo(ctx context.Context, c *schemas.Compensation) (found *schemas.Change, at schemas.RowPlace, err error) {
	e, ok := l.rules.Entity(c.Entity)
	if !ok {
		return nil, at, fmt.Errorf("the rules in force have no entity %q", c.Entity)
	}
	changes := l.log.Topics().Changes
	info, _ := l.log.Topic(changes)
	p := stream.Partition(e.PartitionKey(c.Key), info.Partitions)
	if len(c.Rows) > 0 {
		p = c.Rows[0].Partition // the key may be hidden
	}
	first, err := l.log.StartOffsets(ctx, changes)
	if err != nil {
		return nil, at, err
	}
	end, err := l.log.EndOffsets(ctx, changes)
	if err != nil {
		return nil, at, err
	}
	_, err = l.log.Read(ctx, changes, p, first[p], end[p], func(r stream.Record) error {
		if rec, err := schemas.UnmarshalRecord(r.Value); err == nil && rec.Change != nil && isEcho(rec.Change, c, e) {
			found, at = rec.Change, schemas.RowPlace{Side: c.Side, Partition: p, Offset: r.Offset}
			return errFound
		}
		return nil
	})
	if found != nil {
		return found, at, nil
	}
	return nil, at, err
}

// isEcho says whether a change is of the row that c wrote, in c's transaction.
func isEcho(change *schemas.Change, c *schemas.Compensation, e *schemas.Entity) bool {
	return change.Tag.CompensationID == c.ID && change.Side == c.Side && change.Entity == c.Entity && e.SameKey(change.Key, c.Key)
}

func recordOf(r *stream.Record) Record {
	out := Record{Partition: r.Partition, Offset: r.Offset}
	if out.Event, out.Err = schemas.ParseEventJSON(r.Value); out.Err != nil {
		out.Event = nil
	}
	return out
}

// Publish is Log's.
func (l *StreamLog) Publish(ctx context.Context, events []schemas.Event) error {
	records := make([]stream.Record, 0, len(events))
	for i := range events {
		r, err := l.record(&events[i])
		if err != nil {
			return err
		}
		records = append(records, r)
	}
	return l.writer.Write(ctx, records...)
}

func (l *StreamLog) record(e *schemas.Event) (stream.Record, error) {
	r := stream.Record{Value: schemas.AppendEventJSON(nil, e)}
	var entity string
	var key []string
	switch {
	case e.Compensation != nil:
		r.Topic, entity, key = l.name(Compensations), e.Compensation.Entity, e.Compensation.Key
	case e.Outcome != nil:
		r.Topic, entity, key = l.name(Outcomes), e.Outcome.Entity, e.Outcome.Key
	case e.Decision != nil:
		r.Topic, r.Key = l.name(Compensations), []byte(e.Decision.Scope) // in partition 0, as people's decisions are
		for _, h := range schemas.CloudEventHeaders(l.rules, e) {
			r.Headers = append(r.Headers, stream.Header{Key: h.Key, Value: h.Value})
		}
		return r, nil
	default:
		return r, errors.New("publish: neither a compensation nor an outcome nor a decision")
	}
	for _, h := range schemas.CloudEventHeaders(l.rules, e) {
		r.Headers = append(r.Headers, stream.Header{Key: h.Key, Value: h.Value})
	}
	partitionKey := []byte(keyOf(entity, key))
	r.Key = partitionKey
	if known, ok := l.rules.Entity(entity); ok {
		r.Key, partitionKey = known.MessageKey(key), known.PartitionKey(key)
	}
	info, _ := l.log.Topic(r.Topic)
	r.Partition = stream.Partition(partitionKey, info.Partitions)
	return r, nil
}
