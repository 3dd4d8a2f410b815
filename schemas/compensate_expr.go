package schemas

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// policyExpression is a CEL expression that names a policy for a divergence. It
// sees canonical values, and can write none.
type policyExpression struct {
	text    string
	program cel.Program
}

// compilePolicy compiles an expression, or says everything that is wrong with it.
func compilePolicy(text string) (*policyExpression, []exprProblem) {
	if len(text) > maxExpression {
		return nil, []exprProblem{{message: fmt.Sprintf("longer than %d bytes", maxExpression)}}
	}
	row := cel.MapType(cel.StringType, cel.NullableType(cel.StringType))
	env, err := cel.NewEnv(ext.Strings(ext.StringsVersion(4)), cel.ParserRecursionLimit(100), cel.DefaultUTCTimeZone(true),
		cel.Variable("kind", cel.StringType), cel.Variable("stage", cel.StringType), cel.Variable("age", cel.DurationType),
		cel.Variable("fields", cel.ListType(cel.StringType)), cel.Variable("authority", cel.StringType),
		cel.Variable("has_legacy", cel.BoolType), cel.Variable("has_target", cel.BoolType),
		cel.Variable("legacy", row), cel.Variable("target", row))
	if err != nil {
		return nil, []exprProblem{{message: err.Error()}}
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, exprProblems(issues)
	}
	if got := checked.OutputType(); !got.IsExactType(cel.StringType) && !got.IsExactType(cel.DynType) {
		return nil, []exprProblem{{message: fmt.Sprintf("gives %s: want the name of a policy", got)}}
	}
	program, err := env.Program(checked, cel.CostLimit(maxExpressionCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, []exprProblem{{message: err.Error()}}
	}
	return &policyExpression{text: text, program: program}, nil
}

func (x *policyExpression) decide(e *Entity, d *Divergence, stage string, age time.Duration) (string, error) {
	fields := d.Fields
	if fields == nil {
		fields = []string{}
	}
	vars := map[string]any{"kind": string(d.Verdict), "stage": stage, "age": age, "fields": fields, "authority": d.Side.String()}
	for _, v := range []struct {
		side Side
		of   *Evidence
	}{{d.Side, d.Authority}, {d.Side.Other(), d.Follower}} {
		var values map[string]*string
		if v.of != nil && v.of.Row != nil {
			values = e.Values(v.side, v.of.Row)
		}
		row := make(map[string]any, len(values))
		for name, value := range values {
			row[name] = types.NullValue
			if value != nil {
				row[name] = *value
			}
		}
		vars["has_"+v.side.String()], vars[v.side.String()] = values != nil, row
	}
	result, _, err := x.program.Eval(vars)
	switch {
	case err != nil && e.Sensitive():
		return "", errors.New("the expression has no value; why would say a sensitive one")
	case err != nil:
		return "", fmt.Errorf("the expression has no value: %w", err)
	}
	name, ok := result.Value().(string)
	if !ok || !slices.Contains(plainPolicies, name) {
		return "", fmt.Errorf("the expression gives no policy: want one of %q", plainPolicies) // not what it gives, which may be a row's value
	}
	return name, nil
}
