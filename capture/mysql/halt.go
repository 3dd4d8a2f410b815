package mysql

import (
	"crypto/sha256"
	"fmt"
	"slices"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// halt stops an entity from the current transaction on: that says so when it
// commits, behind its changes.
func (s *stream) halt(e *schemas.Entity, reason, remedy string) {
	if s.run.halted[e.Name] {
		return
	}
	s.run.halted[e.Name] = true
	s.source.windows.Halt(e.Name)
	s.txn.halts = append(s.txn.halts, capture.Halt{Entity: e.Name, Reason: fmt.Sprintf("table %s: %s", e.Table(s.source.cfg.Side), reason), Remedy: remedy})
	clear(s.known)
}

// broken says why rows of the table as the log describes it cannot be carried
// on as its entity's; "" if they can.
func (t *table) broken(e *replication.TableMapEvent, side schemas.Side) string {
	for i := range t.entity.Fields {
		f := &t.entity.Fields[i]
		name, ok := f.Column(side)
		if !ok || f.Ignore && !slices.Contains(t.entity.KeyFields, f.Name) {
			continue
		}
		at := slices.IndexFunc(t.cols, func(c column) bool { return c.name == name })
		switch {
		case at < 0:
			return fmt.Sprintf("column %s of field %s is gone", name, f.Name)
		case !readable(f, e.ColumnType[at]):
			return fmt.Sprintf("column %s has another type, whose values field %s, which is %s, cannot read", name, f.Name, f.Type)
		}
	}
	return ""
}

// samples are texts of the types whose values have a form of their own: a field
// that can read none of them cannot read the type.
var samples = map[byte][]string{
	binlog.MYSQL_TYPE_TINY: {"1"}, binlog.MYSQL_TYPE_SHORT: {"1"}, binlog.MYSQL_TYPE_INT24: {"1"}, binlog.MYSQL_TYPE_LONG: {"1"},
	binlog.MYSQL_TYPE_LONGLONG: {"1"}, binlog.MYSQL_TYPE_NEWDECIMAL: {"1", "1.5"}, binlog.MYSQL_TYPE_FLOAT: {"1", "1.5"},
	binlog.MYSQL_TYPE_DOUBLE: {"1", "1.5"}, binlog.MYSQL_TYPE_YEAR: {"2026"},
	binlog.MYSQL_TYPE_DATE: {"2026-01-02"}, binlog.MYSQL_TYPE_NEWDATE: {"2026-01-02"},
	binlog.MYSQL_TYPE_DATETIME2: {"2026-01-02 03:04:05", "2026-01-02 00:00:00"}, binlog.MYSQL_TYPE_TIMESTAMP2: {"2026-01-02 03:04:05", "2026-01-02 00:00:00"},
	binlog.MYSQL_TYPE_TIME2: {"03:04:05"}, binlog.MYSQL_TYPE_JSON: {"{}", "1"},
}

// readable says whether a field can read values of a type, as far as that can
// be told from the type.
func readable(f *schemas.Field, typ byte) bool {
	texts, ok := samples[typ]
	return !ok || slices.ContainsFunc(texts, f.CanRead)
}

// readRows reads the rows of an event. One that cannot be decoded is
// quarantined; where the next one begins is not known then, so that the table
// halts too.
func (s *stream) readRows(t *table, k rowsKind, body []byte, f func(before, after schemas.Row) error) (err error) {
	reading := true // not within f, whose panics are not of the row
	defer func() {
		if !reading || t.entity == nil || s.run.refuser() == nil {
			return
		}
		if r := recover(); r != nil {
			sum := sha256.Sum256(body)
			if err = s.refuse(t, nil, schemas.Digest(sum[:16]), fmt.Errorf("a row cannot be decoded: %v", r)); err == nil {
				s.halt(t.entity, "a row of it could not be decoded, and with it those that follow in its event", "make sure that its rows are what they should be")
			}
		}
	}()
	return t.readRows(k, body, s.memory, func(before, after schemas.Row) error {
		reading = false
		err := f(before, after)
		reading = true
		return err
	})
}
