package schemas

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func rolloutValidator(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(RolloutSchemaJSON()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("rollout.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("rollout.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The published schema accepts what Trueup does, and refuses what it refuses but for
// what only Trueup can see: one thing is changed in a good file at a time.
func TestRolloutSchemaAgreesWithTheParser(t *testing.T) {
	schema := rolloutValidator(t)
	src, err := os.ReadFile("testdata/rollout/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	agree := func(old, changed string, good bool) {
		t.Helper()
		text := string(src)
		if old != "" {
			if strings.Count(text, old) != 1 {
				t.Fatalf("%q does not stand once in the file", old)
			}
			text = strings.Replace(text, old, changed, 1)
		}
		var doc any
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		says := schema.Validate(doc)
		_, reads := ParseRollout([]byte(text), "r.yaml")
		if (says == nil) != good || (reads == nil) != good {
			t.Errorf("%q for %q: the schema says %v, the parser %v", changed, old, says, reads)
		}
	}
	agree("", "", true)
	for _, c := range [][2]string{
		{"ramp: 12.5%", "ramp: 100%"}, {"ramp: 12.5%", "ramp: 0.001%"}, {"ramp: 12.5%", "ramp: 007%"}, {"confidence: 99%", "confidence: 50.1%"},
		{"[1h, 5m]       #", "[1h, 5m, 1m]  #"}, {`to: "15:00"`, `to: "24:00"`}, {"days: [mon, tue, wed, thu]", "days: fri"}, {"intent: temporary", "lifecycle: active\nintent: temporary"},
		{"intent: temporary             # or permanent, which has no expires\nexpires: 2027-06-30", "intent: permanent"}, {"to: dual_write", "to: off"},
		{"{before: shadow}", "{}"}, {"old: api/orders-v1.yaml", "old: ../api/orders-v1.yaml"}, {"unseenFor: 14d ", "unseenFor: 1h "},
	} {
		agree(c[0], c[1], true)
	}
	for _, c := range [][2]string{
		{"apiVersion: trueup/v1", "apiVersion: trueup/v2"}, {"kind: Rollout", "kind: Migration"}, {"name: orders-to-mariadb", "name: Orders"},
		{"  owner: team-orders\n", ""}, {"controls: routing", "controls: rooting"}, {"expires: 2027-06-30", "expires: soon"},
		{"expires: 2027-06-30", "expired: 2027-06-30"}, {"intent: temporary", "intent: permanent"}, {"stage: ramp", "stage: dual_write"},
		{"stage: ramp", "stage: full"}, {"ramp: 12.5%", "ramp: 101%"}, {"ramp: 12.5%", "ramp: 12.5"}, {"ramp: 12.5%", "ramp: 12.5555%"},
		{"safeStage: shadow_read", "safeStage: ramp"}, {`legacy: ["4711"]`, `legacy: [4711]`}, {`legacy: ["4711"]`, `legacy: [[]]`}, {`legacy: ["4711"]`, `both: ["4711"]`},
		{"minSamples: 10000", "minSamples: 0"}, {"window: 1h ", "window: 0s "}, {"window: 15m", "window: 15"}, {"confidence: 99%", "confidence: 50%"},
		{"confidence: 99%", "confidence: 100%"}, {"      maxLag: 30s", "      maxLags: 30s"}, {"cooldown: 1h", "cooldown: long"}, {"maxLost: 1000", "maxLost: -1"}, {"maxLost: 1000", "maxLost: many"}, {"windows: [1m]", "windows: []"},
		{"to: dual_write", "to: ramp"}, {"ramp: 1, target_primary", "off: 1, target_primary"}, {"ramp: 1, target_primary", "ramp: 11, target_primary"},
		{"days: [mon, tue, wed, thu]", "days: [monday]"}, {"days: [mon, tue, wed, thu]", "days: [mon, mon]"}, {`from: "08:00"`, `from: "8:00"`}, {`to: "15:00"`, `to: "25:00"`},
		{", why: the holidays", ""}, {"approvalsLast: 12h", "approvalsLast: 0h"},
		{"{before: shadow}", "{before: off}"}, {"{before: shadow}", "{after: shadow}"}, {"old: api/orders-v1.yaml", "old: /api/orders-v1.yaml"}, {"old: api/orders-v1.yaml, ", ""},
		{`supported: ["2", "3.*"]`, "supported: []"}, {`supported: ["2", "3.*"]`, `supported: ["*"]`}, {`supported: ["2", "3.*"]`, `supported: ["2", "2"]`}, {"unseenFor: 14d ", "unseenFor: 0d "},
		{"  deprecated: 2026-12-01 ", "  deprecated: soon "}, {"  sunset: 2027-06-01 ", "  sun: 2027-06-01 "}, {"  what: orders in PostgreSQL\n", ""}, {"link: https:", "link: ftp:"},
		{"//docs.example", "//me:pw@docs.example"},
	} {
		agree(c[0], c[1], false)
	}
	bad, err := os.ReadFile("testdata/rollout/bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.UnmarshalWithOptions(bad, &doc, yaml.AllowDuplicateMapKey()); err == nil && schema.Validate(doc) == nil {
		t.Error("the schema accepts the bad file")
	}
}
