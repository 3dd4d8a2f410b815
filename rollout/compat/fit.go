package compat

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// misfit is values of one type that another one has no place for.
type misfit struct {
	level   Level
	rule    string
	problem string
	next    string
}

// readable lists the families of columns that a field of a canonical type reads without an
// expression; a type that is not in it reads any.
var readable = map[string][]family{
	"integer":   {integers, decimals},
	"boolean":   {booleans, integers, texts},
	"decimal":   {decimals, integers},
	"float":     {floats, decimals, integers},
	"bytes":     {bytesOf},
	"uuid":      {uuids, texts, bytesOf},
	"date":      {dates},
	"time":      {times},
	"timestamp": {timestamps, dates},
	"json":      {documents, texts},
	"array":     {arrays, documents, texts},
}

var declaredType = regexp.MustCompile(`^([a-z]+)(?:\(([0-9]+))?`)

// declared splits a field's type: timestamp(3) has the precision 3.
func declared(f *schemas.Field) (name string, digits int) {
	m := declaredType.FindStringSubmatch(f.Type)
	if m == nil {
		return f.Type, 0
	}
	digits, err := strconv.Atoi(m[2])
	if err != nil || m[2] == "" {
		digits = math.MaxInt
	}
	return m[1], digits
}

// adapted says whether a field reads the type of a side's column, or needs an adapter for it.
func adapted(f *schemas.Field, side schemas.Side, d domain) (misfit, bool) {
	name, _ := declared(f)
	families, bound := readable[name]
	if f.Adapter(side) != schemas.AdapterColumn || !bound || slices.Contains(families, d.family) {
		return misfit{}, true
	}
	return misfit{Incompatible, "adapter-missing", fmt.Sprintf("the field is %s, and the column is %s", name, d.text),
		fmt.Sprintf("give the field another type, or %s an expression: {expr: …}", side)}, false
}

// values are what one side has of a field, and what the other one has a place for.
type values struct {
	field    *schemas.Field
	fromSide schemas.Side
	from, to domain
}

// misfits lists what a column can hold and the other side's cannot.
func (v *values) misfits() (out []misfit) {
	add := func(rule, format string, args ...any) {
		out = append(out, misfit{Incompatible, rule, fmt.Sprintf(format, args...), fmt.Sprintf("widen the column to hold all of %s, or show that legacy holds no such value", v.from.text)})
	}
	name, digits := declared(v.field)
	switch {
	case name == "boolean":
		return nil // it is true or false, however it is written
	case name == "enum" || v.to.family == enums:
		return v.labels()
	case v.from.family == others || v.to.family == others || v.from.family == sets && v.to.family == sets:
		if !strings.EqualFold(v.from.text, v.to.text) || v.from.driver != v.to.driver {
			out = append(out, misfit{Incompatible, "type-pair", fmt.Sprintf("it is not known whether %s holds every value of %s", v.to.text, v.from.text),
				"look the pair up in docs/type-pairs.md, try it, and have somebody agree"})
		}
		return out
	}
	switch {
	case numeric(v.from) && numeric(v.to):
		v.numbers(add)
	case v.to.family == texts && v.from.family == uuids:
		if v.to.chars != unbounded && v.to.chars < 36 {
			add("too-short", "it has %d characters, and a UUID 36", v.to.chars)
		}
	case v.to.family == bytesOf && v.from.family == uuids:
		if v.to.octets != unbounded && v.to.octets < 16 {
			add("too-short", "it has %d bytes, and a UUID 16", v.to.octets)
		}
	case v.to.family == texts || v.to.family == bytesOf:
		v.lengths(&out, add)
	case v.from.family == timestamps && v.to.family == timestamps, v.from.family == times && v.to.family == times:
		if need := min(v.from.precision, digits); v.to.precision < need {
			add("precision", "it has %d digits of a second, and %d are compared", v.to.precision, need)
		}
		if v.to.range32 && !v.from.range32 {
			add("range", "%s ends in 1970 and in 2038", v.to.text)
		}
	}
	return append(out, v.rare()...)
}

func numeric(d domain) bool {
	return d.family == integers || d.family == decimals || d.family == floats
}

func (v *values) numbers(add func(rule, format string, args ...any)) {
	from, to := v.from, v.to
	switch {
	case to.family == floats && from.family == floats:
		if to.bits < from.bits {
			add("precision", "%s has %d bits, and %s %d", to.text, to.bits, from.text, from.bits)
		}
	case to.family == floats:
		add("precision", "%s keeps about %d digits of a number", to.text, map[int]int{32: 6, 64: 15}[to.bits])
	case from.family == floats:
		add("range", "%s is no exact number, and %s is", from.text, to.text)
	case from.family == integers && to.family == integers:
		if from.low.Cmp(to.low) < 0 || from.high.Cmp(to.high) > 0 {
			add("range", "it holds numbers from %s to %s, and there are %s to %s", to.low, to.high, from.low, from.high)
		}
	case to.family == integers: // of decimals
		whole := len(to.high.String()) - 1 // all numbers of so many digits
		if from.scale != 0 && from.scale != unbounded {
			add("scale", "it holds no digits behind the point, and there are %d", from.scale)
		} else if from.whole == unbounded || from.whole > whole || to.low.Sign() == 0 {
			add("range", "it holds numbers from %s to %s", to.low, to.high)
		}
	case to.whole == unbounded:
	default:
		need := from.whole
		if from.family == integers {
			need = max(len(from.high.String()), len(from.low.String())-1)
		}
		if need == unbounded || need > to.whole {
			add("range", "it has %d digits before the point, and %s", to.whole, count(need))
		}
		if scale := from.scale; from.family == decimals && (scale == unbounded || scale > to.scale) {
			add("scale", "it has %d digits behind the point, and %s", to.scale, count(scale))
		}
	}
}

