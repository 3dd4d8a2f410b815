package schemas

import (
	_ "embed"
	"slices"
)

//go:embed migration.schema.json
var migrationSchema []byte

// SchemaJSON returns the JSON Schema (draft 2020-12) of migration.yaml, for
// editors and other programs.
func SchemaJSON() []byte { return slices.Clone(migrationSchema) }
