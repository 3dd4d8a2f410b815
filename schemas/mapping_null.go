package schemas

import "fmt"

// nullRules say what a side's NULL and its empty text stand for. The zero value
// says that each stands for itself.
type nullRules struct {
	// fallback is the canonical text that NULL stands for; nil: NULL is NULL.
	fallback *string
	// absent says that the side has no column for the field: each of its rows has the fallback.
	absent bool
	// emptyIsNull says that a text which the field's collation takes for empty is NULL.
	emptyIsNull bool
	// writeNull is what a repair writes for NULL where emptyIsNull holds: "empty", "null", or "" where that is not said.
	writeNull string
}

// The forms in which a repair writes NULL where an empty text is NULL as well.
const (
	writeNullEmpty = "empty"
	writeNullNull  = "null"
)

// none says that there is nothing to apply, which is the case of most fields.
func (n *nullRules) none() bool { return n.fallback == nil && !n.emptyIsNull }

// emptied makes NULL of an empty text, where that stands for it.
func (n *nullRules) emptied(f *Field, r reading) reading {
	if n.emptyIsNull && r.presence == Value && !r.missing && r.problem == nil && f.empty(r.text) {
		return reading{presence: Null}
	}
	return r
}

// defaulted gives what NULL stands for. A column that the row does not have, and one
// that the log does not carry, are no NULLs.
func (n *nullRules) defaulted(r reading) reading {
	if n.fallback != nil && r.presence == Null && !r.missing && r.problem == nil {
		return reading{text: *n.fallback}
	}
	return r
}

// empty says whether a text is empty under the field's collation.
func (f *Field) empty(text string) bool {
	return text == "" || f.fold != nil && f.fold.fold(text) == ""
}

// write returns the column that stands for NULL. It is an error if none does, or
// more than one.
func (n *nullRules) write(column string) (Column, error) {
	switch {
	case n.fallback != nil:
		return Column{}, fmt.Errorf("NULL stands for its default there, so nothing stands for NULL")
	case n.emptyIsNull && n.writeNull == "":
		return Column{}, fmt.Errorf("NULL and an empty text both stand for NULL there, and writeNull does not say which one to write")
	case n.writeNull == writeNullEmpty:
		return Column{Name: column}, nil
	}
	return Column{Name: column, Presence: Null}, nil
}
