package schemas

import "fmt"

// AppendEventJSON appends e as one line of JSON, without a line feed. An event
// that is not exactly one thing panics.
func AppendEventJSON(dst []byte, e *Event) []byte {
	switch {
	case e.Divergence != nil:
		return AppendDivergenceJSON(dst, e.Divergence)
	case e.Compensation != nil:
		return AppendCompensationJSON(dst, e.Compensation)
	case e.Outcome != nil:
		return AppendOutcomeJSON(dst, e.Outcome)
	case e.Decision != nil:
		return AppendDecisionJSON(dst, e.Decision)
	}
	panic("schemas: AppendEventJSON of an event that is nothing")
}

// ParseEventJSON reads an event of any kind, as a topic that holds several
// needs; also one in a Schema Registry's wire format. An error is a *DecodeError. It does not keep the line.
func ParseEventJSON(line []byte) (*Event, error) {
	e, err := parseEvent("", line)
	if err != nil {
		return nil, decodeError(line, "%s", err)
	}
	return e, nil
}

// parseEventOf reads an event of one kind. After an error the event is empty.
func parseEventOf(kind string, line []byte) (*Event, error) {
	e, err := parseEvent(kind, line)
	if err != nil {
		return new(Event), decodeError(line, "%s", err)
	}
	return e, nil
}

// parseEvent reads an event of the kind that is wanted, "" for any.
func parseEvent(want string, line []byte) (*Event, error) {
	if len(line) > MaxRecordBytes {
		return nil, fmt.Errorf("more than %d bytes", MaxRecordBytes)
	}
	r := jsonReader{src: string(Unframed(line))}
	kind := r.kind()
	if want != "" && kind != want {
		r.fail("kind %q: want %s", kind, want)
	}
	var e Event
	switch kind {
	case "divergence":
		e.Divergence = r.divergence()
	case "compensation":
		e.Compensation = r.compensation()
	case "outcome":
		e.Outcome = r.outcome()
	case "decision":
		e.Decision = r.decision()
	default:
		r.fail("kind %q: want divergence, compensation, outcome or decision", kind)
	}
	r.end()
	if r.problem != nil {
		return nil, r.problem
	}
	if err := checkEvent(&e); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return &e, nil
}

// frameBytes is what a Schema Registry's wire format puts before a value: a zero byte, and the schema's number.
const frameBytes = 5

// Unframed returns the JSON of a message's value: without what a Schema Registry's wire format puts before it.
func Unframed(value []byte) []byte {
	if len(value) > frameBytes && value[0] == 0 {
		return value[frameBytes:]
	}
	return value
}
