package mysql

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// column of a table.
type column struct {
	family    family
	generated bool // computed from other columns: nothing of its own to compare or to write
	uuid      bool // 16 bytes: those of a UUID, where one is to be written
	touched   bool // ON UPDATE: the store writes it along with any other, unless it is written itself
}

// family says how columns of a type are compared and bound.
type family int

const (
	plain    family = iota // numbers, times, UUID, INET6, native JSON: the text that the store makes
	textual                // text, ENUM and SET: in a character set, compared as utf8mb4
	binary                 // bytes, which capture ships as \x and hexadecimal digits
	bits                   // BIT
	floating               // FLOAT, of which the store's own text shows six digits
)

func familyOf(dataType string, charset bool) family {
	switch t := strings.ToLower(dataType); {
	case charset:
		return textual
	case t == "bit":
		return bits
	case t == "float":
		return floating
	case t == "binary" || t == "varbinary" || t == "vector" || strings.HasSuffix(t, "blob"):
		return binary
	case t == "geometry" || t == "geometrycollection" || strings.HasSuffix(t, "point") ||
		strings.HasSuffix(t, "linestring") || strings.HasSuffix(t, "polygon"):
		return binary
	}
	return plain
}

// uuid is the canonical text of one.
var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// place returns what stands where a value of the column is bound, and the value.
func (c column) place(name string, value schemas.Column) (string, any, error) {
	if value.Presence == schemas.Null {
		return "?", nil, nil
	}
	digits, isHex := strings.CutPrefix(value.Text, `\x`)
	switch {
	case value.Presence == schemas.Masked: // of what is only shown
		place := "?"
		switch c.family {
		case binary:
			place = "UNHEX(?)"
		case bits:
			place = "CAST(? AS UNSIGNED)"
		}
		return place, "masked:" + value.Text, nil
	case c.family == binary && !isHex && c.uuid && uuid.MatchString(value.Text):
		return "UNHEX(?)", strings.ReplaceAll(value.Text, "-", ""), nil
	case c.family == binary:
		if !isHex && uuid.MatchString(value.Text) {
			return "", nil, compensate.Refuse("column %q cannot hold a UUID: of the columns for bytes, binary(16) and varbinary(16) can", name)
		}
		if _, err := hex.DecodeString(digits); err != nil || !isHex {
			return "", nil, compensate.Refuse(`column %q holds bytes, and what is to be compared or written is not \x and hexadecimal digits`, name)
		}
		return "UNHEX(?)", digits, nil
	case c.family == bits:
		base := 10
		if isHex {
			base = 16
		}
		number, err := strconv.ParseUint(digits, base, 64)
		if err != nil {
			return "", nil, compensate.Refuse(`column %q holds bits, and what is to be compared or written is neither a number nor \x and hexadecimal digits`, name)
		}
		return "CAST(? AS UNSIGNED)", strconv.FormatUint(number, 10), nil
	}
	return "?", value.Text, nil
}

// same returns a condition that is true only if the column is, byte by byte, what
// was judged, and its arguments.
func (c column) same(value schemas.Column) (string, []any, error) {
	name := quote(value.Name)
	if value.Presence == schemas.Null {
		return name + " IS NULL", nil, nil
	}
	place, arg, err := c.place(value.Name, value)
	if err != nil {
		return "", nil, err
	}
	switch c.family {
	case textual:
		return fmt.Sprintf("CAST(CONVERT(%s USING utf8mb4) AS BINARY) <=> CAST(? AS BINARY)", name), []any{arg}, nil
	case binary:
		return fmt.Sprintf("CAST(%s AS BINARY) <=> UNHEX(?)", name), []any{arg}, nil
	case bits:
		return fmt.Sprintf("%s + 0 <=> %s", name, place), []any{arg}, nil
	}
	return fmt.Sprintf("CAST(CAST(%s AS CHAR) AS BINARY) <=> CAST(? AS BINARY)", name), []any{arg}, nil
}

// quote makes an identifier of any text without a NUL.
func quote(name string) string {
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}
