package baseline

import (
	"context"

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
	// Integers says that these are the columns of the canonical key, in its order, and whole numbers: the store orders
	// the rows canonically, so that ranges of keys can be said to be covered.
	Integers bool
	Rows     int64 // an estimate; 0: none
	Bytes    int64 // that the table takes, about; 0: not known
}

// Canonical says whether columns are the entity's key, and the key is of whole
// numbers. That the columns are of an integer type as well is the adapter's to
// know.
func Canonical(e *schemas.Entity, side schemas.Side, columns []string) bool {
	if len(columns) != len(e.KeyFields) {
		return false
	}
	for i, name := range e.KeyFields {
		for j := range e.Fields {
			f := &e.Fields[j]
			if f.Name != name {
				continue
			}
			if column, ok := f.Column(side); !ok || column != columns[i] || f.Type != "integer" {
				return false
			}
		}
	}
	return true
}

// Chunk is a range of keys in the order of the store.
type Chunk struct {
	Table     *Table
	After, To []string // exclusive, inclusive; nil: open
	// MaxBytes is how much is read at most, one row apart: what follows stays for another chunk.
	MaxBytes int

	state *State
	// handed is told how far the chunk went, by the delivering goroutine.
	handed func(to []string, rows int) ([]*schemas.Covered, func())
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
	return &Rows{Changes: changes, Refused: refused, First: first,
		Handed: func() ([]*schemas.Covered, func()) { return c.handed(to, n) }}, nil
}

// Refused is a row that no change can be made of. It is told its event id, by
// the delivering goroutine.
type Refused = func(ctx context.Context, id schemas.EventID) error
