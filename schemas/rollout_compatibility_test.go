package schemas

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is due before a step is what its file says for that stage and for earlier ones.
func TestRolloutDue(t *testing.T) {
	r, err := LoadRollout("testdata/rollout/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tables, api, users, window := CompatibilityCheck{CheckSchemas, ""}, CompatibilityCheck{CheckContract, "orders-api"},
		CompatibilityCheck{CheckConsumers, "orders-api"}, CompatibilityCheck{CheckWindow, ""}
	for stage, want := range map[RolloutStage][]CompatibilityCheck{
		StageOff: nil, StageShadow: {tables}, StageShadowRead: {tables}, StageRamp: {tables, api}, StageTargetPrimary: {tables, api},
		StageComplete: {tables, api, users, window},
	} {
		if diff := cmp.Diff(want, r.Due(stage)); diff != "" {
			t.Errorf("%s: %s", stage, diff)
		}
	}
	if have := r.Compatibility.Documents(); !cmp.Equal(have, []string{"api/orders-v1.yaml", "api/orders-v2.yaml"}) {
		t.Errorf("have %v", have)
	}
}

func TestConsumersSupports(t *testing.T) {
	c := ConsumersCheck{Supported: []string{"2", "3.*"}}
	for version, want := range map[string]bool{"2": true, "3.": true, "3.14": true, "3": false, "1": false, "20": false, "": false, "x3.1": false} {
		if c.Supports(version) != want {
			t.Errorf("%q: want %v", version, want)
		}
	}
}

// A window has its first moments, and a migration's file can have one.
func TestDeprecationPhases(t *testing.T) {
	m, err := ParseMigration([]byte(strings.Replace(contractMigration, "entities:", `deprecation: {what: x, deprecated: 2026-12-01, sunset: 2027-06-01, replacement: y}
entities:`, 1)), "m.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Phase{"2026-11-30T23:59:59Z": Announced, "2026-12-01T00:00:00Z": Deprecated, "2026-12-01T00:30:00+01:00": Announced,
		"2027-05-31T23:59:59Z": Deprecated, "2027-06-01T00:00:00Z": Sunset} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		if have := m.Deprecation.Phase(at); have != want {
			t.Errorf("%s: have %s, want %s", text, have, want)
		}
	}
	if _, err := ParseMigration([]byte(strings.Replace(contractMigration, "entities:", "deprecation: {what: x, deprecated: 2026-12-01}\nentities:", 1)), "m.yaml"); err == nil ||
		!strings.Contains(err.Error(), "deprecation.sunset: missing: want the first day on which it may be gone") {
		t.Errorf("have %v", err)
	}
}
