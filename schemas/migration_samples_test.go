package schemas

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var updateSamples = flag.Bool("update", false, "write the errors of testdata/migration/bad as they are now")

func samples(t *testing.T, kind string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "migration", kind, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	return paths
}

func TestGoodMigrations(t *testing.T) {
	for _, path := range samples(t, "good") {
		if _, err := LoadMigration(path); err != nil {
			t.Errorf("%s:\n%v", path, err)
		}
	}
}

// "All errors at once, with line and column, no secret printed": the bad
// samples and what is said of them stand side by side in testdata.
func TestBadInput23And24_MigrationErrors(t *testing.T) {
	for _, path := range samples(t, "bad") {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseMigration(src, filepath.Base(path))
		if err == nil || m != nil {
			t.Errorf("%s is accepted", path)
			continue
		}
		var all ConfigErrors
		if !errors.As(err, &all) || len(all) == 0 || len(all) != len(all.Unwrap()) {
			t.Errorf("%s: %T is no list of errors", path, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the errors show the secret:\n%v", path, err)
		}
		golden := strings.TrimSuffix(path, ".yaml") + ".errors"
		got := err.Error() + "\n"
		if *updateSamples {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v; the errors are\n%swant\n%s", path, err, got, want)
		}
	}
}

func migrationValidator(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(SchemaJSON()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("migration.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("migration.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The published schema accepts and refuses what Trueup does; where only Trueup
// can see what is wrong, the sample's first line says so.
func TestSchemaAgreesWithTheParser(t *testing.T) {
	schema := migrationValidator(t)
	validate := func(path string) error {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := yaml.UnmarshalWithOptions(src, &doc, yaml.AllowDuplicateMapKey()); err != nil {
			return err
		}
		return schema.Validate(doc)
	}
	for _, path := range samples(t, "good") {
		if err := validate(path); err != nil {
			t.Errorf("%s is refused by the schema: %v", path, err)
		}
	}
	for _, path := range samples(t, "bad") {
		src, _ := os.ReadFile(path)
		accepts := bytes.HasPrefix(src, []byte("# schema accepts: "))
		if accepts && bytes.Contains(src, []byte("\na: &a")) {
			continue // no migration, and nothing to unfold
		}
		if err := validate(path); (err == nil) != accepts {
			t.Errorf("%s: the schema says %v", path, err)
		}
	}
}
