package schemas

// reading is a field's value in a row.
type reading struct {
	presence Presence // Unavailable where a column it needs is
	missing  bool     // a column it needs is not in the row at all
	text     string   // the server's text
	problem  error    // the expression gave no value; text holds what it was given
}

// rowCursor finds columns of a row. Rows list their columns in the table's
// order and fields mostly follow it, so it looks on from where it last was.
type rowCursor struct {
	row Row
	at  int
}

func (c *rowCursor) find(name string) (*Column, bool) {
	for range c.row {
		if c.at == len(c.row) {
			c.at = 0
		}
		column := &c.row[c.at]
		c.at++
		if column.Name == name {
			return column, true
		}
	}
	return nil, false
}

// read gives the field's value on a side.
func (f *Field) read(side Side, c *rowCursor) reading {
	s := &f.sources[side]
	switch {
	case s.nulls.none() && s.expr == nil && s.values == nil: // as most are
		return s.readColumn(c)
	case s.nulls.absent:
		return reading{text: *s.nulls.fallback}
	case s.nulls.none():
		return s.mapped(s.read(c))
	}
	r := s.mapped(s.nulls.emptied(f, s.read(c)))
	return s.nulls.defaulted(r)
}

// read gives what the columns say.
func (s *source) read(c *rowCursor) reading {
	if s.expr != nil {
		return s.expr.read(c)
	}
	return s.readColumn(c)
}

func (s *source) readColumn(c *rowCursor) reading {
	column, ok := c.find(s.column)
	switch {
	case !ok:
		return reading{missing: true}
	case column.Presence == Masked:
		return reading{presence: Unavailable}
	}
	return reading{presence: column.Presence, text: column.Text}
}

// mapped gives what a column's value stands for.
func (s *source) mapped(r reading) reading {
	if s.values != nil && r.presence == Value && !r.missing {
		return s.values.read(r.text)
	}
	return r
}

// CanRead says whether a store's text is a value of the field's type.
func (f *Field) CanRead(text string) bool {
	_, _, err := f.canonical.canon(nil, text)
	return err == nil
}
