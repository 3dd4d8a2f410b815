package schemas

import (
	"slices"
	"strconv"
	"strings"
)

// Bounds of what a type's parameters may be.
const (
	maxScale     = maxDigits
	maxPrecision = 6
	maxULPs      = 1 << 20
)

// typeParameters lists the keys that say more about a type.
var typeParameters = map[string][]string{
	typeDecimal:   {"scale"},
	typeFloat:     {"ulps", "relative"},
	typeText:      {"collation"},
	typeTime:      {"precision", "rounding"},
	typeTimestamp: {"precision", "rounding"},
	typeArray:     {"of"},
}

// fieldKeys lists the keys of a field that every type takes.
var fieldKeys = []string{"type", "legacy", "target", "ignore", "sensitive", "default", "emptyIsNull", "writeNull"}

// allParameters lists the parameters of all types.
var allParameters = []string{"scale", "ulps", "relative", "collation", "precision", "rounding", "of"}

// fieldReader reads one field of an entity.
type fieldReader struct {
	*entityReader
	*Field
	path  string
	nodes [3]*configNode // what names the column
	all   *configNode    // the field's own mapping
	sides [3]*configNode // a side's mapping; nil where it is left out or a name
}

func (f *fieldReader) read(entry configEntry) bool {
	n := entry.value
	if n.kind != kindMapping {
		f.fail(n, f.path, "want a mapping with a type, like {type: integer}, have %s", n.describe())
		return false
	}
	if !f.mapping(n, f.path, slices.Concat(fieldKeys, allParameters)...) {
		return false
	}
	f.Ignore = f.boolean(n.get("ignore"), f.path+".ignore")
	f.Sensitive = f.boolean(n.get("sensitive"), f.path+".sensitive")
	f.declare(n)
	f.all = n
	for _, side := range Sides {
		f.nodes[side] = n.get(side.String())
		if f.nodes[side] == nil {
			f.nodes[side] = &configNode{kind: kindText, line: entry.line, column: entry.column, text: f.Name}
		}
		f.source(side, n.get(side.String()))
		f.nullsOf(side)
	}
	return f.canonical != nil
}

// declare reads the type and its parameters.
func (f *fieldReader) declare(n *configNode) {
	name, ok := f.oneOf(f.required(n, f.path, "type", "a canonical type"), f.path+".type", canonTypes...)
	if !ok {
		return
	}
	f.fits(n, name, f.path)
	f.canonical = f.typeOf(n, name, f.path)
	switch name {
	case typeArray:
		f.canonical = f.array(n)
	case typeFloat:
		f.tolerance = f.toleranceOf(n)
	case typeText:
		f.fold = f.folding(n.get("collation"))
	}
	if f.canonical == nil {
		return
	}
	f.Type = f.canonical.declared()
	switch {
	case f.fold != nil:
		f.Type += f.fold.declared()
	case f.tolerance != nil:
		f.Type += f.tolerance.declared()
	}
}

// fits refuses parameters that say nothing about the type.
func (f *fieldReader) fits(n *configNode, name, path string) {
	for _, p := range allParameters {
		if v := n.get(p); v != nil && !slices.Contains(typeParameters[name], p) {
			f.fail(v, path+"."+p, "%s has no %s", name, p)
		}
	}
}

// typeOf returns the type without what makes its comparison laxer; nil for an
// array.
func (f *fieldReader) typeOf(n *configNode, name, path string) canonType {
	switch name {
	case typeInteger:
		return integerType{}
	case typeDecimal:
		return decimalType{f.whole(n.get("scale"), path+".scale", 0, maxScale, 0)}
	case typeFloat:
		return floatType{}
	case typeBoolean:
		return booleanType{}
	case typeText:
		return textType{}
	case typeBytes:
		return bytesType{}
	case typeUUID:
		return uuidType{}
	case typeDate:
		return dateType{}
	case typeTime:
		return timeType{f.granularity(n, path)}
	case typeTimestamp:
		return timestampType{f.granularity(n, path)}
	case typeJSON:
		return jsonType{}
	case typeEnum:
		return enumType{}
	}
	return nil
}

