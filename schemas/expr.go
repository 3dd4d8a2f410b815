package schemas

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// expression is a CEL expression over the columns of one side. A column is a
// variable of its own name, a string or null; columns["any name"] reaches
// those whose names are no CEL names.
type expression struct {
	text    string
	columns []string // the columns that it needs, in the order of their first use
	named   []string // those of them reached through the variable columns
	program cel.Program
}

const (
	// maxExpression bounds the length of an expression.
	maxExpression = 16 << 10
	// maxExpressionCost bounds the work of one evaluation, in CEL's units of about a comparison each.
	maxExpressionCost = 100_000_000
	// columnsVariable reaches columns by any name.
	columnsVariable = "columns"
)

// exprProblem is what is wrong with an expression, and where.
type exprProblem struct {
	line, column int // from 0, in the expression
	message      string
}

// compileExpression compiles an expression, or says everything that is wrong
// with it.
func compileExpression(text string) (*expression, []exprProblem) {
	if len(text) > maxExpression {
		return nil, []exprProblem{{message: fmt.Sprintf("longer than %d bytes", maxExpression)}}
	}
	env, err := cel.NewEnv(ext.Strings(ext.StringsVersion(4)), cel.ParserRecursionLimit(100), cel.DefaultUTCTimeZone(true))
	if err != nil {
		return nil, []exprProblem{{message: err.Error()}}
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil, exprProblems(issues)
	}
	x := &expression{text: text}
	options := x.variables(parsed.NativeRep().Expr())
	if problems := bareColumns(parsed.NativeRep()); problems != nil {
		return nil, problems
	}
	if len(x.columns) == 0 {
		return nil, []exprProblem{{message: "uses no column"}}
	}
	if env, err = env.Extend(options...); err != nil {
		return nil, []exprProblem{{message: err.Error()}}
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return nil, exprProblems(issues)
	}
	if result := checked.OutputType(); !isScalar(result) {
		return nil, []exprProblem{{message: fmt.Sprintf("gives %s: want a string, a number, a bool, bytes, a timestamp or null", result)}}
	}
	x.program, err = env.Program(checked, cel.CostLimit(maxExpressionCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, []exprProblem{{message: err.Error()}}
	}
	return x, nil
}

func exprProblems(issues *cel.Issues) []exprProblem {
	var problems []exprProblem
	for _, e := range issues.Errors() {
		message, _, _ := strings.Cut(e.Message, " expecting {") // a list of everything that CEL has
		problems = append(problems, exprProblem{line: max(e.Location.Line()-1, 0), column: max(e.Location.Column(), 0), message: message})
	}
	return problems
}

// variables collects the columns that an expression needs, and declares the
// variables that reach them.
func (x *expression) variables(root ast.Expr) []cel.EnvOption {
	column := cel.NullableType(cel.StringType)
	var options []cel.EnvOption
	bound := map[string]bool{columnsVariable: true}
	ast.PreOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.ComprehensionKind {
			c := e.AsComprehension()
			bound[c.IterVar()], bound[c.IterVar2()], bound[c.AccuVar()] = true, true, true
		}
	}))
	ast.PreOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			if name := e.AsIdent(); !bound[name] && !isTypeName(name) {
				bound[name] = true
				x.need(name)
				options = append(options, cel.Variable(name, column))
			}
		case ast.CallKind:
			if name, ok := indexedColumn(e.AsCall()); ok {
				x.need(name)
				if !slices.Contains(x.named, name) {
					x.named = append(x.named, name)
				}
			}
		}
	}))
	return append(options, cel.Variable(columnsVariable, cel.MapType(cel.StringType, column)))
}

func (x *expression) need(column string) {
	if !slices.Contains(x.columns, column) {
		x.columns = append(x.columns, column)
	}
}

// bareColumns finds uses of the variable columns other than columns["name"]:
// which columns those need is not known before a row is there.
func bareColumns(parsed *ast.AST) (problems []exprProblem) {
	indexed := map[int64]bool{}
	ast.PreOrderVisit(parsed.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.CallKind {
			if _, ok := indexedColumn(e.AsCall()); ok {
				indexed[e.AsCall().Args()[0].ID()] = true
			}
		}
		if e.Kind() == ast.IdentKind && e.AsIdent() == columnsVariable && !indexed[e.ID()] {
			at := parsed.SourceInfo().GetStartLocation(e.ID())
			problems = append(problems, exprProblem{line: at.Line() - 1, column: at.Column(), message: `want columns["a name"]`})
		}
	}))
	return problems
}

// indexedColumn returns the name in columns["name"].
func indexedColumn(call ast.CallExpr) (string, bool) {
	if call.FunctionName() != operators.Index || len(call.Args()) != 2 {
		return "", false
	}
	of, index := call.Args()[0], call.Args()[1]
	if of.Kind() != ast.IdentKind || of.AsIdent() != columnsVariable || index.Kind() != ast.LiteralKind {
		return "", false
	}
	name, ok := index.AsLiteral().(types.String)
	return string(name), ok
}

// isTypeName says whether CEL knows an identifier as a type.
func isTypeName(name string) bool {
	switch name {
	case "bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "google":
		return true
	}
	return false
}

// isScalar says whether values of the type have a text.
func isScalar(t *types.Type) bool {
	switch t.Kind() {
	case types.StringKind, types.IntKind, types.UintKind, types.DoubleKind, types.BoolKind, types.BytesKind,
		types.NullTypeKind, types.TimestampKind, types.DynKind:
		return true
	}
	return t.IsAssignableType(types.NullType) // string or null
}

// read evaluates the expression over a row.
func (x *expression) read(c *rowCursor) reading {
	vars := make(map[string]any, len(x.columns)+1)
	var r reading
	var raw []byte // what the expression was given, for a row that it gives no value for
	for _, name := range x.columns {
		column, ok := c.find(name)
		switch {
		case !ok:
			return reading{missing: true}
		case column.Presence == Unavailable:
			r.presence = Unavailable
		case column.Presence == Null:
			vars[name] = types.NullValue
			raw = append(raw, markNull)
		default:
			vars[name] = column.Text
			raw = appendFramed(append(raw, markValue), column.Text)
		}
	}
	if r.presence == Unavailable {
		return r
	}
	if x.named != nil {
		named := make(map[string]any, len(x.named))
		for _, name := range x.named {
			named[name] = vars[name]
		}
		vars[columnsVariable] = named
	}
	value, _, err := x.program.Eval(vars)
	if err == nil {
		var ok bool
		if r, ok = readingOf(value); ok {
			return r
		}
	}
	return reading{text: string(raw), problem: unreadable("columns for which its expression gives no value")}
}

// readingOf turns a result into a text as a store would have it.
func readingOf(value ref.Val) (reading, bool) {
	switch v := value.(type) {
	case types.String:
		return reading{text: string(v)}, true
	case types.Int:
		return reading{text: strconv.FormatInt(int64(v), 10)}, true
	case types.Uint:
		return reading{text: strconv.FormatUint(uint64(v), 10)}, true
	case types.Double:
		return reading{text: string(appendFloat(nil, float64(v)))}, true
	case types.Bool:
		return reading{text: strconv.FormatBool(bool(v))}, true
	case types.Bytes:
		return reading{text: `\x` + hex.EncodeToString(v)}, true
	case types.Null:
		return reading{presence: Null}, true
	case types.Timestamp:
		return reading{text: v.Time.UTC().Format(time.RFC3339Nano)}, true
	}
	return reading{}, false
}
