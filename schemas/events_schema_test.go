package schemas

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

func compileEventsSchema(t *testing.T, fragment string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(EventsSchemaJSON()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(EventSchemaURI, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(EventSchemaURI + fragment)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Whatever the codec can write, the published schema takes: as an event, and
// as the definition that the envelope's dataschema names.
func TestEventsAreOfTheirSchema(t *testing.T) {
	whole := compileEventsSchema(t, "")
	forms := map[string]*jsonschema.Schema{}
	for _, form := range []string{"divergence", "compensation", "outcome", "decision"} {
		forms[form] = compileEventsSchema(t, "#/$defs/"+form)
	}
	check := func(t interface{ Fatalf(string, ...any) }, e *Event) {
		line := AppendEventJSON(nil, e)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		envelope := CloudEventOf(nil, e)
		_, form, _ := strings.Cut(envelope.DataSchema, "#/$defs/")
		for name, s := range forms {
			if err := s.Validate(doc); (err == nil) != (name == form) {
				t.Fatalf("%s as %s: %v", line, name, err)
			}
		}
		if err := whole.Validate(doc); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	for _, e := range exampleEvents() {
		check(t, e)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, genEvent(t)) })
}

// The schema knows the fields that the codec knows, and wants those that it
// wants.
func TestEventsSchemaHasTheCodecsFields(t *testing.T) {
	var doc struct {
		Defs map[string]struct {
			Required   []string                   `json:"required"`
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(EventsSchemaJSON(), &doc); err != nil {
		t.Fatal(err)
	}
	for form, set := range map[string]*fieldSet{"divergence": divergenceFields, "compensation": compensationFields, "outcome": outcomeFields,
		"decision": decisionFields, "evidence": evidenceFields, "tag": tagFields, "place": rowPlaceFields, "eventID": eventIDFields} {
		def := doc.Defs[form]
		if len(def.Properties) != len(set.names) {
			t.Errorf("%s has %d fields in the schema, %d in the codec", form, len(def.Properties), len(set.names))
		}
		for i, name := range set.names {
			if def.Properties[name] == nil {
				t.Errorf("%s: the schema lacks %s", form, name)
			}
			if required := set.required&(1<<i) != 0; required != slices.Contains(def.Required, name) {
				t.Errorf("%s.%s: required by the codec: %t, by the schema otherwise", form, name, required)
			}
		}
	}
	enum := func(form, field string) (words []string) {
		var p struct{ Enum []string }
		if err := json.Unmarshal(doc.Defs[form].Properties[field], &p); err != nil {
			t.Error(err)
		}
		return p.Enum
	}
	if got := enum("divergence", "verdict"); !slices.Equal(got, textsOf(Kinds)) {
		t.Errorf("verdicts are %v", got)
	}
	if got := enum("outcome", "result"); !slices.Equal(got, textsOf(Results)) {
		t.Errorf("results are %v", got)
	}
}
