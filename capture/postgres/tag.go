package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/trueup-io/trueup/schemas"
)

// tagPrefix is the prefix of the transactional messages in which a writer says
// what its transaction is:
//
//	select pg_logical_emit_message(true, 'trueup', '{"write_id":"w-1","traceparent":"00-…"}')
const tagPrefix = "trueup"

// tagBytesMax bounds a tag; no trace needs more.
const tagBytesMax = 16 << 10

// parseTag reads a JSON object of strings by the names of the JSON form's tag.
// Other fields are ignored; a field said twice is an error.
func parseTag(content string) (tag schemas.Tag, err error) {
	if len(content) > tagBytesMax {
		return tag, fmt.Errorf("tag of %d bytes: the limit is %d", len(content), tagBytesMax)
	}
	fields := map[string]*string{
		"write_id": &tag.WriteID, "traceparent": &tag.Traceparent, "flag_epoch": &tag.FlagEpoch,
		"compensation_id": &tag.CompensationID, "service": &tag.Service,
	}
	d := json.NewDecoder(bytes.NewReader([]byte(content)))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return tag, errors.New("tag: want a JSON object")
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return schemas.Tag{}, fmt.Errorf("tag: %w", err)
		}
		name := token.(string) // a JSON object's keys are
		into, known := fields[name]
		switch {
		case !known:
			err = d.Decode(new(json.RawMessage))
		case into == nil:
			err = errors.New("said twice")
		default:
			fields[name] = nil
			err = d.Decode(into)
		}
		if err != nil {
			return schemas.Tag{}, fmt.Errorf("tag: %s: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return schemas.Tag{}, fmt.Errorf("tag: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return schemas.Tag{}, errors.New("tag: more than a JSON object")
	}
	return tag, nil
}
