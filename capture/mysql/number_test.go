package mysql

import (
	"math"
	"testing"
)

func TestFloatsArePrintedAsTheServerDoes(t *testing.T) {
	// What MariaDB 10.11 prints; TestValuesEqualTheServersText asks the server itself about many more.
	for _, c := range []struct {
		value    float64
		digits   int
		decimals int
		want     string
	}{
		{0, 17, -1, "0"},
		{1, 17, -1, "1"},
		{-1.5, 17, -1, "-1.5"},
		{1e14, 17, -1, "100000000000000"},
		{1e15, 17, -1, "1e15"},
		{123456789012345678, 17, -1, "1.2345678901234568e17"},
		{0.001, 17, -1, "0.001"},
		{1e-15, 17, -1, "0.000000000000001"},
		{1e-16, 17, -1, "1e-16"},
		{1234567890123456.8, 17, -1, "1234567890123456.8"},
		{math.MaxFloat64, 17, -1, "1.7976931348623157e308"},
		{math.SmallestNonzeroFloat64, 17, -1, "5e-324"},
		{float64(float32(0.1)), 6, -1, "0.1"},
		{float64(float32(1234567.5)), 6, -1, "1234570"},
		{float64(float32(3.4e38)), 6, -1, "3.4e38"},
		{float64(float32(1234567.5)), 6, 2, "1234567.50"},
		{0.3, 17, 20, "0.30000000000000000000"},
		{-0.005, 17, 2, "-0.01"},
	} {
		if got := string(appendFloat(nil, c.value, c.digits, c.decimals)); got != c.want {
			t.Errorf("%g with %d digits, %d decimals: %s, want %s", c.value, c.digits, c.decimals, got, c.want)
		}
	}
}

func TestDecimalsKeepTheirScale(t *testing.T) {
	for _, c := range []struct {
		precision, scale int
		bytes            []byte
		want             string
	}{
		{10, 3, []byte{0x80, 0, 0, 1, 0x01, 0xf4}, "1.500"},
		{10, 3, []byte{0x7f, 0xff, 0xff, 0xfe, 0xfe, 0x0b}, "-1.500"},
		{3, 3, []byte{0x80, 0x05}, "0.005"},
		{14, 4, []byte{0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2}, "1234567890.1234"},
		{14, 4, []byte{0x7E, 0xF2, 0x04, 0xC7, 0x2D, 0xFB, 0x2D}, "-1234567890.1234"},
		{9, 0, []byte{0x80, 0, 0, 0}, "0"},
	} {
		got, n := readDecimal(c.precision, c.scale)(nil, c.bytes)
		if string(got) != c.want || n != len(c.bytes) {
			t.Errorf("decimal(%d,%d) % x: %s in %d bytes, want %s", c.precision, c.scale, c.bytes, got, n, c.want)
		}
	}
}
