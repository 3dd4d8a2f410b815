package mysql

import (
	"encoding/binary"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/schemas"
)

// rowsKind is what the type of a rows event says.
type rowsKind struct {
	op         schemas.Op
	version    int
	compressed bool // MariaDB's log_bin_compress
	partial    bool // MySQL's PARTIAL_JSON
}

// rowsKindOf returns what a type of event is, false if it is no rows event.
func rowsKindOf(typ replication.EventType) (k rowsKind, ok bool) {
	switch typ {
	case replication.WRITE_ROWS_EVENTv0:
		return rowsKind{op: schemas.OpInsert}, true
	case replication.UPDATE_ROWS_EVENTv0:
		return rowsKind{op: schemas.OpUpdate}, true
	case replication.DELETE_ROWS_EVENTv0:
		return rowsKind{op: schemas.OpDelete}, true
	case replication.WRITE_ROWS_EVENTv1:
		return rowsKind{op: schemas.OpInsert, version: 1}, true
	case replication.UPDATE_ROWS_EVENTv1:
		return rowsKind{op: schemas.OpUpdate, version: 1}, true
	case replication.DELETE_ROWS_EVENTv1:
		return rowsKind{op: schemas.OpDelete, version: 1}, true
	case replication.WRITE_ROWS_EVENTv2:
		return rowsKind{op: schemas.OpInsert, version: 2}, true
	case replication.UPDATE_ROWS_EVENTv2:
		return rowsKind{op: schemas.OpUpdate, version: 2}, true
	case replication.PARTIAL_UPDATE_ROWS_EVENT:
		return rowsKind{op: schemas.OpUpdate, version: 2, partial: true}, true
	case replication.DELETE_ROWS_EVENTv2:
		return rowsKind{op: schemas.OpDelete, version: 2}, true
	case replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1:
		return rowsKind{op: schemas.OpInsert, version: 1, compressed: true}, true
	case replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1:
		return rowsKind{op: schemas.OpUpdate, version: 1, compressed: true}, true
	case replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		return rowsKind{op: schemas.OpDelete, version: 1, compressed: true}, true
	}
	return k, false
}

// endsStatement says whether a rows event is the last one of its statement.
func endsStatement(body []byte) bool {
	return binary.LittleEndian.Uint16(body[6:])&replication.RowsEventStmtEndFlag != 0
}

// maxInflated bounds what a compressed event may say it inflates to: the
// largest packet that a server takes.
const maxInflated = 1 << 30

// readRows calls f with each row of a rows event of t, in order: the image
// before it for all but an insert, the image after it for all but a delete. They
// are made in m.
func (t *table) readRows(k rowsKind, body []byte, m *memory, f func(before, after schemas.Row) error) error {
	at := 8 // 6 bytes of table id, 2 of flags
	if k.version == 2 {
		at += int(binary.LittleEndian.Uint16(body[at:])) // extra data, its own length included
	}
	columns, _, n := binlog.LengthEncodedInt(body[at:])
	at += n
	if columns != uint64(len(t.cols)) {
		return malformed("rows of %d columns for table %s of %d", columns, t.name, len(t.cols))
	}
	bitmap := (len(t.cols) + 7) / 8
	present := body[at : at+bitmap]
	at += bitmap
	presentAfter := present
	if k.op == schemas.OpUpdate {
		presentAfter = body[at : at+bitmap]
		at += bitmap
	}
	data := body[at:]
	if k.compressed {
		var err error
		if data, err = inflate(data); err != nil {
			return &malformedError{err}
		}
	}
	for len(data) > 0 {
		var before, after schemas.Row
		size := 0
		if k.op != schemas.OpInsert {
			before, n = t.image(m, data, present, nil)
			size += n
		}
		if k.op != schemas.OpDelete {
			var whole schemas.Row
			if k.partial {
				whole = before
			}
			after, n = t.image(m, data[size:], presentAfter, whole)
			size += n
		}
		if size == 0 {
			return malformed("a row of no bytes")
		}
		data = data[size:]
		if before != nil && after != nil {
			fill(after, before, presentAfter)
		}
		if err := f(before, after); err != nil {
			return err
		}
	}
	return nil
}

// fill gives columns that are not in the after image the values of the before
// image: MINIMAL and NOBLOB leave out of it what did not change.
func fill(after, before schemas.Row, present []byte) {
	for i := range after {
		if bit(present, i) == 0 {
			after[i] = before[i]
		}
	}
}

// inflate unpacks what MariaDB's log_bin_compress packed.
func inflate(data []byte) ([]byte, error) {
	if size := binlog.BFixedLengthInt(data[1 : 1+int(data[0]&7)]); size > maxInflated {
		return nil, malformed("a compressed event that inflates to %d bytes", size)
	}
	return binlog.DecompressMariadbData(data)
}
