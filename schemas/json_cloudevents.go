package schemas

import (
	"fmt"
	"net/url"
	"strings"
)

// Header is a header of a message on a topic.
type Header struct {
	Key   string
	Value []byte
}

// CloudEventHeaders returns the headers that make the JSON of e, as a
// message's value, a CloudEvent 1.0 in the binary mode of its Kafka binding.
//
// The same event has the same id whenever it is written: id/sequence of a
// divergence and of a compensation, compensation/result of an outcome. The
// source is /trueup/ and the migration, the subject entity/key, each part
// percent-encoded, so that no key can look like another.
func CloudEventHeaders(migration string, e *Event) []Header {
	id, kind, subject, at := cloudEvent(e)
	headers := []Header{
		{"ce_specversion", []byte("1.0")},
		{"ce_id", []byte(id)},
		{"ce_type", []byte("io.trueup." + kind + ".v1")},
		{"ce_source", []byte("/trueup/" + url.PathEscape(migration))},
	}
	if subject != "" {
		headers = append(headers, Header{"ce_subject", []byte(subject)})
	}
	return append(headers,
		Header{"ce_time", []byte(at.String())},
		Header{"content-type", []byte("application/json")})
}

func cloudEvent(e *Event) (id, kind, subject string, at Micros) {
	switch {
	case e.Divergence != nil:
		d := e.Divergence
		return fmt.Sprintf("%s/%d", d.ID, d.Sequence), "divergence." + string(d.Stage), subjectOf(d.Entity, d.Key), d.At
	case e.Compensation != nil:
		c := e.Compensation
		return fmt.Sprintf("%s/%d", c.ID, c.Sequence), "compensation.planned", subjectOf(c.Entity, c.Key), c.CreatedAt
	case e.Outcome != nil:
		o := e.Outcome
		return o.CompensationID + "/" + string(o.Result), "compensation." + string(o.Result), subjectOf(o.Entity, o.Key), o.At
	case e.Decision != nil:
		// A person may decide the same again, after it was undone; so the time is part of the id.
		d := e.Decision
		id := fmt.Sprintf("%s/%s/%d", d.Action, d.CompensationID+d.Scope, int64(d.At))
		return id, "decision." + string(d.Action), url.PathEscape(d.CompensationID + d.Scope), d.At
	}
	panic("schemas: CloudEventHeaders of an event that is nothing")
}

func subjectOf(entity string, key []string) string {
	if entity == "" {
		return ""
	}
	var s strings.Builder
	s.WriteString(url.PathEscape(entity))
	for _, text := range key {
		s.WriteByte('/')
		s.WriteString(url.PathEscape(text))
	}
	return s.String()
}
