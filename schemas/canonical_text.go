package schemas

import (
	"strings"
	"unicode/utf8"
)

// textType is text, byte by byte.
type textType struct{}

func (textType) declared() string { return typeText }

func (textType) canon(dst []byte, text string) ([]byte, limits, error) {
	return append(dst, text...), textLimits(text), nil
}

func (textType) write(dst []byte, canonical string, _ Driver) []byte {
	return append(dst, canonical...)
}

// textLimits says who cannot hold a text: PostgreSQL refuses a NUL and what is
// not UTF-8.
func textLimits(text string) limits {
	if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
		return beyondPostgres
	}
	return 0
}

// enumType is the name of a member of an enum, or MySQL's comma-separated
// names of a set.
type enumType struct{ textType }

func (enumType) declared() string { return typeEnum }

// booleanType is true or false.
type booleanType struct{}

func (booleanType) declared() string { return typeBoolean }

func (booleanType) canon(dst []byte, text string) ([]byte, limits, error) {
	switch text {
	case "t", "1", "true", "f", "0", "false":
	default:
		var ok bool
		if text, ok = otherBoolean(text); !ok {
			return dst, 0, unreadable("not a boolean")
		}
	}
	if text[0] == 't' || text[0] == '1' {
		return append(dst, "true"...), 0, nil
	}
	return append(dst, "false"...), 0, nil
}

func otherBoolean(text string) (string, bool) {
	if bits, ok := bitLiteral(text); ok && bits <= 1 {
		return "01"[bits : bits+1], true
	}
	switch strings.ToLower(text) {
	case "t", "true", "y", "yes", `\x01`, "\x01":
		return "t", true
	case "f", "false", "n", "no", `\x00`, "\x00":
		return "f", true
	}
	return "", false
}

func (booleanType) write(dst []byte, canonical string, d Driver) []byte {
	yes := canonical == "true"
	switch {
	case d == Postgres && yes:
		return append(dst, 't')
	case d == Postgres:
		return append(dst, 'f')
	case yes:
		return append(dst, '1')
	}
	return append(dst, '0')
}

// bytesType is a string of bytes: \x and two lowercase hexadecimal digits for
// each.
type bytesType struct{}

func (bytesType) declared() string { return typeBytes }

func (bytesType) canon(dst []byte, text string) ([]byte, limits, error) {
	digits, ok := strings.CutPrefix(text, `\x`)
	if !ok || len(digits)%2 != 0 {
		return dst, 0, unreadable(`not \x and pairs of hexadecimal digits`)
	}
	start := len(dst)
	dst = append(dst, text...)
	if !lowerHex(dst[start+2:]) {
		return dst[:start], 0, unreadable(`not \x and pairs of hexadecimal digits`)
	}
	return dst, 0, nil
}

func (bytesType) write(dst []byte, canonical string, _ Driver) []byte {
	return append(dst, canonical...)
}

// lowerHex lowers hexadecimal digits in place, and says whether all are.
func lowerHex(digits []byte) bool {
	for i, c := range digits {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f':
		case 'A' <= c && c <= 'F':
			digits[i] = c + 'a' - 'A'
		default:
			return false
		}
	}
	return true
}

// uuidType is a UUID: 36 lowercase characters. It reads the forms that
// PostgreSQL takes in, and the 16 bytes of a BINARY(16).
type uuidType struct{}

func (uuidType) declared() string { return typeUUID }

func (uuidType) canon(dst []byte, text string) ([]byte, limits, error) {
	const wrong = unreadable("not a UUID")
	if len(text) == 34 && text[:2] == `\x` {
		text = text[2:]
	} else if len(text) > 2 && text[0] == '{' && text[len(text)-1] == '}' {
		text = text[1 : len(text)-1]
	}
	start := len(dst)
	switch len(text) {
	case 36:
		if text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
			return dst, 0, wrong
		}
		dst = append(dst, text...)
	case 32:
		for i, end := range [...]int{8, 12, 16, 20, 32} {
			if i > 0 {
				dst = append(dst, '-')
			}
			dst = append(dst, text[len(dst)-start-i:end]...)
		}
	default:
		return dst, 0, wrong
	}
	u := dst[start:]
	if !lowerHex(u[:8]) || !lowerHex(u[9:13]) || !lowerHex(u[14:18]) || !lowerHex(u[19:23]) || !lowerHex(u[24:]) {
		return dst[:start], 0, wrong
	}
	return dst, 0, nil
}

func (uuidType) write(dst []byte, canonical string, _ Driver) []byte {
	return append(dst, canonical...)
}
