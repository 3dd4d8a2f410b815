package analysis

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"
)

// harmless says whether all statements of a range over a map come to the same in
// any order: deletions of the key at hand, and appends to what is sorted later;
// under conditions or not.
func (c check) harmless(r *ast.RangeStmt, body []ast.Stmt, within ast.Decl) bool {
	for _, statement := range body {
		switch s := statement.(type) {
		case *ast.IfStmt:
			if s.Init != nil || s.Else != nil || c.calls(s.Cond) || !c.harmless(r, s.Body.List, within) {
				return false
			}
		case *ast.BranchStmt:
			if s.Tok.String() != "continue" {
				return false
			}
		case *ast.ExprStmt:
			if !c.deletes(r, s.X) {
				return false
			}
		case *ast.AssignStmt:
			if !c.gathers(s, r, within) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// calls says whether an expression calls anything but a builtin or a conversion:
// what it calls might remember the order.
func (c check) calls(e ast.Expr) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			tv := c.pass.TypesInfo.Types[call.Fun]
			found = found || !tv.IsBuiltin() && !tv.IsType()
		}
		return !found
	})
	return found
}

// deletes says whether e is delete(m, k) of the very map and key ranged over.
func (c check) deletes(r *ast.RangeStmt, e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	return ok && c.builtin(call, "delete") && types.ExprString(call.Args[0]) == types.ExprString(r.X) &&
		r.Key != nil && types.ExprString(call.Args[1]) == types.ExprString(r.Key)
}

// gathers says whether s is "x = append(x, …)" and x is sorted below the loop.
func (c check) gathers(s *ast.AssignStmt, r *ast.RangeStmt, within ast.Decl) bool {
	if len(s.Lhs) != 1 || len(s.Rhs) != 1 {
		return false
	}
	call, ok := s.Rhs[0].(*ast.CallExpr)
	if !ok || !c.builtin(call, "append") {
		return false
	}
	to := types.ExprString(s.Lhs[0])
	for i, arg := range call.Args {
		if i == 0 && types.ExprString(arg) != to || i > 0 && c.calls(arg) {
			return false
		}
	}
	sorted := false
	ast.Inspect(within, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if ok && call.Pos() > r.End() && c.sorts(call) && types.ExprString(call.Args[0]) == to {
			sorted = true
		}
		return !sorted
	})
	return sorted
}

// sorts says whether the call sorts its first argument in place.
func (c check) sorts(call *ast.CallExpr) bool {
	f := c.callee(call)
	if f == nil || f.Pkg() == nil || len(call.Args) == 0 {
		return false
	}
	switch f.Pkg().Path() {
	case "slices":
		return strings.HasPrefix(f.Name(), "Sort")
	case "sort":
		return slices.Contains([]string{"Ints", "Strings", "Slice", "SliceStable", "Sort", "Stable"}, f.Name())
	}
	return false
}

// sortedCall says whether the function named by s is called right inside
// slices.Sorted and its like.
func (c check) sortedCall(s *ast.SelectorExpr, within ast.Decl) (sorted bool) {
	ast.Inspect(within, func(n ast.Node) bool {
		outer, ok := n.(*ast.CallExpr)
		if !ok || len(outer.Args) == 0 {
			return true
		}
		inner, ok := outer.Args[0].(*ast.CallExpr)
		f := c.callee(outer)
		if ok && inner.Fun == s && f != nil && f.Pkg() != nil && f.Pkg().Path() == "slices" && strings.HasPrefix(f.Name(), "Sorted") {
			sorted = true
		}
		return !sorted
	})
	return sorted
}

func (c check) callee(call *ast.CallExpr) *types.Func {
	fun := call.Fun
	if index, ok := fun.(*ast.IndexExpr); ok { // an instantiated generic function
		fun = index.X
	}
	s, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	f, _ := c.pass.TypesInfo.Uses[s.Sel].(*types.Func)
	return f
}

func (c check) builtin(call *ast.CallExpr, name string) bool {
	id, ok := call.Fun.(*ast.Ident)
	return ok && id.Name == name && c.pass.TypesInfo.Types[id].IsBuiltin()
}
