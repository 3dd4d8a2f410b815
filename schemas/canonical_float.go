package schemas

import (
	"math"
	"strconv"
)

// floatType is a binary floating-point number of 64 bits: its canonical text
// is the shortest that reads back as the same bits. Minus zero is not zero.
type floatType struct{}

func (floatType) declared() string { return typeFloat }

func (floatType) canon(dst []byte, text string) ([]byte, limits, error) {
	if special, ok := specialNumber(text); ok {
		return append(dst, special...), beyondMySQL, nil
	}
	f, err := parseFloat(text)
	if err != nil {
		return dst, 0, err
	}
	return appendFloat(dst, f), 0, nil
}

func (floatType) write(dst []byte, canonical string, _ Driver) []byte {
	return append(dst, canonical...)
}

// parseFloat reads a decimal number as the nearest float64.
func parseFloat(text string) (float64, error) {
	if len(text) > maxDigits {
		return 0, unreadable("a number of too many digits")
	}
	if _, ok := scanNumber(text); !ok { // ParseFloat also reads hexadecimal, underscores and words
		return 0, unreadable("not a number")
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, unreadable("a number that a float cannot hold")
	}
	return f, nil
}

func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

// tolerance says how far two floats may lie apart and still be equal: a number
// of representable values between them, or a share of the larger one. Neither
// is transitive, so tolerant values stay out of digests.
type tolerance struct {
	ulps     uint64
	relative float64
}

func (t tolerance) equal(a, b float64) bool {
	switch {
	case math.IsNaN(a) || math.IsNaN(b):
		return math.IsNaN(a) && math.IsNaN(b)
	case a == b:
		return true
	case math.IsInf(a, 0) || math.IsInf(b, 0):
		return false
	case t.ulps > 0:
		return floatDistance(a, b) <= t.ulps
	}
	return math.Abs(a-b) <= t.relative*max(math.Abs(a), math.Abs(b))
}

// floatDistance counts the steps from a to b through the representable values.
func floatDistance(a, b float64) uint64 {
	x, y := floatOrdinal(a), floatOrdinal(b)
	if x > y {
		x, y = y, x
	}
	return uint64(y) - uint64(x)
}

// floatOrdinal numbers the floats in ascending order, both zeros as 0.
func floatOrdinal(f float64) int64 {
	bits := int64(math.Float64bits(f))
	if bits < 0 {
		return math.MinInt64 - bits
	}
	return bits
}

// valueOf is the float64 of a canonical float text.
func valueOf(canonical []byte) float64 {
	f, _ := strconv.ParseFloat(textOf(canonical), 64) // reads NaN and Infinity too
	return f
}

// floatOf is the float64 of a float's text.
func floatOf(text string) (float64, error) {
	if special, ok := specialNumber(text); ok {
		return valueOf([]byte(special)), nil
	}
	return parseFloat(text)
}
