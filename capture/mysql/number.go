package mysql

import (
	"encoding/binary"
	"math"
	"strconv"
)

// A valueReader appends the text of the value that b begins with, as the server
// prints it in a SELECT, and returns it with the length of the value in b. It
// may run off the end of b: rows are decoded under a recover that names their
// position.
type valueReader func(dst, b []byte) (text []byte, n int)

// readInt reads a little-endian integer of size bytes.
func readInt(size int, unsigned bool) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		var v uint64
		for i := size - 1; i >= 0; i-- {
			v = v<<8 | uint64(b[i])
		}
		if unsigned {
			return strconv.AppendUint(dst, v, 10), size
		}
		shift := 64 - 8*size
		return strconv.AppendInt(dst, int64(v<<shift)>>shift, 10), size
	}
}

// readZerofill pads what r prints with zeros on the left, to the display width.
func readZerofill(r valueReader, width int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		start := len(dst)
		dst, n := r(dst, b)
		if missing := width - (len(dst) - start); missing > 0 {
			for range missing {
				dst = append(dst, '0')
			}
			copy(dst[start+missing:], dst[start:len(dst)-missing])
			for i := range missing {
				dst[start+i] = '0'
			}
		}
		return dst, n
	}
}

// readBit prints BIT(n) as an unsigned decimal number.
func readBit(bits int) valueReader {
	size := (bits + 7) / 8
	return func(dst, b []byte) ([]byte, int) {
		var v uint64
		for _, c := range b[:size] {
			v = v<<8 | uint64(c)
		}
		return strconv.AppendUint(dst, v, 10), size
	}
}

// decimalBytes is the length of a group of that many decimal digits.
var decimalBytes = [10]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

// readDecimal reads NEWDECIMAL: groups of nine digits, big-endian, the highest
// bit the inverted sign, everything else inverted where negative.
func readDecimal(precision, scale int) valueReader {
	whole, fraction := precision-scale, scale
	size := whole/9*4 + decimalBytes[whole%9] + fraction/9*4 + decimalBytes[fraction%9]
	return func(dst, b []byte) ([]byte, int) {
		b = b[:size]
		var flip byte
		if b[0]&0x80 == 0 {
			flip = 0xff
			dst = append(dst, '-')
		}
		at := 0
		group := func(digits int) uint64 {
			var v uint64
			for range decimalBytes[digits] {
				c := b[at] ^ flip
				if at == 0 {
					c ^= 0x80
				}
				v = v<<8 | uint64(c)
				at++
			}
			return v
		}
		start := len(dst)
		add := func(digits int) {
			v := group(digits)
			if len(dst) == start { // leading zeros are not printed
				if v != 0 {
					dst = strconv.AppendUint(dst, v, 10)
				}
				return
			}
			dst = appendPadded(dst, v, digits)
		}
		if whole%9 > 0 {
			add(whole % 9)
		}
		for range whole / 9 {
			add(9)
		}
		if len(dst) == start {
			dst = append(dst, '0')
		}
		if fraction > 0 {
			dst = append(dst, '.')
			for range fraction / 9 {
				dst = appendPadded(dst, group(9), 9)
			}
			if fraction%9 > 0 {
				dst = appendPadded(dst, group(fraction%9), fraction%9)
			}
		}
		return dst, size
	}
}

// appendPadded appends v in at least digits decimal digits.
func appendPadded(dst []byte, v uint64, digits int) []byte {
	if digits == 2 && v < 100 {
		return append(dst, byte('0'+v/10), byte('0'+v%10))
	}
	for limit, d := uint64(10), 1; d < digits; limit, d = limit*10, d+1 {
		if v < limit {
			for range digits - d {
				dst = append(dst, '0')
			}
			break
		}
	}
	return strconv.AppendUint(dst, v, 10)
}

// readFloat reads FLOAT. Decimals is that of FLOAT(M,D), -1 for plain FLOAT.
func readFloat(decimals int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		return appendFloat(dst, v, 6, decimals), 4
	}
}

// readDouble reads DOUBLE. Decimals is that of DOUBLE(M,D), -1 for plain DOUBLE.
func readDouble(decimals int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		v := math.Float64frombits(binary.LittleEndian.Uint64(b))
		return appendFloat(dst, v, 17, decimals), 8
	}
}

// appendFloat prints as the servers do: the shortest digits that read back as
// v, but at most so many significant ones; without an exponent where the
// decimal point stands at most 15 places from the first digit, or among the
// digits. With decimals: exactly so many of them.
func appendFloat(dst []byte, v float64, significant, decimals int) []byte {
	var scratch [40]byte
	form := strconv.AppendFloat(scratch[:0], math.Abs(v), 'e', -1, 64)
	digits, exponent := splitExponent(form)
	if decimals >= 0 {
		if len(digits)-1-exponent > decimals {
			return strconv.AppendFloat(dst, v, 'f', decimals, 64)
		}
	} else if len(digits) > significant {
		form = strconv.AppendFloat(scratch[:0], math.Abs(v), 'e', significant-1, 64)
		digits, exponent = splitExponent(form)
	}
	if math.Signbit(v) {
		dst = append(dst, '-')
	}
	if decimals >= 0 {
		return appendFixed(dst, digits, exponent, decimals)
	}
	if point := exponent + 1; point < -14 || point > 15 && len(digits) <= point {
		dst = append(dst, digits[0])
		if len(digits) > 1 {
			dst = append(append(dst, '.'), digits[1:]...)
		}
		return strconv.AppendInt(append(dst, 'e'), int64(exponent), 10)
	}
	return appendFixed(dst, digits, exponent, max(0, len(digits)-1-exponent))
}

// splitExponent takes d.ddde±xx apart, without the trailing zeros of its
// digits. It overwrites form.
func splitExponent(form []byte) (digits []byte, exponent int) {
	e := len(form) - 1
	for form[e] != 'e' {
		e--
	}
	exponent, _ = strconv.Atoi(string(form[e+1:]))
	digits = form[:1]
	if e > 1 {
		copy(form[1:], form[2:e])
		digits = form[:e-1]
	}
	for len(digits) > 1 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return digits, exponent
}

// appendFixed prints 0.digits times 10^(exponent+1) with that many decimals,
// which hold all digits.
func appendFixed(dst, digits []byte, exponent, decimals int) []byte {
	at := func(place int) byte { // place 0 is that of the ones
		if i := exponent - place; i >= 0 && i < len(digits) {
			return digits[i]
		}
		return '0'
	}
	for place := max(exponent, 0); place >= 0; place-- {
		dst = append(dst, at(place))
	}
	if decimals > 0 {
		dst = append(dst, '.')
		for place := -1; place >= -decimals; place-- {
			dst = append(dst, at(place))
		}
	}
	return dst
}
