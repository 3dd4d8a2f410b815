package schemas

import (
	"math"
	"strconv"
	"strings"
)

// FieldRule says by which declared rules a field was compared, beyond its type.
// Rules are words of the migration's file: ignored, ulps=4, relative=1e-09,
// precision=3, collation=nfc,casefold, and of a side legacy.map, legacy.default,
// legacy.absent, legacy.emptyIsNull, legacy.expr.
type FieldRule struct {
	Field string
	Rules []string // that were in force, in this order: of the legacy, of the target, of both
	// Applied are those of Rules that had an effect on the two rows: the value that was compared is not what the store
	// has, or unequal numbers were compared by a tolerance. Nothing is said of them where a side has no row, and of
	// sensitive fields.
	Applied []string
}

// String is the rules in a line, those that applied marked.
func (r *FieldRule) String() string {
	words := make([]string, len(r.Rules))
	applied := r.Applied
	for i, rule := range r.Rules {
		words[i] = rule
		if len(applied) > 0 && applied[0] == rule { // they stand in the same order
			words[i], applied = rule+" (applied)", applied[1:]
		}
	}
	return strings.Join(words, ", ")
}

// RuleOf returns what stands in rules of a field, nil if it is compared by its type
// alone.
func RuleOf(rules []FieldRule, field string) *FieldRule {
	for i := range rules {
		if rules[i].Field == field {
			return &rules[i]
		}
	}
	return nil
}

// ruleIgnored is the rule of a field that is never compared.
const ruleIgnored = "ignored"

// rulesOf lists the field's rules.
func (f *Field) rulesOf() (rules []string) {
	if f.Ignore {
		return []string{ruleIgnored}
	}
	for _, side := range Sides {
		rules = append(rules, f.sources[side].rules(side)...)
	}
	return append(rules, f.pairRules()...)
}

// rules lists what is declared for a side.
func (s *source) rules(side Side) (rules []string) {
	for _, r := range []struct {
		declared bool
		name     string
	}{
		{s.nulls.absent, ".absent"}, {s.expr != nil, ".expr"}, {s.nulls.emptyIsNull, ".emptyIsNull"}, {s.values != nil, ".map"},
		{s.nulls.fallback != nil && !s.nulls.absent, ".default"},
	} {
		if r.declared {
			rules = append(rules, side.String()+r.name)
		}
	}
	return rules
}

// pairRules lists what is declared for both sides.
func (f *Field) pairRules() (rules []string) {
	if rule := precisionRule(f.canonical); rule != "" {
		rules = append(rules, rule)
	}
	switch {
	case f.fold != nil:
		rules = append(rules, "collation="+strings.Trim(f.fold.declared(), "()"))
	case f.tolerance != nil:
		rules = append(rules, strings.Trim(f.tolerance.declared(), "()"))
	}
	return rules
}

// precisionRule is the rule of a type that does not compare all digits of a second.
func precisionRule(t canonType) string {
	var g granularity
	switch t := t.(type) {
	case timeType:
		g = t.granularity
	case timestampType:
		g = t.granularity
	case arrayType:
		if rule := precisionRule(t.of); rule != "" {
			return "of." + rule
		}
		return ""
	default:
		return ""
	}
	if g.precision == maxPrecision {
		return ""
	}
	rule := "precision=" + strconv.Itoa(g.precision)
	if g.truncate {
		rule += " truncate"
	}
	return rule
}

// precise is the type with all digits of a second.
func precise(t canonType) canonType {
	switch t := t.(type) {
	case timeType:
		return timeType{granularity{precision: maxPrecision}}
	case timestampType:
		return timestampType{granularity{precision: maxPrecision}}
	case arrayType:
		return arrayType{precise(t.of)}
	}
	return t
}

// FieldRules says by which rules two rows were compared, in the entity's order: of
// each field that is not compared by its type alone. A nil row is one that is not
// there, or not known.
func (e *Entity) FieldRules(legacy, target Row) []FieldRule {
	if len(e.ruled) == 0 {
		return nil
	}
	rules := make([]FieldRule, 0, len(e.ruled))
	cursors := [3]*rowCursor{Legacy: {row: legacy}, Target: {row: target}}
	for _, r := range e.ruled {
		f := &e.Fields[r.field]
		rule := FieldRule{Field: f.Name, Rules: r.rules}
		if legacy != nil && target != nil && !f.Ignore && !f.Sensitive {
			rule.Applied = f.applied(&cursors)
		}
		rules = append(rules, rule)
	}
	return rules
}

// ruledField is a field with rules beyond its type.
type ruledField struct {
	field int // index in Fields
	rules []string
}

// applied lists the rules that had an effect on the field in two rows.
func (f *Field) applied(rows *[3]*rowCursor) (applied []string) {
	var values [3]reading
	for _, side := range Sides {
		s := &f.sources[side]
		for _, rule := range s.rules(side) {
			if s.applies(f, strings.TrimPrefix(rule, side.String()), *rows[side]) {
				applied = append(applied, rule)
			}
		}
		values[side] = f.read(side, rows[side])
	}
	for _, rule := range f.pairRules() {
		if f.pairApplies(rule, &values) {
			applied = append(applied, rule)
		}
	}
	return applied
}

// applies says whether a rule of a side made something else of what its row holds.
func (s *source) applies(f *Field, rule string, row rowCursor) bool {
	if s.nulls.absent {
		return true
	}
	raw := s.read(&row)
	if raw.missing || raw.presence == Unavailable {
		return false
	}
	emptied := s.nulls.emptied(f, raw)
	switch rule {
	case ".expr":
		return raw.problem == nil
	case ".emptyIsNull":
		return emptied.presence != raw.presence
	case ".map":
		return emptied.presence == Value
	}
	return s.nulls.defaulted(s.mapped(emptied)).presence != emptied.presence // .default
}

// pairApplies says whether a rule of both sides had an effect on their values.
func (f *Field) pairApplies(rule string, values *[3]reading) bool {
	var numbers [3]float64
	for _, side := range Sides {
		v := &values[side]
		text, ok := "", false
		if v.presence == Value && !v.missing && v.problem == nil {
			canonical, _, err := f.canonical.canon(nil, v.text)
			text, ok = string(canonical), err == nil
		}
		switch {
		case f.tolerance != nil:
			if !ok {
				return false
			}
			numbers[side] = valueOf([]byte(text))
		case !ok:
		case f.fold != nil && f.fold.fold(text) != text:
			return true
		case strings.Contains(rule, "precision=") && !samePrecisely(f.canonical, text, v.text):
			return true
		}
	}
	return f.tolerance != nil && math.Float64bits(numbers[Legacy]) != math.Float64bits(numbers[Target])
}

// samePrecisely says whether two texts have the same digits of a second, all of them.
func samePrecisely(t canonType, a, b string) bool {
	all := precise(t)
	x, _, errX := all.canon(nil, a)
	y, _, errY := all.canon(nil, b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// StoreColumn is what the field's column holds in a row of a side; false where the
// side has no column for it, or the row does not say.
func (e *Entity) StoreColumn(side Side, row Row, field string) (Column, bool) {
	f := e.field(field)
	if f == nil {
		return Column{}, false
	}
	name, ok := f.Column(side)
	if !ok {
		return Column{}, false
	}
	return row.Get(name)
}
