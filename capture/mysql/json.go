package mysql

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// jsonTemplate is a rows event of one JSON column, made by the library's own
// parser: it knows MySQL's binary JSON, but decodes it only inside an event.
var jsonTemplate = sync.OnceValue(func() *replication.RowsEvent {
	var template *replication.RowsEvent
	p := replication.NewBinlogParser()
	p.SetFlavor(mysql.MySQLFlavor)
	p.SetRenderJSONAsMySQLText(true)
	p.SetRowsEventDecodeFunc(func(e *replication.RowsEvent, data []byte) error {
		template = e
		_, err := e.DecodeHeader(data)
		return err
	})
	event := func(typ replication.EventType, body []byte) {
		raw := make([]byte, replication.EventHeaderSize, replication.EventHeaderSize+len(body))
		raw[4] = byte(typ)
		binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)+len(body)))
		if _, err := p.Parse(append(raw, body...)); err != nil {
			panic(fmt.Sprintf("mysql: the event that JSON is decoded in: %v", err))
		}
	}
	format := make([]byte, 2+50+4+1+int(replication.GTID_TAGGED_LOG_EVENT)+5)
	format[0] = replication.MinBinlogVersion
	copy(format[2:], "8.0.0")
	format[2+50+4] = byte(replication.EventHeaderSize)
	for i := range format[2+50+4+1 : len(format)-5] {
		format[2+50+4+1+i] = 8
	}
	event(replication.FORMAT_DESCRIPTION_EVENT, format)
	//                                        table   flags schema   table    1 column of JSON      nullable
	event(replication.TABLE_MAP_EVENT, []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 's', 0, 1, 't', 0, 1, mysql.MYSQL_TYPE_JSON, 1, 4, 1})
	//                                         table            flags extra columns and which
	event(replication.WRITE_ROWS_EVENTv2, []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 1})
	return template
})

// readJSON prints MySQL's binary JSON as the server does.
func readJSON(prefix int) valueReader {
	return func(dst, b []byte) ([]byte, int) {
		value, n := prefixed(b, prefix)
		if len(value) == 0 {
			return append(dst, "null"...), n // what INSERT IGNORE makes of NULL
		}
		e := *jsonTemplate()
		data := binary.LittleEndian.AppendUint32([]byte{0}, uint32(len(value))) // no NULL in the row
		if err := e.DecodeData(0, append(data, value...)); err != nil {
			panic(err) // recovered with the event's position, like any other value that cannot be read
		}
		text, ok := e.Rows[0][0].(string)
		if !ok {
			panic(fmt.Sprintf("JSON decoded as %T", e.Rows[0][0]))
		}
		return append(dst, text...), n
	}
}

// The library logs what it does not return.
var silent = slog.New(slog.DiscardHandler)
