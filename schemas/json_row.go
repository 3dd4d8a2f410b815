package schemas

// row writes a row of the log: its columns in their order, without those that
// are unavailable, which a list beside it names.
func (o *jsonObject) row(name string, row Row) {
	o.field(name)
	columns := openObject(o.dst)
	columns.known(row)
	o.dst = columns.close()
}

// wholeRow writes a row of a derived event: null where there is none, columns
// that are unavailable last, so that it does not depend on the form in which
// the log was read.
func (o *jsonObject) wholeRow(name string, row Row) {
	if row == nil {
		o.null(name)
		return
	}
	o.field(name)
	columns := openObject(o.dst)
	columns.known(row)
	for i := range row {
		if row[i].Presence == Unavailable {
			columns.named(row[i].Name)
			columns.dst = append(columns.dst, `{"unavailable":true}`...)
		}
	}
	o.dst = columns.close()
}

func (o *jsonObject) known(row Row) {
	for i := range row {
		switch row[i].Presence {
		case Value:
			o.named(row[i].Name)
			o.dst = appendText(o.dst, row[i].Text)
		case Null:
			o.named(row[i].Name)
			o.dst = append(o.dst, "null"...)
		case Masked:
			o.named(row[i].Name)
			o.dst = append(o.dst, `{"masked":`...)
			o.dst = append(appendText(o.dst, row[i].Text), '}')
		default: // unavailable: said elsewhere
		}
	}
}

// unavailable writes the names of the columns that are unavailable, if any.
func (o *jsonObject) unavailable(name string, row Row) {
	opened := false
	for i := range row {
		if row[i].Presence != Unavailable {
			continue
		}
		if !opened {
			o.field(name)
			o.dst = append(o.dst, '[')
		} else {
			o.dst = append(o.dst, ',')
		}
		opened = true
		o.dst = appendText(o.dst, row[i].Name)
	}
	if opened {
		o.dst = append(o.dst, ']')
	}
}

// rowColumns is how many columns a row is made for at first: most tables have
// no more.
const rowColumns = 16

// row reads a row. Columns may say that they are unavailable only where whole
// is set.
func (r *jsonReader) row(whole bool) Row {
	row := make(Row, 0, rowColumns)
	var few [fewNames]string
	names := nameCursor{few: few[:0]}
	for r.named(&names) {
		row = append(row, r.column(names.name, whole))
	}
	return row
}

// nullableRow reads a row of a derived event; null is nil.
func (r *jsonReader) nullableRow() Row {
	if r.isNull() {
		return nil
	}
	return r.row(true)
}

func (r *jsonReader) column(name string, whole bool) Column {
	if r.isNull() {
		return Column{Name: name, Presence: Null}
	}
	switch r.peek() {
	case '"':
		return Column{Name: name, Text: r.quoted()}
	case '{':
		text, presence := r.textObject()
		switch {
		case presence == Unavailable && !whole:
			r.fail(`want a text or null: a column that the log does not carry is named in the list "unavailable"`)
		case presence == Masked && !whole:
			r.fail("want a text or null: the log's own values are never masked")
		}
		return Column{Name: name, Text: text, Presence: presence}
	}
	switch what := r.next(); what {
	case "a number", "a boolean":
		r.fail("want a text or null, got %s: put it in quotes, as the server writes it", what)
	default:
		r.fail("want a text or null, got %s", what)
	}
	return Column{}
}

// values writes canonical values, sorted by field; nil is null.
func (o *jsonObject) values(name string, values map[string]*string) {
	if values == nil {
		o.null(name)
		return
	}
	o.field(name)
	fields := openObject(o.dst)
	for _, field := range sortedKeys(values) {
		fields.named(field)
		if text := values[field]; text != nil {
			fields.dst = appendText(fields.dst, *text)
		} else {
			fields.dst = append(fields.dst, "null"...)
		}
	}
	o.dst = fields.close()
}

// values reads canonical values; null is nil.
func (r *jsonReader) values() map[string]*string {
	if r.isNull() {
		return nil
	}
	values := map[string]*string{}
	var names nameCursor
	for r.named(&names) {
		c := r.column(names.name, false)
		values[names.name] = nil
		if c.Presence == Value {
			values[names.name] = &c.Text
		}
	}
	return values
}