func count(n int) string {
	if n == unbounded {
		return "there may be any number"
	}
	return fmt.Sprintf("there are %d", n)
}

// longEnough is a length in bytes that a type without a bound seldom comes to.
const longEnough = 1<<16 - 1

// lengths compares how long values can be. What the one type does not bound is a note where the
// other one's bound is large.
func (v *values) lengths(out *[]misfit, add func(rule, format string, args ...any)) {
	from, to := v.from, v.to
	if from.family != texts && from.family != bytesOf {
		return
	}
	if to.charset != "" && to.charset != from.charset && from.family == texts && from.charset != "ascii" {
		add("charset", "its character set %s does not hold every character", to.charset)
	}
	switch {
	case to.chars != unbounded && from.chars != unbounded:
		if from.chars > to.chars {
			add("too-short", "it has %d characters, and there are %d", to.chars, from.chars)
		}
	case to.chars != unbounded && from.octets != unbounded && from.octets <= to.chars:
	case to.chars != unbounded:
		add("too-short", "it has %d characters, and there %s", to.chars, "may be more")
	case to.octets == unbounded || from.bytesMost() != unbounded && from.bytesMost() <= to.octets:
	case from.bytesMost() == unbounded && to.octets >= longEnough:
		*out = append(*out, misfit{Note, "too-short", fmt.Sprintf("it has %d bytes, and %s no bound", to.octets, from.text), "see that no value is longer"})
	default:
		add("too-short", "it has %d bytes, and there %s", to.octets, "may be more")
	}
}

// labels compares the members of enums, through the field's maps.
func (v *values) labels() (out []misfit) {
	toSide := v.fromSide.Other()
	have, from := v.members(v.fromSide, v.from)
	place, to := v.members(toSide, v.to)
	if !to {
		if v.to.family == texts && v.to.chars != unbounded {
			for _, member := range have {
				if len([]rune(member)) > v.to.chars {
					out = append(out, misfit{Incompatible, "too-short", fmt.Sprintf("it has %d characters, and %q has more", v.to.chars, member), "widen the column"})
				}
			}
		}
		return out
	}
	if !from {
		return []misfit{{Incompatible, "label", fmt.Sprintf("it has the values %s, and %s may have others", listOf(place), v.from.text),
			"have the column be an enum there, too, or map its values: {map: …}"}}
	}
	for _, member := range have {
		if !slices.Contains(place, member) {
			out = append(out, misfit{Incompatible, "label", fmt.Sprintf("it has no value for %q", member), "add it to the column's type, or map it: {map: …}"})
		}
	}
	return append(out, v.unmapped()...)
}

// members are those that a side's column can stand for; false: any.
func (v *values) members(side schemas.Side, d domain) ([]string, bool) {
	var out []string
	if null, valued := v.field.NullMeans(side); valued {
		out = append(out, null)
	}
	if d.family != enums {
		m := v.field.Members(side)
		return append(out, m...), m != nil
	}
	for _, label := range d.labels {
		if member, ok := v.field.Means(side, label); ok {
			out = append(out, member)
		}
	}
	return out, true
}

// unmapped are labels of the first side that its own map does not have.
func (v *values) unmapped() (out []misfit) {
	for _, label := range v.from.labels {
		if _, ok := v.field.Means(v.fromSide, label); !ok {
			out = append(out, misfit{Incompatible, "label", fmt.Sprintf("its map does not have %q of %s", label, v.fromSide), "add it to the map"})
		}
	}
	return out
}

func listOf(words []string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, strconv.Quote(w))
	}
	return strings.Join(quoted, ", ")
}

// rareOf are values at the edges of what a store's types hold, by the family.
var rareOf = map[bool]map[family][]string{
	true: { // PostgreSQL's
		decimals: {"NaN", "Infinity"}, floats: {"NaN", "Infinity"}, dates: {"infinity", "0044-03-15 BC", "294276-12-31"},
		timestamps: {"infinity", "0044-03-15 00:00:00 BC", "294276-12-31 23:59:59"}, documents: {"0.12345678901234567890", "18446744073709551616"}},
	false: {
		texts: {"a\x00"}, dates: {"0000-00-00", "2026-02-31"}, timestamps: {"0000-00-00 00:00:00"}, times: {"838:59:59", "-01:00:00"}},
}

// rare says which values at the edges the other store has no place for (docs/type-pairs.md): they
// are unrepresentable where somebody writes one, and no reason to stay.
func (v *values) rare() []misfit {
	var beyond []string
	for _, text := range rareOf[v.from.driver == schemas.Postgres][v.from.family] {
		if v.field.CanHold(v.from.driver, text) && !v.field.CanHold(v.to.driver, text) {
			beyond = append(beyond, text)
		}
	}
	if len(beyond) == 0 {
		return nil
	}
	return []misfit{{Note, "unrepresentable", "it has no place for " + listOf(beyond), "see that nobody writes such a value"}}
}
