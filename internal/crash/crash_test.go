package crash

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Every site stands once in the code, and is listed; what is listed is there.
func TestSitesAreListed(t *testing.T) {
	found := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "../.." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, name := range sitesOf(t, path, file) {
			if was := found[name]; was != "" {
				t.Errorf("site %s stands in %s and in %s: a hit of it has to be one place", name, was, path)
			}
			found[name] = path
			if Sites[name] == "" {
				t.Errorf("%s: site %s is not listed", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range Sites {
		if found[name] == "" {
			t.Errorf("site %s is listed, and stands nowhere", name)
		}
	}
}

// sitesOf returns the names in a file's calls of crash.Site.
func sitesOf(t *testing.T, path string, file *ast.File) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Site" {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "crash" {
			return true
		}
		lit, ok := call.Args[0].(*ast.BasicLit)
		if !ok {
			t.Errorf("%s: a site's name has to be a literal", path)
			return true
		}
		name, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		names = append(names, name)
		return true
	})
	return names
}

// A build with the tag dies where it is told to, and lists what it came to; a
// normal build does neither.
func TestSitesKillOnlyWithTheTag(t *testing.T) {
	dir := t.TempDir()
	for tag, want := range map[string]struct{ out, hits string }{
		"":  {"0\n1\n2\n", ""},
		Tag: {"0\n1\n", strings.Repeat("capture.change_before_append\n", 2)},
	} {
		bin := filepath.Join(dir, "killed"+tag)
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tag, "-o", bin, "./testdata/killed").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		hits := filepath.Join(dir, "hits"+tag)
		cmd := exec.CommandContext(t.Context(), bin)
		cmd.Env = append(os.Environ(), KillAt+"=capture.change_before_append:2", HitsFile+"="+hits)
		var out bytes.Buffer
		cmd.Stdout = &out
		err := cmd.Run()
		if died := cmd.ProcessState.ExitCode() == -1; died != (tag != "") {
			t.Errorf("tag %q: %v", tag, err)
		}
		listed, _ := os.ReadFile(hits)
		if out.String() != want.out || string(listed) != want.hits {
			t.Errorf("tag %q: printed %q, listed %q", tag, out.String(), listed)
		}
	}
}
