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

// CloudEvent is the envelope of an event: the context attributes of CloudEvents 1.0, and extensions by which events are
// routed without reading them.
type CloudEvent struct {
	// ID is the same whenever the event is written: id/sequence of a divergence and of a compensation,
	// compensation/result of an outcome. Readers drop repeats by it.
	ID      string
	Type    string // io.trueup.divergence.opened.v1
	Source  string // /trueup/ and the migration
	Subject string // entity/key, each part percent-encoded, so that no key can look like another; may be empty
	Time    Micros
	// DataSchema is the URI of the JSON Schema of the event's form.
	DataSchema string

	Entity   string // empty for decisions
	Verdict  Kind   // of divergences only
	Severity Severity
	Owner    string // may be empty
}

// EventSchemaURI is where the JSON Schema of events is published; a fragment names the definition of one.
const EventSchemaURI = "https://raw.githubusercontent.com/trueup-io/trueup/main/schemas/events.schema.json"

// CloudEventOf returns the envelope of e under rules; without rules (nil) it has the migration's name and owner empty.
func CloudEventOf(rules *Rules, e *Event) CloudEvent {
	c := CloudEvent{Severity: rules.SeverityOf(e)}
	var kind string
	c.ID, kind, c.Subject, c.Time = cloudEvent(e)
	c.DataSchema = EventSchemaURI + "#/$defs/" + e.form()
	c.Type = "io.trueup." + kind + ".v1"
	c.Source = "/trueup/"
	if rules != nil {
		c.Source += url.PathEscape(rules.Migration)
	}
	switch {
	case e.Divergence != nil:
		c.Entity, c.Verdict = e.Divergence.Entity, e.Divergence.Verdict
	case e.Compensation != nil:
		c.Entity = e.Compensation.Entity
	case e.Outcome != nil:
		c.Entity = e.Outcome.Entity
	}
	c.Owner = rules.OwnerOf(c.Entity)
	return c
}

// attributes gives fn the attributes that are not empty, in order. All are texts.
func (c *CloudEvent) attributes(fn func(name, value string)) {
	for _, a := range [...][2]string{
		{"specversion", "1.0"}, {"id", c.ID}, {"type", c.Type}, {"source", c.Source}, {"subject", c.Subject}, {"time", c.Time.String()},
		{"dataschema", c.DataSchema},
		{"entity", c.Entity}, {"verdict", string(c.Verdict)}, {"severity", string(c.Severity)}, {"owner", c.Owner},
	} {
		if a[1] != "" {
			fn(a[0], a[1])
		}
	}
}

// Headers returns the headers that make the event's JSON, as a message's value, a CloudEvent in the binary mode of its
// Kafka binding.
func (c *CloudEvent) Headers() []Header {
	headers := make([]Header, 0, 12)
	c.attributes(func(name, value string) { headers = append(headers, Header{"ce_" + name, []byte(value)}) })
	return append(headers, Header{"content-type", []byte("application/json")})
}

// AppendJSON appends the event in CloudEvents' structured mode, as one line: its attributes, and data, which is the
// event's JSON.
func (c *CloudEvent) AppendJSON(dst, data []byte) []byte {
	o := openObject(dst)
	c.attributes(func(name, value string) { o.text(name, value) })
	o.text("datacontenttype", "application/json")
	o.field("data")
	o.dst = append(o.dst, data...)
	return o.close()
}

// SetHeader takes what a header of a message says; other headers are passed over. It says whether the value could be used.
func (c *CloudEvent) SetHeader(key string, value []byte) bool {
	text := string(value)
	switch strings.ToLower(key) {
	case "ce_id":
		c.ID = text
	case "ce_type":
		c.Type = text
	case "ce_source":
		c.Source = text
	case "ce_subject":
		c.Subject = text
	case "ce_time":
		at, err := ParseMicros(text)
		if err != nil {
			return false
		}
		c.Time = at
	case "ce_dataschema":
		c.DataSchema = text
	case "ce_entity":
		c.Entity = text
	case "ce_verdict":
		c.Verdict = Kind(text)
	case "ce_severity":
		c.Severity = Severity(text)
	case "ce_owner":
		c.Owner = text
	}
	return true
}

// CloudEventHeaders returns the headers of e's envelope under rules.
func CloudEventHeaders(rules *Rules, e *Event) []Header {
	c := CloudEventOf(rules, e)
	return c.Headers()
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
	panic("schemas: the envelope of an event that is nothing")
}

// form is the kind that the event's JSON begins with.
func (e *Event) form() string {
	switch {
	case e.Divergence != nil:
		return "divergence"
	case e.Compensation != nil:
		return "compensation"
	case e.Outcome != nil:
		return "outcome"
	}
	return "decision"
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
