package schemas

import (
	"cmp"
	"fmt"
	"math/big"
	"strings"
)

// ordered says whether values of the field have an order that both stores
// agree on: text has as many as there are collations.
func (f *Field) ordered() bool {
	switch f.canonical.(type) {
	case integerType, decimalType, floatType, dateType, timestampType:
		return true
	}
	return false
}

// counts says whether values of the field can be added exactly.
func (f *Field) counts() bool {
	switch f.canonical.(type) {
	case integerType, decimalType:
		return true
	}
	return false
}

// Compare orders two canonical values of a field; false where they have no
// order: a NaN, or a field of a type without one.
func (e *Entity) Compare(field, a, b string) (int, bool) {
	f := e.field(field)
	if f == nil || !f.ordered() {
		return 0, false
	}
	if a == b {
		return 0, a != "NaN"
	}
	switch f.canonical.(type) {
	case dateType, timestampType:
		x, okA := timeOrder(a)
		y, okB := timeOrder(b)
		return cmp.Or(cmp.Compare(x.year, y.year), strings.Compare(x.rest, y.rest)), okA && okB
	case floatType:
		x, errA := floatOf(a)
		y, errB := floatOf(b)
		return cmp.Compare(x, y), errA == nil && errB == nil && x == x && y == y
	}
	x, okA := exact(a)
	y, okB := exact(b)
	if okA && okB {
		return x.Cmp(y), true
	}
	// PostgreSQL's numeric has infinities.
	return cmp.Compare(infinite(a), infinite(b)), (okA || infinite(a) != 0) && (okB || infinite(b) != 0)
}

func infinite(text string) int {
	switch text {
	case "Infinity":
		return 1
	case "-Infinity":
		return -1
	}
	return 0
}

// yearTime is a canonical date or timestamp: the year, and what follows it,
// which has the same width everywhere.
type yearTime struct {
	year int
	rest string
}

func timeOrder(text string) (yearTime, bool) {
	const beyond = 1 << 30
	switch text {
	case "infinity":
		return yearTime{year: beyond}, true
	case "-infinity":
		return yearTime{year: -beyond}, true
	}
	plain, bc := strings.CutSuffix(text, " BC")
	c, _, ok := scanDate(strings.TrimSuffix(plain, "Z"))
	c.bc = bc
	_, rest, cut := strings.Cut(plain, "-")
	return yearTime{c.astronomical(), rest}, ok && cut
}

// exact reads a canonical whole or decimal number.
func exact(text string) (*big.Rat, bool) {
	if strings.ContainsAny(text, "eE/pPxX_") {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// Difference returns a less b as a decimal number, for a field that counts.
func (e *Entity) Difference(field, a, b string) (string, error) {
	f := e.field(field)
	if f == nil || !f.counts() {
		return "", fmt.Errorf("field %s is not a number that can be added to", field)
	}
	x, okA := exact(a)
	y, okB := exact(b)
	if !okA || !okB {
		return "", fmt.Errorf("field %s has a value that cannot be added to", field)
	}
	return decimalText(x.Sub(x, y)), nil
}

// decimalText writes a decimal number out, without an exponent.
func decimalText(r *big.Rat) string {
	digits, exactly := r.FloatPrec()
	if !exactly {
		panic("schemas: a sum of decimals that is none")
	}
	return r.FloatString(digits)
}

// Negate returns the number with its sign turned.
func Negate(number string) (string, error) {
	r, ok := exact(number)
	if !ok {
		return "", fmt.Errorf("%.40q is not a decimal number", number)
	}
	return decimalText(r.Neg(r)), nil
}

// Sum adds two decimal numbers.
func Sum(a, b string) (string, error) {
	x, okA := exact(a)
	y, okB := exact(b)
	if !okA || !okB {
		return "", fmt.Errorf("%.40q and %.40q are not decimal numbers", a, b)
	}
	return decimalText(x.Add(x, y)), nil
}
