package compat

import (
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// family is a kind of column types whose values are written alike.
type family string

const (
	integers   family = "integer"
	booleans   family = "boolean"
	decimals   family = "decimal"
	floats     family = "float"
	texts      family = "text"
	bytesOf    family = "bytes"
	uuids      family = "uuid"
	dates      family = "date"
	times      family = "time"
	timestamps family = "timestamp"
	documents  family = "json"
	enums      family = "enum"
	sets       family = "set"
	arrays     family = "array"
	others     family = "other"
)

// unbounded is a length that the type does not bound.
const unbounded = -1

// domain is which values a column's type has a place for.
type domain struct {
	family family
	text   string // the type as the store writes it
	driver schemas.Driver

	low, high *big.Int // of integers
	whole     int      // digits before the point, of decimals
	scale     int      // digits after it
	chars     int      // of texts
	octets    int      // of texts and bytes
	precision int      // digits of a second
	bits      int      // of floats
	labels    []string // of enums
	charset   string   // of texts that cannot hold every character; empty: any
	range32   bool     // a timestamp that is a number of 32 bits: from 1970 to 2038
}

var typeText = regexp.MustCompile(`^([a-z_ ]+?) *(?:\(([^()]*)\))? *((?:with|without) time zone)?((?: *\[[0-9]*\])*)((?: (?:unsigned|zerofill))*)$`)

// domainOf reads a column's type.
func domainOf(d schemas.Driver, column *schemas.ColumnShape) domain {
	out := domain{family: others, text: column.Type, driver: d, chars: unbounded, octets: unbounded, whole: unbounded, scale: unbounded, precision: 6}
	text := strings.ToLower(strings.TrimSpace(column.Type))
	if name, ok := strings.CutPrefix(text, "enum("); ok && strings.HasSuffix(name, ")") {
		out.family, out.labels = enums, quotedLabels(column.Type[len("enum("):len(column.Type)-1])
		return out
	}
	if strings.HasPrefix(text, "set(") {
		out.family = sets
		return out
	}
	text, out.charset, _ = strings.Cut(text, " character set ")
	if slices.Contains(wholeUnicode, out.charset) {
		out.charset = ""
	}
	m := typeText.FindStringSubmatch(text)
	if m == nil {
		return out
	}
	name, args := m[1]+strings.TrimSuffix(" "+m[3], " "), arguments(m[2])
	if m[4] != "" {
		out.family = arrays
		return out
	}
	unsigned := strings.Contains(m[5], "unsigned")
	if d == schemas.Postgres {
		out.postgres(name, args)
	} else {
		out.mysql(name, args, unsigned)
	}
	return out
}

// wholeUnicode are the character sets that hold every character.
var wholeUnicode = []string{"utf8mb4", "utf16", "utf16le", "utf32", "gb18030"}

func arguments(text string) (out []int) {
	for part := range strings.SplitSeq(text, ",") {
		if n, err := strconv.Atoi(strings.TrimSpace(part)); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// quotedLabels reads 'a','it”s'.
func quotedLabels(text string) (out []string) {
	for text != "" {
		_, rest, ok := strings.Cut(text, "'")
		if !ok {
			return out
		}
		var label strings.Builder
		for {
			part, after, closed := strings.Cut(rest, "'")
			label.WriteString(part)
			if !closed || !strings.HasPrefix(after, "'") {
				rest = after
				break
			}
			label.WriteByte('\'')
			rest = after[1:]
		}
		out, text = append(out, label.String()), rest
	}
	return out
}

func (d *domain) integer(bits uint, unsigned bool) {
	d.family = integers
	if unsigned {
		d.low, d.high = new(big.Int), new(big.Int).Lsh(big.NewInt(1), bits)
	} else {
		d.high = new(big.Int).Lsh(big.NewInt(1), bits-1)
		d.low = new(big.Int).Neg(d.high)
	}
	d.high.Sub(d.high, big.NewInt(1))
}

// decimal takes the digits and how many of them are behind the point; without, there may be any number.
func (d *domain) decimal(args []int) {
	d.family = decimals
	if len(args) > 0 {
		d.scale = 0
		if len(args) > 1 {
			d.scale = args[1]
		}
		d.whole = args[0] - d.scale
	}
}

// first is the first of a type's arguments.
func first(args []int, otherwise int) int {
	if len(args) > 0 {
		return args[0]
	}
	return otherwise
}

func (d *domain) postgres(name string, args []int) {
	switch name {
	case "smallint":
		d.integer(16, false)
	case "integer":
		d.integer(32, false)
	case "bigint":
		d.integer(64, false)
	case "numeric":
		d.decimal(args)
	case "real", "double precision":
		d.family, d.bits = floats, map[string]int{"real": 32, "double precision": 64}[name]
	case "boolean":
		d.family = booleans
	case "text", "citext":
		d.family = texts
	case "character varying":
		d.family, d.chars = texts, first(args, unbounded)
	case "character":
		d.family, d.chars = texts, first(args, 1)
	case "bytea":
		d.family = bytesOf
	case "uuid":
		d.family = uuids
	case "date":
		d.family = dates
	case "time without time zone":
		d.family, d.precision = times, first(args, 6)
	case "timestamp without time zone", "timestamp with time zone":
		d.family, d.precision = timestamps, first(args, 6)
	case "json", "jsonb":
		d.family = documents
	}
}

// MySQL's types of text and bytes that are bound by their length in bytes.
var sizes = map[string]int{"tiny": 1<<8 - 1, "": 1<<16 - 1, "medium": 1<<24 - 1, "long": 1<<32 - 1}

func (d *domain) mysql(name string, args []int, unsigned bool) {
	if prefix, ok := strings.CutSuffix(name, "text"); ok {
		if size, known := sizes[prefix]; known {
			d.family, d.octets = texts, size
			return
		}
	}
	if prefix, ok := strings.CutSuffix(name, "blob"); ok {
		if size, known := sizes[prefix]; known {
			d.family, d.octets = bytesOf, size
			return
		}
	}
	switch name {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		d.integer(map[string]uint{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}[name], unsigned)
	case "year":
		d.family, d.low, d.high = integers, new(big.Int), big.NewInt(2155)
	case "bit":
		d.integer(uint(max(first(args, 1), 1)), true)
	case "decimal":
		if len(args) == 0 {
			args = []int{10, 0}
		}
		d.decimal(args)
	case "float", "double":
		d.family, d.bits = floats, map[string]int{"float": 32, "double": 64}[name]
	case "varchar", "char":
		d.family, d.chars = texts, first(args, 1)
	case "varbinary", "binary":
		d.family, d.octets = bytesOf, first(args, 1)
	case "uuid":
		d.family = uuids
	case "inet", "inet6":
		d.family, d.chars = texts, 45
	case "date":
		d.family = dates
	case "time":
		d.family, d.precision = times, first(args, 0)
	case "datetime":
		d.family, d.precision = timestamps, first(args, 0)
	case "timestamp":
		d.family, d.precision, d.range32 = timestamps, first(args, 0), true
	case "json":
		d.family = documents
	}
}

// bytesMost is how long a value can be in bytes, unbounded if the type does not say.
func (d *domain) bytesMost() int {
	switch {
	case d.octets != unbounded:
		return d.octets
	case d.chars != unbounded:
		return 4 * d.chars // of UTF-8
	}
	return unbounded
}
