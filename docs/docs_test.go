// Package docs holds the documents to the code: what README.md shows can be
// done, its tables are whole, and its links lead somewhere.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocks returns the fenced blocks of a language.
func blocks(text, language string) (found []string) {
	fence := "\n```" + language + "\n"
	for {
		_, rest, ok := strings.Cut(text, fence)
		if !ok {
			return found
		}
		block, after, _ := strings.Cut(rest, "\n```\n")
		found = append(found, block+"\n")
		text = after
	}
}

// The first migration.yaml is complete: it is the example's, and can be run.
func TestReadmeMigration(t *testing.T) {
	found := blocks(read(t, "../README.md"), "yaml")
	if len(found) != 1 {
		t.Fatalf("README.md has %d blocks of YAML", len(found))
	}
	if example := read(t, "../examples/orders/migration.yaml"); found[0] != example {
		t.Errorf("README.md shows\n%s\nexamples/orders/migration.yaml is\n%s", found[0], example)
	}
	m, err := schemas.ParseMigration([]byte(found[0]), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.RequireStores(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Rules(); err != nil {
		t.Fatal(err)
	}
}

// The tables of kinds and reasons have every one, in the order in which people
// list them.
func TestReadmeTables(t *testing.T) {
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(read(t, "../README.md"), -1) {
		rows = append(rows, m[1])
	}
	var want []string
	for _, k := range schemas.Kinds {
		want = append(want, string(k))
	}
	for _, r := range schemas.Reasons {
		want = append(want, string(r))
	}
	if !slices.Equal(rows, want) {
		t.Errorf("README.md explains %v, there are %v", rows, want)
	}
}

// pages lists the documents of the repository.
func pages(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "node_modules"):
			return fs.SkipDir
		case filepath.Ext(name) == ".md":
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 10 {
		t.Fatalf("only %v were found", paths)
	}
	return paths
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	links := 0
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(page), path)
			if path == "" {
				target = page
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", page, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s: %s has no heading for #%s", page, target, anchor)
			}
		}
	}
	if links == 0 {
		t.Error("no link was found")
	}
}

// anchors are the fragments that a page's headings get.
func anchors(text string) (found []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		words := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found = append(found, strings.ReplaceAll(words, " ", "-"))
	}
	return found
}

// Decisions are numbered, each number once; each is on one page with its context,
// decision and consequences, and the index has them all by their titles.
func TestDecisions(t *testing.T) {
	files, err := filepath.Glob("decisions/[0-9]*.md")
	if err != nil {
		t.Fatal(err)
	}
	index := read(t, "decisions/README.md")
	seen := map[int]string{}
	for _, path := range files {
		text := read(t, path)
		number, err := strconv.Atoi(filepath.Base(path)[:4])
		if err != nil || seen[number] != "" {
			t.Errorf("%s: want a number of four digits of its own (%v, also %s)", path, err, seen[number])
		}
		seen[number] = path
		prefix := fmt.Sprintf("# %d. ", number)
		title, _, _ := strings.Cut(strings.TrimPrefix(text, prefix), "\n")
		if !strings.HasPrefix(text, prefix) {
			t.Errorf("%s: want number %d in its title", path, number)
		}
		at := 0
		for _, part := range []string{"\n**Context.** ", "\n**Decision.** ", "\n**Consequences.**\n"} {
			next := strings.Index(text, part)
			if next < at || strings.Count(text, part) != 1 {
				t.Errorf("%s: %q is not there once, in its place", path, strings.TrimSpace(part))
			}
			at = next
		}
		if n := strings.Count(text, "\n"); n > 50 {
			t.Errorf("%s has %d lines: want one page", path, n)
		}
		if line := fmt.Sprintf("| [%d](%s) | %s |\n", number, filepath.Base(path), title); !strings.Contains(index, line) {
			t.Errorf("decisions/README.md has no line %s", line)
		}
	}
	if n := strings.Count(index, "\n| ["); n != len(files) || n == 0 {
		t.Errorf("the index has %d decisions, there are %d", n, len(files))
	}
}

// What the documents say to type, trueup understands: each command is there, with
// each flag that is named with it.
func TestCommandsAreThere(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "trueup")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "./cmd/trueup") // as the Makefile does
	build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	commands := commandsIn(t)
	if len(commands) < 10 {
		t.Fatalf("only %v were found", commands)
	}
	help := map[string]string{}
	for _, c := range commands {
		var words, flags []string
		for _, w := range strings.Fields(c.text) {
			switch {
			case strings.HasPrefix(w, "-") && w != "-":
				name, _, _ := strings.Cut(w, "=")
				flags = append(flags, name)
			case len(flags) == 0 && regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(w):
				words = append(words, w)
			}
		}
		path := strings.Join(words, " ")
		if words[1] == "help" {
			continue // cobra's own
		}
		if _, asked := help[path]; !asked {
			out, err := exec.CommandContext(t.Context(), binary, append(words[1:len(words):len(words)], "--help")...).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %s --help: %v\n%s", c.page, path, err, out)
			}
			help[path] = string(out)
		}
		if !regexp.MustCompile(`(?m)^  ` + path + `( |$)`).MatchString(help[path]) {
			t.Errorf("%s: there is no command %q", c.page, path)
		}
		for _, f := range flags {
			if !regexp.MustCompile(`(?m)^ .*` + f + `[ ,]`).MatchString(help[path]) {
				t.Errorf("%s: %q has no flag %s", c.page, path, f)
			}
		}
	}
}

type command struct{ page, text string }

// commandsIn finds commands in code, inline and in blocks. A pipe ends one.
func commandsIn(t *testing.T) (found []command) {
	t.Helper()
	inline := regexp.MustCompile("`(trueup\\s+[a-z][^`]*)`")
	line := regexp.MustCompile(`(?m)^\$ (trueup .*)$`)
	for _, page := range pages(t) {
		text := read(t, page)
		var all []string
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			all = append(all, strings.Join(strings.Fields(m[1]), " "))
		}
		for _, m := range line.FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		for _, c := range all {
			for part := range strings.SplitSeq(c, "|") {
				part, _, _ = strings.Cut(strings.TrimSpace(part), " >")
				if strings.HasPrefix(part, "trueup ") {
					found = append(found, command{page, part})
				}
			}
		}
	}
	return found
}
