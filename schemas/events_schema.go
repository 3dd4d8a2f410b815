package schemas

import (
	_ "embed" // the schema
	"slices"
)

//go:embed events.schema.json
var eventsSchema []byte

// EventsSchemaJSON returns the JSON Schema (draft 2020-12) of the events on topics, with a definition for each form.
func EventsSchemaJSON() []byte { return slices.Clone(eventsSchema) }
