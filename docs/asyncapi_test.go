package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

const (
	asyncURL  = "file:///docs/asyncapi.yaml"
	eventsURL = "file:///schemas/events.schema.json"
)

func asyncAPI(t *testing.T) map[string]any {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(read(t, "asyncapi.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

// compiler knows the description and the schema of events.
func compiler(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	events, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemas.EventsSchemaJSON()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for url, doc := range map[string]any{asyncURL: asyncAPI(t), eventsURL: events} {
		if err := c.AddResource(url, doc); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// The description is of AsyncAPI 3, by its own schema, and every reference leads
// somewhere.
func TestAsyncAPI(t *testing.T) {
	b, err := os.ReadFile("testdata/asyncapi-3.0.0.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("asyncapi.json", spec); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("asyncapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc := asyncAPI(t)
	if err := schema.Validate(doc); err != nil {
		t.Fatalf("%#v", err)
	}
	var events map[string]any
	if err := json.Unmarshal(schemas.EventsSchemaJSON(), &events); err != nil {
		t.Fatal(err)
	}
	refs := 0
	var walk func(at any)
	walk = func(at any) {
		switch v := at.(type) {
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				refs++
				file, path, _ := strings.Cut(ref, "#")
				in := map[string]map[string]any{"": doc, "../schemas/events.schema.json": events}[file]
				if in == nil || !leads(in, path) {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, one := range v {
				walk(one)
			}
		}
	}
	walk(doc)
	if refs < 20 {
		t.Errorf("only %d references were found", refs)
	}
	names := stream.TopicsOf("migration")
	for channel, topic := range map[string]string{"divergences": names.Divergences, "compensations": names.Compensations, "outcomes": names.Outcomes} {
		address := doc["channels"].(map[string]any)[channel].(map[string]any)["address"].(string)
		if strings.ReplaceAll(address, "{migration}", "migration") != topic {
			t.Errorf("the address of %s is %s", channel, address)
		}
	}
}

func leads(doc map[string]any, path string) bool {
	at := any(doc)
	for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
		if part == "" {
			continue
		}
		m, ok := at.(map[string]any)
		if !ok {
			return false
		}
		if at, ok = m[part]; !ok {
			return false
		}
	}
	return true
}

// What Trueup writes is what is described: headers of each type, the structured
// mode, and no type that is not there.
func TestAsyncAPIDescribesWhatIsWritten(t *testing.T) {
	c := compiler(t)
	compile := func(url string) *jsonschema.Schema {
		s, err := c.Compile(url)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	headers, structured, kind := compile(asyncURL+"#/components/schemas/headers"), compile(asyncURL+"#/components/schemas/cloudEvent"), compile(asyncURL+"#/components/schemas/type")
	m, err := schemas.LoadMigration("../examples/orders/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	var all []*schemas.Event
	for _, stage := range []schemas.Stage{schemas.Opened, schemas.Updated, schemas.Closed} {
		for _, verdict := range schemas.Kinds {
			all = append(all, &schemas.Event{Divergence: &schemas.Divergence{ID: "d", Stage: stage, Verdict: verdict, Entity: "order", Key: []string{"a/b"}, Side: schemas.Legacy}})
		}
	}
	all = append(all, &schemas.Event{Compensation: &schemas.Compensation{ID: "c", Entity: "order", Key: []string{"1"}, Side: schemas.Target, Mode: "report",
		Statement: schemas.DeleteRow}})
	for _, result := range schemas.Results {
		all = append(all, &schemas.Event{Outcome: &schemas.Outcome{CompensationID: "c", Entity: "order", Result: result}})
	}
	for _, action := range []schemas.Action{schemas.Approve, schemas.Reject, schemas.Undo, schemas.Pause, schemas.Resume, schemas.Trip} {
		d := &schemas.Decision{Action: action, By: "ana"}
		switch action {
		case schemas.Approve, schemas.Reject, schemas.Undo:
			d.CompensationID = "c"
		case schemas.Trip:
			d.Scope = "order/rate"
		}
		all = append(all, &schemas.Event{Decision: d})
	}
	types := map[string]bool{}
	for _, e := range all {
		envelope := schemas.CloudEventOf(rules, e)
		types[envelope.Type] = true
		of := map[string]any{}
		for _, h := range envelope.Headers() {
			of[h.Key] = string(h.Value)
		}
		if err := headers.Validate(of); err != nil {
			t.Errorf("%s: headers: %#v", envelope.Type, err)
		}
		line := envelope.AppendJSON(nil, schemas.AppendEventJSON(nil, e))
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := structured.Validate(doc); err != nil {
			t.Errorf("%s: %#v", line, err)
		}
	}
	if got := len(kind.Enum.Values); got != len(types) {
		t.Errorf("%d types are described, %d are written", got, len(types))
	}
	for path, want := range map[string][]string{"verdict": texts(schemas.Kinds), "severity": texts(schemas.Severities)} {
		var got []string
		for _, v := range compile(asyncURL + "#/components/schemas/" + path).Enum.Values {
			got = append(got, fmt.Sprint(v))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is %v", path, got)
		}
	}
}

func texts[T ~string](words []T) (out []string) {
	for _, w := range words {
		out = append(out, string(w))
	}
	return out
}
