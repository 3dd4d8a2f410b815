package baseline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Store is a store whose rows can be read beside its stream: an adapter.
type Store interface {
	// Table looks at how an entity's rows are read.
	Table(ctx context.Context, e *schemas.Entity) (*Table, error)
	// Split returns the key of the row that is n rows after the key after (nil: the beginning), nil if fewer rows follow.
	Split(ctx context.Context, t *Table, after []string, n int) ([]string, error)
	// Read reads a chunk and returns when it was handed over, with the bytes of its rows. An error with ErrAgain says
	// that it has to be read again.
	Read(ctx context.Context, c *Chunk) (bytes int, err error)
	// Windows are the source's.
	Windows() *Windows
	// Close gives connections back.
	Close()
}

// Table is how an entity's rows are read on a side.
type Table struct {
	Entity   *schemas.Entity
	Name     string   // for people
	Identity string   // which table it is, and how its rows are ordered
	Order    []string // the columns of the unique index that orders the rows
	// Unordered says why the store does not order the rows as canonical keys are ordered; empty: it does. Then ranges of keys
	// can be said to be covered, and the two sides are read in step.
	Unordered string
	Rows      int64 // an estimate; 0: none
	Bytes     int64 // that the table takes, about; 0: not known
}

// Ordering is what is known of how a store orders a column's values.
type Ordering struct {
	// Follows are the canonical types whose texts are in the same order as the column's values: by their bytes, and whole
	// numbers by value.
	Follows []string
	// Otherwise says how the values are ordered where they follow no type.
	Otherwise string
}

// Unordered says why columns do not order rows as the entity's canonical keys are
// ordered; empty: they do. How their values are ordered is the adapter's to know.
func Unordered(e *schemas.Entity, side schemas.Side, columns []string, of func(column string) Ordering) string {
	key := make([]string, 0, len(e.KeyFields))
	for _, name := range e.KeyFields {
		i := slices.IndexFunc(e.Fields, func(f schemas.Field) bool { return f.Name == name })
		column, ok := e.Fields[i].Column(side)
		if !ok {
			return "field " + name + " of the key is an expression"
		}
		key = append(key, column)
	}
	if !slices.Equal(key, columns) {
		return fmt.Sprintf("its rows are ordered by (%s), the key is (%s)", strings.Join(columns, ", "), strings.Join(key, ", "))
	}
	for i, name := range e.KeyFields {
		f := slices.IndexFunc(e.Fields, func(f schemas.Field) bool { return f.Name == name })
		typ := e.Fields[f].Type
		switch o := of(columns[i]); {
		case slices.Contains(o.Follows, typ):
		case o.Otherwise != "":
			return fmt.Sprintf("column %s is ordered %s", columns[i], o.Otherwise)
		default:
			return fmt.Sprintf("column %s is ordered as %s, field %s is %s", columns[i], strings.Join(o.Follows, " or "), name, typ)
		}
	}
	return ""
}

// SayOrder makes it part of what identifies the table that its rows are in the order of
// canonical keys which are not whole numbers: what was read before that was known has
// no ranges that are covered.
func (t *Table) SayOrder() {
	whole := func(name string) bool {
		return slices.ContainsFunc(t.Entity.Fields, func(f schemas.Field) bool { return f.Name == name && f.Type == "integer" })
	}
	if t.Unordered == "" && slices.ContainsFunc(t.Entity.KeyFields, func(name string) bool { return !whole(name) }) {
		t.Identity += ", canonical"
	}
}

// key is the canonical key of what the store has in the columns that order it.
func (t *Table) key(texts []string) []string {
	if texts == nil {
		return nil
	}
	if key, err := t.Entity.CanonicalKey(texts); err == nil {
		return key
	}
	return texts
}

// Chunk is a range of keys in the order of the store.
type Chunk struct {
	Table     *Table
	After, To []string // exclusive, inclusive; nil: open
	// MaxBytes is how much is read at most, one row apart: what follows stays for another chunk.
	MaxBytes int

	state *State
	// handed is told how far the chunk went, by the delivering goroutine.
	handed func(to []string, rows int, pos string) ([]*schemas.Covered, func())
	void   func() *schemas.Gap
}

// Rows makes what a window takes: changes without epoch and position, in the
// order of the store. To is the key of the last one if the chunk ends there, nil
// if it was read whole.
func (c *Chunk) Rows(changes []schemas.Change, refused []Refused, to []string) (*Rows, error) {
	first, err := c.state.Reserve(len(changes) + len(refused))
	if err != nil {
		return nil, err
	}
	if to == nil {
		to = c.To
	}
	n := len(changes) + len(refused)
	return &Rows{Changes: changes, Refused: refused, First: first, Void: c.void,
		Handed: func(pos string) ([]*schemas.Covered, func()) { return c.handed(to, n, pos) }}, nil
}

// Refused is a row that no change can be made of. It is told its event id, by
// the delivering goroutine.
type Refused = func(ctx context.Context, id schemas.EventID) error