// granularity reads precision and rounding. What a store does with digits that
// it has no room for differs: MariaDB cuts them, the others round.
func (f *fieldReader) granularity(n *configNode, path string) granularity {
	g := granularity{precision: f.whole(n.get("precision"), path+".precision", 0, maxPrecision, maxPrecision)}
	if rounding := n.get("rounding"); rounding != nil {
		word, _ := f.oneOf(rounding, path+".rounding", "half_up", "truncate")
		g.truncate = word == "truncate"
	} else {
		g.truncate = slices.Contains(f.drivers[:], MariaDB)
	}
	return g
}

// array reads the type of an array's elements: a name, or a mapping with a
// name and its parameters.
func (f *fieldReader) array(n *configNode) canonType {
	path := f.path + ".of"
	of := f.required(n, f.path, "of", "the type of the elements")
	if of == nil {
		return nil
	}
	kinds := slices.DeleteFunc(slices.Clone(canonTypes), func(t string) bool { return t == typeArray || t == typeJSON })
	named := of
	if of.kind == kindMapping {
		if !f.mapping(of, path, append([]string{"type"}, allParameters...)...) {
			return nil
		}
		if named = f.required(of, path, "type", "a canonical type"); named == nil {
			return nil
		}
		path += ".type"
	}
	name, ok := f.oneOf(named, path, kinds...)
	if !ok {
		return nil
	}
	f.fits(of, name, f.path+".of")
	for _, p := range []string{"ulps", "relative", "collation"} {
		if v := of.get(p); v != nil && slices.Contains(typeParameters[name], p) {
			f.fail(v, f.path+".of."+p, "elements of an array are compared exactly")
		}
	}
	return arrayType{f.typeOf(of, name, f.path+".of")}
}

// toleranceOf reads ulps or relative.
func (f *fieldReader) toleranceOf(n *configNode) *tolerance {
	ulps, relative := n.get("ulps"), n.get("relative")
	switch {
	case ulps != nil && relative != nil:
		f.fail(relative, f.path+".relative", "want ulps or relative, have both")
	case ulps != nil:
		return &tolerance{ulps: uint64(f.whole(ulps, f.path+".ulps", 1, maxULPs, 1))}
	case relative != nil:
		share, err := 0.0, error(nil)
		if relative.kind == kindNumber || relative.kind == kindText { // 1e-9 is a text to many readers of YAML
			share, err = parseFloat(relative.text)
		}
		if err != nil || !(share > 0 && share < 1) {
			f.fail(relative, f.path+".relative", "want a number between 0 and 1, like 1e-9, have %s", relative.describe())
			return nil
		}
		return &tolerance{relative: share}
	}
	return nil
}

func (t *tolerance) declared() string {
	if t.ulps > 0 {
		return "(ulps=" + strconv.FormatUint(t.ulps, 10) + ")"
	}
	return "(relative=" + strconv.FormatFloat(t.relative, 'g', -1, 64) + ")"
}

// folding reads collation: binary, or one or several of the differences that
// it does not see.
func (f *fieldReader) folding(n *configNode) *folding {
	if n == nil {
		return nil
	}
	words := foldingWords
	path := f.path + ".collation"
	items := []*configNode{n}
	if n.kind == kindList {
		if items = n.items; len(items) == 0 {
			f.fail(n, path, "want %s, have an empty list", strings.Join(words, ", "))
		}
	} else {
		words = append([]string{"binary"}, words...)
	}
	var fold folding
	for i, item := range items {
		itemPath := path
		if n.kind == kindList {
			itemPath += "[" + strconv.Itoa(i) + "]"
		}
		word, _ := f.oneOf(item, itemPath, words...)
		if on := fold.on(word); on != nil {
			if *on {
				f.fail(item, itemPath, "stands twice")
			}
			*on = true
		}
	}
	if fold == (folding{}) {
		return nil
	}
	return &fold
}

