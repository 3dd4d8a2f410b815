// Package condition decides comparisons of measured values that are known only
// within bounds. A condition is written in CEL, of which it takes comparisons of
// sums, differences, products and quotients, joined by &&, || and !.
//
// It promises that True is said only if CEL would give true for all values within
// the bounds, and False only if it would give false for all. Between them it says
// Either; where a value would be no finite number, Undefined. It may say Either
// where a closer look would decide: a name that stands twice is looked at twice.
//
// The order of its steps: CEL parses and checks the text; what is no such
// condition is refused, with its place; Judge evaluates with intervals and three
// truth values.
package condition

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// maxLength and maxNesting bound a condition; nobody's comes near them.
const (
	maxLength  = 4096
	maxNesting = 50
	maxWhole   = 1 << 53 // beyond, whole numbers are not exact as doubles
)

// Problem is what is wrong with a condition, and where, from 0.
type Problem struct {
	Line, Column int
	Message      string
}

// Condition is a condition that was understood. It is not changed after.
type Condition struct {
	root  *node
	names []string
}

// node is a call of an operator, a name or a number.
type node struct {
	op    string // empty: a name or a number
	args  []*node
	name  string
	value float64
}

// Names lists the measured values that the condition needs, each once.
func (c *Condition) Names() []string { return slices.Clone(c.names) }

// Compile reads a condition over some names, or says what is wrong with it.
func Compile(text string, names []string) (*Condition, []Problem) {
	if len(text) > maxLength {
		return nil, []Problem{{Message: fmt.Sprintf("longer than %d bytes", maxLength)}}
	}
	env, err := environment(names)
	if err != nil {
		return nil, []Problem{{Message: err.Error()}}
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		var problems []Problem
		for _, e := range issues.Errors() {
			message := e.Message
			if strings.Contains(message, "double") && strings.Contains(message, "int") {
				message += ": write numbers with a decimal point, like 0.0"
			}
			problems = append(problems, Problem{max(e.Location.Line()-1, 0), max(e.Location.Column(), 0), message})
		}
		return nil, problems
	}
	c := &compiler{source: checked.NativeRep().SourceInfo()}
	root := c.truth(checked.NativeRep().Expr())
	if len(c.problems) == 0 && len(c.names) == 0 {
		c.problems = []Problem{{Message: "uses no measured value"}}
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return &Condition{root: root, names: c.names}, nil
}

func environment(names []string) (*cel.Env, error) {
	options := []cel.EnvOption{cel.CrossTypeNumericComparisons(true), cel.ClearMacros(), cel.ParserRecursionLimit(maxNesting)}
	for _, name := range names {
		options = append(options, cel.Variable(name, cel.DoubleType))
	}
	return cel.NewEnv(options...)
}

type compiler struct {
	source   *ast.SourceInfo
	names    []string
	problems []Problem
}

func (c *compiler) refuse(e ast.Expr, message string) *node {
	at := c.source.GetStartLocation(e.ID())
	c.problems = append(c.problems, Problem{max(at.Line()-1, 0), max(at.Column(), 0), message})
	return nil
}

// truth takes what is true or false.
func (c *compiler) truth(e ast.Expr) *node {
	if e.Kind() == ast.CallKind {
		switch op := e.AsCall().FunctionName(); op {
		case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot:
			return c.call(op, e, c.truth)
		case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.Equals, operators.NotEquals:
			return c.call(op, e, c.compared)
		}
	}
	return c.refuse(e, "want comparisons of measured values, joined by &&, || and !")
}

// compared takes a number, which may be a whole one.
func (c *compiler) compared(e ast.Expr) *node {
	if e.Kind() == ast.LiteralKind {
		switch v := e.AsLiteral().(type) {
		case types.Int:
			if v >= -maxWhole && v <= maxWhole {
				return &node{value: float64(v)}
			}
			return c.refuse(e, "want a number up to 2^53")
		case types.Uint:
			if v <= maxWhole {
				return &node{value: float64(v)}
			}
			return c.refuse(e, "want a number up to 2^53")
		}
	}
	return c.number(e)
}

// number takes a double. CEL divides whole numbers otherwise.
func (c *compiler) number(e ast.Expr) *node {
	switch e.Kind() {
	case ast.LiteralKind:
		switch v := e.AsLiteral().(type) {
		case types.Double:
			return &node{value: float64(v)}
		case types.Int, types.Uint:
			return c.refuse(e, "want a number with a decimal point in a calculation, like 2.0")
		}
	case ast.IdentKind:
		name := e.AsIdent()
		if !slices.Contains(c.names, name) {
			c.names = append(c.names, name)
		}
		return &node{name: name}
	case ast.CallKind:
		switch op := e.AsCall().FunctionName(); op {
		case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Negate:
			return c.call(op, e, c.number)
		}
	}
	return c.refuse(e, "want a measured value, a number, or a sum, difference, product or quotient of them")
}

func (c *compiler) call(op string, e ast.Expr, operand func(ast.Expr) *node) *node {
	n := &node{op: op}
	for _, arg := range e.AsCall().Args() {
		n.args = append(n.args, operand(arg))
	}
	return n
}

// Interval holds all values from Low to High, both included.
type Interval struct{ Low, High float64 }

// defined says whether both bounds are numbers, in their order.
func (i Interval) defined() bool {
	return i.Low <= i.High && !math.IsInf(i.Low, 0) && !math.IsInf(i.High, 0)
}
