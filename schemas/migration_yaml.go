package schemas

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on the YAML that is looked at; nobody's file comes near them. The
// parser's time grows with the square of the entries of one mapping.
const (
	maxYAMLTokens  = 300_000
	maxYAMLEntries = 5_000
	maxYAMLNesting = 50
)

// nodeKind is what stands at a place of the file.
type nodeKind uint8

const (
	kindMapping nodeKind = iota
	kindList
	kindText
	kindWhole  // a decimal whole number
	kindNumber // another number
	kindBoolean
	kindNothing
	kindRefused // an error has been given already
)

var kindNames = [...]string{kindMapping: "a mapping", kindList: "a list", kindText: "a text", kindWhole: "a number",
	kindNumber: "a number", kindBoolean: "true or false", kindNothing: "nothing", kindRefused: "something refused"}

// configNode is a value of the file and where it stands.
type configNode struct {
	kind         nodeKind
	line, column int
	text         string // of a scalar, as it is written
	textLine     int    // where the text begins, behind a quote or below a |
	textColumn   int
	entries      []configEntry
	items        []*configNode
}

type configEntry struct {
	name         string
	line, column int
	value        *configNode
}

// get returns the value of an entry, nil if there is none.
func (n *configNode) get(name string) *configNode {
	for i := range n.entries {
		if n.entries[i].name == name {
			return n.entries[i].value
		}
	}
	return nil
}

// describe says what stands there, for an error.
func (n *configNode) describe() string {
	switch n.kind {
	case kindText, kindWhole, kindNumber, kindBoolean:
		return shown(n.text)
	case kindMapping, kindList:
		if len(n.entries)+len(n.items) == 0 {
			return "an empty " + strings.TrimPrefix(kindNames[n.kind], "a ")
		}
	}
	return kindNames[n.kind]
}

// configReader reads the file and collects what is wrong.
type configReader struct {
	file  string
	noun  string // what the file is of, for an error
	errs  ConfigErrors
	later []func() // checks that need what stands further down
}

func (r *configReader) failAt(line, column int, path, format string, args ...any) {
	r.errs = append(r.errs, &ConfigError{File: r.file, Line: line, Column: column, Path: path, Problem: fmt.Sprintf(format, args...)})
}

func (r *configReader) fail(n *configNode, path, format string, args ...any) {
	if n.kind != kindRefused {
		r.failAt(n.line, n.column, path, format, args...)
	}
}

// parse reads YAML; nil if it cannot be understood.
func (r *configReader) parse(src []byte) *configNode {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	switch {
	case len(src) > maxMigrationBytes:
		r.failAt(1, 1, "", "the file is larger than %d MiB", maxMigrationBytes>>20)
	case !utf8.Valid(src):
		line, column := placeOf(src, invalidAt(src))
		r.failAt(line, column, "", "not UTF-8")
	case bytes.IndexByte(src, 0) >= 0:
		line, column := placeOf(src, bytes.IndexByte(src, 0))
		r.failAt(line, column, "", "a NUL character")
	default:
		return r.parseText(string(src))
	}
	return nil
}

func invalidAt(src []byte) int {
	for i := 0; ; {
		c, size := utf8.DecodeRune(src[i:])
		if c == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
}

func placeOf(src []byte, offset int) (line, column int) {
	before := src[:offset]
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

// parseText turns a YAML text into nodes. It never lets a panic of the parser
// out.
func (r *configReader) parseText(src string) (root *configNode) {
	defer func() {
		if recover() != nil {
			r.failAt(1, 1, "", "the file cannot be read as YAML")
			root = nil
		}
	}()
	tokens := lexer.Tokenize(src)
	if r.checkTokens(tokens); len(r.errs) > 0 {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(src, err)
		return nil
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case root == nil:
			root = r.node(doc.Body, 0)
		default:
			at := doc.Body.GetToken().Position
			r.failAt(at.Line, at.Column, "", "a second document: want one %s in a file", r.noun)
		}
	}
	if root == nil {
		r.failAt(1, 1, "", "the file is empty: want a %s", r.noun)
	}
	return root
}

func (r *configReader) syntax(src string, err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) || syntax.GetToken() == nil {
		r.failAt(1, 1, "", "the file cannot be read as YAML")
		return
	}
	at := syntax.GetToken().Position
	if line := nthLine(src, at.Line); strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
		r.failAt(at.Line, at.Column, "", "not YAML: a tab: write spaces, which is what YAML is indented with")
		return
	}
	// The message alone: the whole error quotes the file, which may hold a secret.
	r.failAt(at.Line, at.Column, "", "not YAML: %s", syntax.GetMessage())
}

// nthLine is a line of a text, "" if it has fewer.
func nthLine(text string, n int) string {
	for line := range strings.Lines(text) {
		if n--; n == 0 {
			return line
		}
	}
	return ""
}