// source reads where the field lives on a side: a column's name, the field's
// own if left out, or {column: …}, with a map of its values, or {expr: …}, or
// {absent: true}. What NULL is there is for nullsOf.
func (f *fieldReader) source(side Side, n *configNode) {
	path := f.path + "." + side.String()
	s := &f.sources[side]
	switch {
	case n == nil:
		s.column = f.Name
		return
	case n.kind != kindMapping:
		f.column(side, n, path)
		return
	case !f.mapping(n, path, "column", "expr", "map", "absent", "default", "emptyIsNull", "writeNull"):
		return
	}
	f.sides[side] = n
	column, expr, values, absent := n.get("column"), n.get("expr"), n.get("map"), n.get("absent")
	if s.nulls.absent = f.boolean(absent, path+".absent"); s.nulls.absent {
		for _, other := range []string{"column", "expr", "map", "emptyIsNull", "writeNull"} {
			if at := n.get(other); at != nil {
				f.fail(at, path+"."+other, "absent says that there is no column on this side: leave one of them out")
			}
		}
		return
	}
	if values != nil {
		s.column = f.Name // unless a column is named
		s.values = f.valueMap(values, path+".map")
	}
	switch {
	case values != nil && expr != nil:
		f.fail(values, path+".map", "want an expression or a map, have both")
	case column != nil && expr != nil:
		f.fail(expr, path+".expr", "want a column or an expression, have both")
	case column != nil:
		f.nodes[side] = column
		f.column(side, column, path+".column")
	case expr != nil:
		f.expression(side, expr, path+".expr")
	case values != nil:
	case n.get("default") != nil || n.get("emptyIsNull") != nil || n.get("writeNull") != nil:
		s.column = f.Name
	default:
		f.fail(n, path, "want a column's name, or {expr: …}")
	}
}

// valueMap reads what the values of a column stand for.
func (f *fieldReader) valueMap(n *configNode, path string) valueMap {
	if _, enum := f.canonical.(enumType); f.canonical != nil && !enum {
		f.fail(n, path, "%s has no map: enum has", f.canonical.declared())
		return nil
	}
	if n.kind != kindMapping || len(n.entries) == 0 {
		f.fail(n, path, "want a mapping of this side's values to the field's, like {N: new}, have %s", n.describe())
		return nil
	}
	values := make(valueMap, len(n.entries))
	for _, entry := range n.entries {
		if text, ok := f.text(entry.value, path+"."+entry.name, "what the value stands for"); ok {
			values[entry.name] = text
		}
	}
	return values
}

func (f *fieldReader) column(side Side, n *configNode, path string) {
	text, ok := f.text(n, path, "a column's name")
	if !ok {
		return
	}
	name, err := parseColumnName(text, f.drivers[side])
	if err != nil {
		f.fail(n, path, "%v", err)
		return
	}
	f.sources[side].column = name
}

// expression compiles an expression and shows its problems where they stand.
func (f *fieldReader) expression(side Side, n *configNode, path string) {
	text, ok := f.text(n, path, "a CEL expression")
	if !ok {
		return
	}
	x, problems := compileExpression(text)
	for _, p := range problems {
		line, column := n.place(p.line, p.column)
		f.failAt(line, column, path, "%s", p.message)
	}
	if x == nil { // it stays an expression, so that nothing takes it for a column
		x = &expression{text: text}
	}
	f.sources[side].expr = x
}

// columnOnce refuses a column that another field of the entity has.
func (f *fieldReader) columnOnce(side Side, columns map[string]string) {
	name := f.sources[side].column
	if name == "" {
		return
	}
	if f.drivers[side].mysqlLike() {
		name = strings.ToLower(name)
	}
	if first, twice := columns[name]; twice {
		f.fail(f.nodes[side], f.path, "the column %s of %s stands twice: field %s has it", shown(f.sources[side].column), side, first)
		return
	}
	columns[name] = f.Name
}
