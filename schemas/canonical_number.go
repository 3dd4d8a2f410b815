package schemas

import (
	"strconv"
	"strings"
)

// number is a decimal number of any size: 0.ab × 10^point, where ab are the
// digits of a and b one after the other, without zeros at either end. No
// digits: zero.
type number struct {
	neg   bool
	a, b  string
	point int
}

// scanNumber reads [+-]digits[.digits][e[+-]digits] with at least one digit.
func scanNumber(text string) (n number, ok bool) {
	if text != "" && (text[0] == '-' || text[0] == '+') {
		n.neg = text[0] == '-'
		text = text[1:]
	}
	n.a, text = cutDigits(text)
	if strings.HasPrefix(text, ".") {
		n.b, text = cutDigits(text[1:])
	}
	if n.a == "" && n.b == "" {
		return number{}, false
	}
	exponent := 0
	if text != "" {
		if text[0] != 'e' && text[0] != 'E' {
			return number{}, false
		}
		if exponent, ok = scanExponent(text[1:]); !ok {
			return number{}, false
		}
	}
	n.point = len(n.a) + exponent
	n.trim()
	return n, true
}

// scanExponent reads [+-]digits up to a billion either way.
func scanExponent(text string) (exponent int, ok bool) {
	neg := strings.HasPrefix(text, "-")
	if neg || strings.HasPrefix(text, "+") {
		text = text[1:]
	}
	digits, rest := cutDigits(text)
	if digits == "" || rest != "" {
		return 0, false
	}
	digits = strings.TrimLeft(digits, "0")
	if len(digits) > 9 {
		return 0, false
	}
	for i := range len(digits) {
		exponent = exponent*10 + int(digits[i]-'0')
	}
	if neg {
		exponent = -exponent
	}
	return exponent, true
}

func cutDigits(s string) (digits, rest string) {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}

// trim takes the zeros off both ends. Zero has no sign.
func (n *number) trim() {
	n.b = strings.TrimRight(n.b, "0")
	if n.b == "" {
		n.a = strings.TrimRight(n.a, "0")
	}
	was := len(n.a)
	n.a = strings.TrimLeft(n.a, "0")
	n.point -= was - len(n.a)
	if n.a == "" {
		was := len(n.b)
		n.b = strings.TrimLeft(n.b, "0")
		n.point -= was - len(n.b)
	}
	if n.a == "" && n.b == "" {
		*n = number{}
	}
}

// len is the number of significant digits.
func (n *number) len() int { return len(n.a) + len(n.b) }

// whole is the number of digits before the decimal point, none for 0.5.
func (n *number) whole() int { return max(n.point, 0) }

// fraction is the number of digits after the decimal point.
func (n *number) fraction() int { return max(n.len()-n.point, 0) }

// fits says whether the number, which text stands for, can be written out.
func (n *number) fits(text string) bool {
	whole, fraction := n.whole(), n.fraction()
	return whole <= maxDigits && fraction <= maxDigits && whole+fraction <= len(text)+maxZeros
}

// append appends the number with at least scale digits after the point, and
// as many as it has.
func (n *number) append(dst []byte, scale int) []byte {
	if n.neg {
		dst = append(dst, '-')
	}
	if n.point <= 0 {
		dst = append(dst, '0')
	} else {
		dst = n.digits(dst, 0, n.point)
	}
	fraction := max(n.fraction(), scale)
	if fraction == 0 {
		return dst
	}
	dst = append(dst, '.')
	return n.digits(dst, n.point, n.point+fraction)
}

// digits appends the digits from index from to index to, zeros where there are
// none.
func (n *number) digits(dst []byte, from, to int) []byte {
	for ; from < to && from < 0; from++ {
		dst = append(dst, '0')
	}
	if from < to && from < len(n.a) {
		end := min(to, len(n.a))
		dst = append(dst, n.a[from:end]...)
		from = end
	}
	if from < to && from < n.len() {
		end := min(to, n.len())
		dst = append(dst, n.b[from-len(n.a):end-len(n.a)]...)
		from = end
	}
	for ; from < to; from++ {
		dst = append(dst, '0')
	}
	return dst
}

// limits says who cannot hold the number: MySQL's DECIMAL ends at 65 digits,
// 38 of them after the point.
func (n *number) limits() limits {
	if n.whole()+n.fraction() > 65 || n.fraction() > 38 {
		return beyondMySQL
	}
	return 0
}

// integerType is a whole number of any size.
type integerType struct{}

func (integerType) declared() string { return typeInteger }

func (integerType) canon(dst []byte, text string) ([]byte, limits, error) {
	if plainInteger(text) {
		return append(dst, text...), 0, nil
	}
	if bits, ok := bitLiteral(text); ok {
		return strconv.AppendUint(dst, bits, 10), 0, nil
	}
	n, ok := scanNumber(text)
	switch {
	case !ok:
		return dst, 0, unreadable("not a whole number")
	case n.fraction() > 0:
		return dst, 0, unreadable("a number with a fraction, not a whole number")
	case !n.fits(text):
		return dst, 0, unreadable("a number of too many digits")
	}
	return n.append(dst, 0), n.limits(), nil
}

func (integerType) write(dst []byte, canonical string, _ Driver) []byte {
	return append(dst, canonical...)
}

// plainInteger says whether text is a canonical whole number of at most 18
// digits, as nearly all are.
func plainInteger(text string) bool {
	digits := text
	if digits != "" && digits[0] == '-' {
		digits = digits[1:]
	}
	if digits == "" || len(digits) > 18 || (digits[0] == '0' && len(text) > 1) {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}

// bitLiteral reads b'1010', as MySQL prints BIT.
func bitLiteral(text string) (uint64, bool) {
	digits, ok := strings.CutPrefix(text, "b'")
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, "'"); !ok {
		return 0, false
	}
	bits, err := strconv.ParseUint(digits, 2, 64)
	return bits, err == nil
}

// decimalType is an exact decimal number, printed with at least scale digits
// after the point. A number with more is kept whole: it is another number.
type decimalType struct{ scale int }

func (t decimalType) declared() string { return typeDecimal + "(" + strconv.Itoa(t.scale) + ")" }

func (t decimalType) canon(dst []byte, text string) ([]byte, limits, error) {
	if t.plain(text) {
		return append(dst, text...), 0, nil
	}
	return t.any(dst, text)
}

// any reads every form.
func (t decimalType) any(dst []byte, text string) ([]byte, limits, error) {
	if special, ok := specialNumber(text); ok {
		return append(dst, special...), beyondMySQL, nil
	}
	n, ok := scanNumber(text)
	switch {
	case !ok:
		return dst, 0, unreadable("not a decimal number")
	case !n.fits(text):
		return dst, 0, unreadable("a number of too many digits")
	}
	return n.append(dst, t.scale), n.limits(), nil
}

// plain says whether text is a canonical number of at most 19 digits with scale of
// them after the point, as nearly all are.
func (t decimalType) plain(text string) bool {
	if t.scale == 0 {
		return plainInteger(text)
	}
	point := len(text) - 1 - t.scale
	if len(text) > 20 || point < 1 || text[point] != '.' || !plainInteger(text[:point]) {
		return false
	}
	for i := point + 1; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

func (decimalType) write(dst []byte, canonical string, _ Driver) []byte {
	return append(dst, canonical...)
}

// specialNumber reads the values of numeric and double precision that are no
// numbers, as PostgreSQL prints them.
func specialNumber(text string) (string, bool) {
	switch text {
	case "NaN", "Infinity", "-Infinity":
		return text, true
	}
	return "", false
}