// maxRefusals bounds how often the same refusal is repeated.
const maxRefusals = 20

// checkTokens refuses what makes a file say more than it shows, and what would
// take the parser too long.
func (r *configReader) checkTokens(tokens token.Tokens) {
	if len(tokens) > maxYAMLTokens {
		r.failAt(1, 1, "", "the file has more than %d words and signs: want less in one %s", maxYAMLTokens, r.noun)
		return
	}
	var depth yamlDepth
	for _, t := range tokens {
		at := t.Position
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			r.failAt(at.Line, at.Column, "", "anchors, aliases and merges are not used here: write the value out")
		case token.TagType, token.DirectiveType:
			r.failAt(at.Line, at.Column, "", "tags and directives are not used here")
		}
		if problem := depth.next(t); problem != "" {
			r.failAt(at.Line, at.Column, "", "%s", problem)
			return
		}
		if len(r.errs) == maxRefusals {
			return
		}
	}
}

// yamlDepth follows how deep and how wide a file is.
type yamlDepth struct {
	flow    int         // brackets and braces that are open
	run     int         // dashes and question marks one after the other
	entries map[int]int // of the block mappings that are open, by column
}

func (d *yamlDepth) next(t *token.Token) (problem string) {
	d.run++
	switch t.Type {
	case token.SequenceStartType, token.MappingStartType:
		d.flow++
	case token.SequenceEndType, token.MappingEndType:
		d.flow--
	}
	if t.Type != token.SequenceEntryType && t.Type != token.MappingKeyType {
		d.run = 0
	}
	if t.Type == token.MappingValueType && t.Prev != nil && d.flow == 0 {
		if d.entry(t.Prev.Position.Column) > maxYAMLEntries {
			return fmt.Sprintf("more than %d entries in one mapping", maxYAMLEntries)
		}
	}
	if d.flow > maxYAMLNesting || d.run > maxYAMLNesting || len(d.entries) > maxYAMLNesting {
		return fmt.Sprintf("nested more than %d deep", maxYAMLNesting)
	}
	return ""
}

// entry counts an entry of the mapping that begins at a column.
func (d *yamlDepth) entry(column int) int {
	if d.entries == nil {
		d.entries = map[int]int{}
	}
	for c := range d.entries {
		if c > column {
			delete(d.entries, c)
		}
	}
	d.entries[column]++
	return d.entries[column]
}

// node turns a node of the parser into ours.
func (r *configReader) node(n ast.Node, depth int) *configNode {
	at := n.GetToken().Position
	out := &configNode{line: at.Line, column: at.Column, text: n.GetToken().Value}
	if depth > maxYAMLNesting {
		r.fail(out, "", "nested more than %d deep", maxYAMLNesting)
		out.kind = kindRefused
		return out
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		r.entries(out, n.Values, depth)
	case *ast.MappingValueNode:
		r.entries(out, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.kind = kindList
		for _, item := range n.Values {
			out.items = append(out.items, r.node(item, depth+1))
		}
	case *ast.StringNode:
		out.kind, out.text = kindText, n.Value
		out.textLine, out.textColumn = at.Line, at.Column
		if n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType {
			out.textColumn++
		}
	case *ast.LiteralNode:
		out.kind, out.text = kindText, n.Value.Value
		out.textLine, out.textColumn = at.Line+1, indentOf(n.Value.GetToken().Origin)-indentOf(n.Value.Value)+1
	case *ast.IntegerNode:
		out.kind = kindNumber
		if n.Token.Type == token.IntegerType {
			out.kind = kindWhole
		}
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.kind = kindNumber
	case *ast.BoolNode:
		out.kind = kindBoolean
	case *ast.NullNode:
		out.kind = kindNothing
	default:
		r.fail(out, "", "not understood here")
		out.kind = kindRefused
	}
	return out
}

// indentOf counts the spaces before the first word of a text.
func indentOf(text string) int {
	text = strings.TrimLeft(text, "\r\n")
	return len(text) - len(strings.TrimLeft(text, " "))
}

func (r *configReader) entries(out *configNode, values []*ast.MappingValueNode, depth int) {
	out.kind = kindMapping
	for i, v := range values {
		at := v.Key.GetToken().Position
		if i == 0 {
			out.line, out.column = at.Line, at.Column
		}
		name, ok := v.Key.(*ast.StringNode)
		if !ok {
			r.failAt(at.Line, at.Column, "", "a key that is no text: put it in quotes")
			continue
		}
		out.entries = append(out.entries, configEntry{name: name.Value, line: at.Line, column: at.Column, value: r.node(v.Value, depth+1)})
	}
}

// place is where the character at a line and column, from 0, of a text stands
// in the file. In a quoted text with escapes it is near.
func (n *configNode) place(line, column int) (int, int) {
	return n.textLine + line, n.textColumn + column
}
