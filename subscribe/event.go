package subscribe

import (
	"fmt"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// Topic is one of the topics that events stand on.
type Topic string

// The topics.
const (
	Divergences   Topic = "divergences"
	Compensations Topic = "compensations" // and the decisions on them
	Outcomes      Topic = "outcomes"
)

// Topics lists them all.
var Topics = []Topic{Divergences, Compensations, Outcomes}

// Name is the topic's name in Kafka; empty if t is none.
func (t Topic) Name(migration string) string {
	names := stream.TopicsOf(migration)
	return map[Topic]string{Divergences: names.Divergences, Compensations: names.Compensations, Outcomes: names.Outcomes}[t]
}

// Filter takes some of the events; an empty list takes all.
type Filter = schemas.EventFilter

// Header is a header of a message: the headers of franz-go and of kafka-go convert to it.
type Header = schemas.Header

// Event is an event and its envelope. Exactly one of Divergence, Compensation, Outcome and Decision is set.
type Event struct {
	schemas.CloudEvent // ID, Type, Source, Subject, Time; Entity, Verdict, Severity, Owner
	schemas.Event

	// Data is the event as one line of JSON, the form of the contract. It must not be changed.
	Data []byte

	// Set where a Subscriber read it.
	Topic     Topic
	Partition int32
	Offset    int64
	// Position goes on behind this event.
	Position Position
}

// Decode reads a message of one of the topics: its value, also in a Schema Registry's wire format, and its headers. What
// headers do not say is taken from the value; then owner and source are incomplete. The event keeps value.
func Decode(value []byte, headers ...Header) (*Event, error) {
	e := &Event{Data: schemas.Unframed(value)}
	parsed, err := schemas.ParseEventJSON(e.Data)
	if err != nil {
		return nil, err
	}
	e.Event = *parsed
	e.CloudEvent = schemas.CloudEventOf(nil, parsed)
	for _, h := range headers {
		if !e.SetHeader(h.Key, h.Value) {
			return nil, fmt.Errorf("header %s: %q is none", h.Key, h.Value)
		}
	}
	return e, nil
}

func decode(r *stream.Record) (*Event, error) {
	headers := make([]Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = Header(h)
	}
	return Decode(r.Value, headers...)
}

// AppendJSON appends the event as one line in CloudEvents' structured mode.
func (e *Event) AppendJSON(dst []byte) []byte { return e.CloudEvent.AppendJSON(dst, e.Data) }

// BadRecord is a record of a topic that is no event: somebody else's, or of a newer Trueup.
type BadRecord struct {
	Topic     string
	Partition int32
	Offset    int64
	Err       error
}

// Error names the place.
func (b *BadRecord) Error() string {
	return fmt.Sprintf("topic %q partition %d offset %d is no event: %v", b.Topic, b.Partition, b.Offset, b.Err)
}

// Unwrap returns what is wrong with it.
func (b *BadRecord) Unwrap() error { return b.Err }
