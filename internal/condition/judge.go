package condition

import (
	"math"

	"cel.dev/cel-go/common/operators"
)

// Truth is what can be said of a condition over bounds.
type Truth uint8

// The zero value is Undefined: what was not judged is not true.
const (
	Undefined Truth = iota // some value is no finite number
	False                  // for all values within the bounds
	Either                 // for some it is true, for some false; or that is not ruled out
	True                   // for all values within the bounds
)

// Judge decides the condition over bounds of its names. A name without bounds,
// or with bounds that are no finite numbers, makes it Undefined.
func (c *Condition) Judge(bounds map[string]Interval) Truth { return c.root.truth(bounds) }

func (n *node) truth(bounds map[string]Interval) Truth {
	switch n.op {
	case operators.LogicalNot:
		return n.args[0].truth(bounds).not()
	case operators.LogicalAnd:
		return and(n.args[0].truth(bounds), n.args[1].truth(bounds))
	case operators.LogicalOr:
		return and(n.args[0].truth(bounds).not(), n.args[1].truth(bounds).not()).not()
	}
	a, b := n.args[0].number(bounds), n.args[1].number(bounds)
	if !a.defined() || !b.defined() {
		return Undefined
	}
	switch n.op {
	case operators.Less:
		return decide(a.High < b.Low, a.Low >= b.High)
	case operators.LessEquals:
		return decide(a.High <= b.Low, a.Low > b.High)
	case operators.Greater:
		return decide(a.Low > b.High, a.High <= b.Low)
	case operators.GreaterEquals:
		return decide(a.Low >= b.High, a.High < b.Low)
	case operators.Equals:
		return equal(a, b)
	}
	return equal(a, b).not() // NotEquals: Compile takes no other
}

func equal(a, b Interval) Truth {
	return decide(a.Low == b.High && a.High == b.Low, a.High < b.Low || a.Low > b.High)
}

func decide(always, never bool) Truth {
	switch {
	case always:
		return True
	case never:
		return False
	}
	return Either
}

func (t Truth) not() Truth {
	switch t {
	case True:
		return False
	case False:
		return True
	}
	return t
}

// and is the weaker of two: what is undefined stays so, whatever stands beside it.
func and(a, b Truth) Truth { return min(a, b) }

// nowhere is no value.
var nowhere = Interval{math.NaN(), math.NaN()}

func (n *node) number(bounds map[string]Interval) Interval {
	switch {
	case n.op == "" && n.name == "":
		return Interval{n.value, n.value}
	case n.op == "":
		if i, ok := bounds[n.name]; ok {
			return i
		}
		return nowhere
	}
	a := n.args[0].number(bounds)
	if n.op == operators.Negate {
		return Interval{-a.High, -a.Low}
	}
	b := n.args[1].number(bounds)
	switch {
	case !a.defined() || !b.defined():
		return nowhere
	case n.op == operators.Add:
		return Interval{a.Low + b.Low, a.High + b.High}
	case n.op == operators.Subtract:
		return Interval{a.Low - b.High, a.High - b.Low}
	case n.op == operators.Multiply:
		return hull(a.Low*b.Low, a.Low*b.High, a.High*b.Low, a.High*b.High)
	case b.Low <= 0 && b.High >= 0: // Divide: Compile takes no other
		return nowhere
	}
	return hull(a.Low/b.Low, a.Low/b.High, a.High/b.Low, a.High/b.High)
}

func hull(corners ...float64) Interval {
	i := Interval{corners[0], corners[0]}
	for _, v := range corners[1:] {
		i.Low, i.High = min(i.Low, v), max(i.High, v)
	}
	return i
}
