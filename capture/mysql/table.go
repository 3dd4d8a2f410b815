package mysql

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/schemas"
)

// table is a table as the log describes it before each statement's rows.
type table struct {
	name   schemas.TableName
	entity *schemas.Entity // nil for a marker table
	marker bool
	raw    []byte // the table map event it was made of, from its post-header on
	cols   []column
	json   int   // columns of MySQL's binary JSON
	ends   []int // scratch of image
}

// The types of columns with the COMPRESSED attribute of MariaDB. The library
// misreads the metadata of all columns behind one.
const (
	typeBlobCompressed    byte = 140
	typeVarcharCompressed byte = 141
)

// errNoNames says that a table map event does not describe its columns.
var errNoNames = undescribed("the log does not name its columns: binlog_row_metadata was not FULL when it was written")

// tableMapID reads the id and the name out of a table map event's body without
// looking at its columns: most tables are not captured.
func tableMapID(body []byte) (id uint64, name schemas.TableName) {
	id = tableID(body)
	at := 8 // 6 bytes of id, 2 of flags
	schema := body[at+1 : at+1+int(body[at])]
	at += 1 + len(schema) + 1
	return id, schemas.TableName{Schema: string(schema), Name: string(body[at+1 : at+1+int(body[at])])}
}

func tableID(body []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(body)) | uint64(binary.LittleEndian.Uint16(body[4:]))<<32
}

// sameAs says whether the event describes the table as it is known already:
// everything but its id.
func (t *table) sameAs(body []byte) bool { return t != nil && bytes.Equal(t.raw, body[6:]) }

// describe fills in the columns from a table map event.
func (t *table) describe(ctx context.Context, e *replication.TableMapEvent, c *catalog) error {
	for i, typ := range e.ColumnType {
		if typ == typeBlobCompressed || typ == typeVarcharCompressed {
			return undescribed("column %d is COMPRESSED", i+1)
		}
	}
	if len(e.ColumnName) != int(e.ColumnCount) {
		return errNoNames
	}
	unsigned, err := unsignedColumns(e, c.driver, c.columns[t.name])
	if err != nil {
		return err
	}
	collations, memberCollations := e.CollationMap(), e.EnumSetCollationMap()
	enums, sets := e.EnumStrValueMap(), e.SetStrValueMap()
	for i, name := range e.ColumnName {
		w := wireColumn{name: string(name), typ: e.ColumnType[i], meta: e.ColumnMeta[i], unsigned: unsigned[i]}
		var collation uint64
		var described bool
		switch {
		case e.IsEnumOrSetColumn(i):
			collation, described = memberCollations[i]
			w.members = append(enums[i], sets[i]...)
		case e.IsCharacterColumn(i):
			collation, described = collations[i]
		case e.IsNumericColumn(i):
			described = len(e.SignednessBitmap) > 0
		default:
			described = true
		}
		if !described {
			return errNoNames
		}
		if e.IsEnumOrSetColumn(i) || e.IsCharacterColumn(i) {
			w.binary = collation == binaryCollation
			if w.text, err = c.decoder(ctx, collation); err != nil {
				return err
			}
		}
		for m := range w.members {
			if w.text != nil {
				w.members[m] = string(w.text(nil, []byte(w.members[m])))
			}
		}
		col, err := w.compile(c.hint(t.name, w.name))
		if err != nil {
			return err
		}
		if w.text == nil && len(w.members) > 0 && !w.binary {
			col.unreadable = "its character set is one that Trueup cannot read"
		}
		if col.json {
			t.json++
		}
		t.cols = append(t.cols, col)
	}
	if zooZ11 {
		return t.columnsOfToday(ctx, c)
	}
	return nil
}

// binaryCollation is the collation of bytes.
const binaryCollation = 63

// image reads one row image. Present says which columns are in it; the others
// are unavailable. Before is given for the after image of a partial update: what
// changed in a JSON column is applied to its value there, and where that is not
// known or another one, the column is unavailable.
func (t *table) image(m *memory, b, present []byte, before schemas.Row) (row schemas.Row, n int) {
	var diffs []byte // one bit for each JSON column
	if before != nil {
		options, _, size := binlog.LengthEncodedInt(b)
		n = size
		if options&1 != 0 {
			diffs = b[n : n+(t.json+7)/8]
			n += len(diffs)
		}
	}
	count := 0
	for i := range t.cols {
		count += bit(present, i)
	}
	nulls := b[n : n+(count+7)/8]
	n += len(nulls)

	row = m.row(len(t.cols))
	ends := slices.Grow(t.ends[:0], len(t.cols))[:len(t.cols)]
	t.ends = ends
	text := m.room()
	seen, jsons := 0, 0
	for i := range t.cols {
		c := &t.cols[i]
		row[i].Name = c.name
		isDiff := c.json && diffs != nil && bit(diffs, jsons) == 1
		if c.json {
			jsons++
		}
		ends[i] = len(text)
		if bit(present, i) == 0 {
			row[i].Presence = schemas.Unavailable
			continue
		}
		seen++
		if bit(nulls, seen-1) == 1 {
			row[i].Presence = schemas.Null
			continue
		}
		if isDiff {
			diff, size := prefixed(b[n:], 4)
			row[i].Presence = schemas.Unavailable
			if len(diff) == 0 {
				row[i] = before[i]
			} else if before[i].Presence == schemas.Value {
				if document, ok := patchJSON(before[i].Text, diff); ok {
					text = append(text, document...)
					row[i].Presence, ends[i] = schemas.Value, len(text)
				}
			}
			n += size
			continue
		}
		var size int
		text, size, row[i].Presence = c.appendTo(text, b[n:])
		n += size
		ends[i] = len(text)
	}
	all, start := m.keep(text), 0
	for i, end := range ends {
		if row[i].Presence == schemas.Value && end > start {
			row[i].Text = all[start:end]
		}
		start = end
	}
	return row, n
}

func bit(set []byte, i int) int { return int(set[i/8]>>(i%8)) & 1 }
