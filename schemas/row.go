package schemas

// Presence says which of its three values a column has.
type Presence uint8

// The presences.
const (
	Value       Presence = iota // the column has the text
	Null                        // SQL NULL
	Unavailable                 // the log does not carry it (unchanged TOAST, skipped column); never equal to NULL
	Masked                      // of derived events alone: the text is a keyed digest of a sensitive value
)

// Column is one column of a row image: the source's column name and the
// server's own text.
type Column struct {
	Name     string
	Text     string // "" unless Presence is Value or Masked
	Presence Presence
}

// Row is a row image in the order of the table's columns. A nil Row is no
// image; a column that is not in it is not known (as in a key-only before
// image).
type Row []Column

// Get returns the named column.
func (r Row) Get(name string) (Column, bool) {
	for i := range r {
		if r[i].Name == name {
			return r[i], true
		}
	}
	return Column{}, false
}
