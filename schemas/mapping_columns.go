package schemas

import "fmt"

// ColumnsOf is Columns for the named fields alone: what to write where the rest
// of the row is to stay as it is. The columns come in the order of the names.
func (e *Entity) ColumnsOf(side Side, values map[string]*string, fields []string) (Row, error) {
	row := make(Row, 0, len(fields))
	for _, name := range fields {
		f := e.field(name)
		if f == nil {
			return nil, fmt.Errorf("write %s on %s: it has no field %q", e.Name, side, name)
		}
		column, there, err := f.write(side, e.drivers[side], values)
		if err != nil {
			return nil, fmt.Errorf("write %s on %s: field %s: %w", e.Name, side, name, err)
		}
		if there {
			row = append(row, column)
		}
	}
	return row, nil
}
