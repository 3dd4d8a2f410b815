package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every promise of the page names a test, and every test that it names is
// there, with its subtest; so has the zoo's list.
func TestPromisesHaveTheirTests(t *testing.T) {
	sources := map[string]string{}
	testsOf := func(pkg string) string {
		if _, ok := sources[pkg]; !ok {
			files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
			if err != nil || len(files) == 0 {
				t.Errorf("package %s has no tests: %v", pkg, err)
			}
			for _, f := range files {
				sources[pkg] += read(t, f)
			}
			sources[pkg] += "\n"
		}
		return sources[pkg]
	}
	row := regexp.MustCompile(`(?m)^\| ([IXZ][0-9]+) \| [^|]+ \| ([^|]*) \|$`)
	seen := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(read(t, "promises.md"), -1) {
		promise, named := m[1], 0
		if seen[promise] {
			t.Errorf("%s stands there twice", promise)
		}
		seen[promise] = true
		for part := range strings.SplitSeq(m[2], ", ") {
			words := strings.Fields(part)
			pkg := strings.Trim(words[0], "`")
			for _, name := range words[1:] {
				named++
				test, sub, hasSub := strings.Cut(name, "/")
				if !strings.Contains(testsOf(pkg), "\nfunc "+test+"(t *testing.T)") {
					t.Errorf("%s: %s has no %s", promise, pkg, test)
				}
				if hasSub && !strings.Contains(testsOf(pkg), `"`+sub+`"`) {
					t.Errorf("%s: %s of %s has no subtest %s", promise, test, pkg, sub)
				}
			}
		}
		if named == 0 {
			t.Errorf("%s names no test", promise)
		}
	}
	// None is left out silently.
	page := read(t, "promises.md")
	_, later, _ := strings.Cut(page, "Numbers of promises that nothing is built for yet: ")
	later, _, _ = strings.Cut(later, ",")
	for letter, count := range map[string]int{"I": 40, "X": 13, "Z": 12} {
		for n := range count {
			name := fmt.Sprint(letter, n+1)
			if waits := slices.Contains(strings.Fields(later), name); waits == seen[name] {
				t.Errorf("%s: want it in one place, a row or what is not built yet", name)
			}
		}
	}
	script, err := os.ReadFile("../scripts/zoo")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^z([0-9]+) `).FindAllStringSubmatch(string(script), -1) {
		if !seen["Z"+m[1]] {
			t.Errorf("scripts/zoo has bug z%s, the page has not", m[1])
		}
	}
}
