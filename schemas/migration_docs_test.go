package schemas

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// docsBlock returns the first block of a kind in a page of docs.
func docsBlock(t *testing.T, page, kind string) string {
	t.Helper()
	b, err := os.ReadFile("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "\n```"+kind+"\n")
	block, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !closed {
		t.Fatalf("%s has no block of %q", page, kind)
	}
	return block + "\n"
}

func TestDocumentedMigrationIsRead(t *testing.T) {
	documented := docsBlock(t, "migration-yaml.md", "yaml")
	if got, want := mustRules(t, documented).Definition, mustRules(t, contractMigration).Definition; got != want {
		t.Errorf("the documented migration is %s, the contract's is %s", got, want)
	}
}

func TestDocumentedDigestIsRight(t *testing.T) {
	yaml := strings.Replace(contractMigration, "note: ", "#", 1)
	e := mustRules(t, yaml).Entities()[0]
	img := e.Image(Legacy, row("id", "42", "state", "new", "amount", "10.50", "placed", "2026-11-23 10:00:00.123+00"))
	b, err := os.ReadFile("../docs/canonical-values.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"shape    " + hex.EncodeToString(e.shape[:]), "digest   " + hex.EncodeToString(img.Digest[:])} {
		if !strings.Contains(string(b), want+"\n") {
			t.Errorf("canonical-values.md does not say %s", want)
		}
	}
}

func TestEveryTypeIsDocumented(t *testing.T) {
	values, err := os.ReadFile("../docs/canonical-values.md")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("../docs/migration-yaml.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range canonicalVectors(t) {
		name, _, _ := strings.Cut(v.Type, "(")
		seen[name] = true
	}
	for _, name := range canonTypes {
		if !seen[name] {
			t.Errorf("%s has no vectors", name)
		}
		if !strings.Contains(string(values), name) || !strings.Contains(string(file), "`"+name+"`") {
			t.Errorf("%s is not documented", name)
		}
	}
}
