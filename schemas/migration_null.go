package schemas

import (
	"fmt"
	"slices"
	"strings"
)

// nullsOf reads what NULL and an empty text stand for on a side: what the side says,
// or else what the field says for both.
func (f *fieldReader) nullsOf(side Side) {
	s := &f.sources[side]
	nulls := &s.nulls
	def, defPath := f.saidOf(side, "default")
	empty, emptyPath := f.saidOf(side, "emptyIsNull")
	write, writePath := f.saidOf(side, "writeNull")
	if nulls.absent {
		// What is said for both sides is of columns, and this one has none.
		empty, write = nil, nil
		if def == nil {
			f.failOnce(f.sides[side], f.path+"."+side.String()+".absent", "missing: want default, which says what the value is where there is no column")
			nulls.absent = false
		}
	}
	if def != nil {
		nulls.fallback = f.fallback(def, defPath)
	}
	if empty != nil && f.flag(empty, emptyPath) {
		nulls.emptyIsNull = f.emptyFits(empty, emptyPath, s)
	}
	if write != nil {
		switch {
		case write.kind != kindText || write.text != writeNullEmpty && write.text != writeNullNull:
			f.failOnce(write, writePath, "want %s or %s, have %s", writeNullEmpty, writeNullNull, write.describe())
		case empty == nil || empty.kind == kindBoolean && !f.flag(empty, emptyPath):
			f.failOnce(write, writePath, "it chooses between NULL and an empty text, which are the same where emptyIsNull says so alone")
		case s.expr != nil:
			f.failOnce(write, writePath, "an expression cannot be written to: leave writeNull out")
		case def != nil:
			f.failOnce(write, writePath, "NULL stands for the default there, so it is never what is written: leave writeNull out")
		default:
			nulls.writeNull = write.text
		}
	}
	if nulls.absent && nulls.fallback == nil { // the default was refused; the side has no column for all that
		nulls.fallback = new(string)
	}
}

// failOnce is fail for what is said of both sides, once.
func (f *fieldReader) failOnce(n *configNode, path, format string, args ...any) {
	problem := fmt.Sprintf(format, args...)
	if !slices.ContainsFunc(f.errs, func(e *ConfigError) bool {
		return e.Line == n.line && e.Column == n.column && e.Path == path && e.Problem == problem
	}) {
		f.fail(n, path, "%s", problem)
	}
}

// flag is boolean for what is said of both sides.
func (f *fieldReader) flag(n *configNode, path string) bool {
	if n.kind != kindBoolean {
		f.failOnce(n, path, "want true or false, have %s", n.describe())
	}
	return n.kind == kindBoolean && strings.EqualFold(n.text, "true")
}

// saidOf returns what stands under a key for a side, and where.
func (f *fieldReader) saidOf(side Side, key string) (*configNode, string) {
	if n := f.sides[side]; n != nil {
		if at := n.get(key); at != nil {
			return at, f.path + "." + side.String() + "." + key
		}
	}
	return f.all.get(key), f.path + "." + key
}

// fallback reads a value of the field's type, nil where it is none.
func (f *fieldReader) fallback(n *configNode, path string) *string {
	if f.canonical == nil {
		return nil
	}
	switch f.canonical.(type) {
	case textType, enumType:
		if n.kind != kindText {
			have := n.describe()
			if slices.Contains([]nodeKind{kindWhole, kindNumber, kindBoolean}, n.kind) {
				have += " without quotes"
			}
			f.failOnce(n, path, "want a text, have %s", have)
			return nil
		}
	}
	if !slices.Contains([]nodeKind{kindText, kindWhole, kindNumber, kindBoolean}, n.kind) {
		f.failOnce(n, path, "want a value of %s, have %s", f.Type, n.describe())
		return nil
	}
	canonical, _, err := f.canonical.canon(nil, n.text)
	if err != nil {
		f.failOnce(n, path, "want a value of %s, have %s: %v", f.Type, n.describe(), err)
		return nil
	}
	text := string(canonical)
	return &text
}

// emptyFits refuses an emptyIsNull that contradicts what else is said of the side.
func (f *fieldReader) emptyFits(n *configNode, path string, s *source) bool {
	_, isBytes := f.canonical.(bytesType)
	_, mapped := s.values[""]
	switch {
	case isBytes:
		f.failOnce(n, path, "bytes has no emptyIsNull: a value without bytes is no text")
	case mapped:
		f.failOnce(n, path, "the map says what an empty text stands for: leave one of them out")
	case s.nulls.fallback != nil && f.empty(*s.nulls.fallback):
		f.failOnce(n, path, "the default is empty, which says that NULL and an empty text are the same: leave emptyIsNull out")
	default:
		return true
	}
	return false
}

// nullChoice is an emptyIsNull that does not say what a repair writes for NULL.
type nullChoice struct {
	n    *configNode
	path string
	side Side
}

// emptyNull notes a side on which two values stand for NULL.
func (e *entityReader) emptyNull(f *fieldReader, side Side) {
	nulls := &f.sources[side].nulls
	if said, _ := f.saidOf(side, "writeNull"); nulls.emptyIsNull && said == nil && nulls.fallback == nil && f.sources[side].expr == nil && !f.Ignore {
		n, path := f.saidOf(side, "emptyIsNull")
		e.choices = append(e.choices, nullChoice{n, path, side})
	}
}

// writesNull refuses repairs of a side on which it is not said what stands for NULL.
func (e *entityReader) writesNull() {
	told := map[*configNode]bool{}
	for _, c := range e.choices {
		can := e.Compensate.CanWrite(c.side, e.Authority) || e.m.Rollout.Name != "" && e.Compensate.CanWrite(c.side, e.Authority.Other())
		if can && !told[c.n] {
			told[c.n] = true
			e.fail(c.n, c.path, "repairs may write the %s, where NULL and an empty text are the same: say which one they write, writeNull: %s or writeNull: %s",
				c.side, writeNullEmpty, writeNullNull)
		}
	}
}
