// Package analysis reports what would make a package's answers depend on
// anything but its input, so that replaying the same log gives the same verdicts,
// byte for byte:
//
//   - goroutines, channels and select: the scheduler decides their order
//   - functions of time that read the clock, or wait on it
//   - anything of math/rand, crypto/rand, os, net, os/exec, log, unsafe, sync
//   - ranging over a map, and the iterators of package maps: their order differs
//     from run to run
//
// A range over a map passes if its body only deletes from that map or gathers
// what the function sorts afterwards, and if a comment on its line, or the one
// above, says why order does not matter:
//
//	// any order: each key is written under its own name
//
// Tests are not looked at.
package analysis

import (
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Analyzer is the check.
var Analyzer = &analysis.Analyzer{
	Name: "purecore",
	Doc:  "report what makes a package's answers depend on anything but its input",
	Run:  run,
}

// forbidden are packages, each with why it has no place in a pure core.
var forbidden = map[string]string{
	"math/rand":    "chance differs from run to run",
	"math/rand/v2": "chance differs from run to run",
	"crypto/rand":  "chance differs from run to run",
	"os":           "the core does no I/O",
	"os/exec":      "the core does no I/O",
	"net":          "the core does no I/O",
	"net/http":     "the core does no I/O",
	"log":          "the core does no I/O",
	"sync":         "the core has no goroutines to keep apart",
	"sync/atomic":  "the core has no goroutines to keep apart",
	"unsafe":       "addresses differ from run to run",
}

// clock are the functions of package time that read the clock or wait on it.
var clock = map[string]bool{"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
	"Tick": true, "NewTicker": true, "NewTimer": true}

// unordered are the functions of package maps that yield in the map's order.
var unordered = map[string]bool{"Keys": true, "Values": true, "All": true}

const excuse = "any order: "

func run(pass *analysis.Pass) (any, error) {
	for _, file := range pass.Files {
		if strings.HasSuffix(pass.Fset.Position(file.Package).Filename, "_test.go") {
			continue
		}
		c := check{pass: pass, excused: excusedLines(pass.Fset, file)}
		c.imports(file)
		for _, decl := range file.Decls {
			c.decl(decl)
		}
	}
	return nil, nil
}

// excusedLines are the lines that a comment gives an excuse for: its own, where it
// stands behind code, and the one below.
func excusedLines(fset *token.FileSet, file *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range file.Comments {
		if text := group.Text(); strings.HasPrefix(text, excuse) && len(strings.TrimSpace(text)) > len(excuse) {
			lines[fset.Position(group.Pos()).Line] = true
			lines[fset.Position(group.End()).Line+1] = true
		}
	}
	return lines
}

type check struct {
	pass    *analysis.Pass
	excused map[int]bool
}

func (c check) imports(file *ast.File) {
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the compiler has more to say about it
		}
		if why, bad := forbidden[path]; bad {
			c.pass.Reportf(spec.Pos(), "import of %s: %s", path, why)
		}
	}
}

func (c check) decl(decl ast.Decl) {
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			c.pass.Reportf(n.Pos(), "go statement: the core starts no goroutine")
		case *ast.SelectStmt:
			c.pass.Reportf(n.Pos(), "select: the scheduler would decide")
		case *ast.ChanType:
			c.pass.Reportf(n.Pos(), "channel: the core is called, and waits for nothing")
		case *ast.SelectorExpr:
			c.selector(n, decl)
		case *ast.RangeStmt:
			c.ranging(n, decl)
		}
		return true
	})
}

func (c check) selector(s *ast.SelectorExpr, within ast.Decl) {
	f, ok := c.pass.TypesInfo.Uses[s.Sel].(*types.Func)
	if !ok || f.Pkg() == nil || f.Signature().Recv() != nil {
		return
	}
	switch path := f.Pkg().Path(); {
	case path == "time" && clock[f.Name()]:
		c.pass.Reportf(s.Pos(), "time.%s: time is data here; it comes with progress records", f.Name())
	case path == "maps" && unordered[f.Name()] && !c.sortedCall(s, within) && !c.isExcused(s):
		c.pass.Reportf(s.Pos(), "maps.%s yields in an order that differs from run to run: sort it at once (slices.Sorted), or say %q and why",
			f.Name(), "// "+excuse+"…")
	}
}

func (c check) ranging(r *ast.RangeStmt, within ast.Decl) {
	t := c.pass.TypesInfo.TypeOf(r.X)
	if t == nil {
		return
	}
	if _, isMap := t.Underlying().(*types.Map); !isMap || c.isExcused(r) || c.harmless(r, r.Body.List, within) {
		return
	}
	if r.Key == nil { // only counts
		return
	}
	c.pass.Reportf(r.Pos(), "range over a map: its order differs from run to run; sort the keys, or say %q and why", "// "+excuse+"…")
}

func (c check) isExcused(n ast.Node) bool { return c.excused[c.pass.Fset.Position(n.Pos()).Line] }
