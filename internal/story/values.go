package story

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/trueup-io/trueup/schemas"
)

// quoted shows a value: NULL, or its text in quotes, cut to at most limit
// characters (0: never), and then with how long it is.
func quoted(v *string, limit int) string {
	if v == nil {
		return "NULL"
	}
	n := utf8.RuneCountInString(*v)
	if limit == 0 || n <= limit {
		return strconv.Quote(*v)
	}
	cut := 0
	for range limit {
		_, size := utf8.DecodeRuneInString((*v)[cut:])
		cut += size
	}
	return fmt.Sprintf("%s… (%d characters)", strconv.Quote((*v)[:cut]), n)
}

// valueIn shows a field of a row as it is known.
func valueIn(e *schemas.Evidence, absentKnown bool, field string, limit int) string {
	switch {
	case e == nil && absentKnown:
		return "(no row)"
	case e == nil:
		return "(never seen)"
	case e.Values == nil:
		return "(no row)"
	}
	v, ok := e.Values[field]
	if !ok {
		return "(not known)"
	}
	return quoted(v, limit)
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
