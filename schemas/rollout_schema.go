package schemas

import (
	_ "embed"
	"slices"
)

//go:embed rollout.schema.json
var rolloutSchema []byte

// RolloutSchemaJSON returns the JSON Schema (draft 2020-12) of a rollout's file, for
// editors and other programs.
func RolloutSchemaJSON() []byte { return slices.Clone(rolloutSchema) }
