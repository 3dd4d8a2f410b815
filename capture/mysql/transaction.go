package mysql

import (
	"bytes"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// transaction is one group of events, from its GTID event on.
type transaction struct {
	id         gtid
	pos        position       // of its GTID event
	at         string         // the same, as its changes say it
	stamp      schemas.Micros // what the log says of its time
	committed  schemas.Micros // when it committed, where the log says that (MySQL 8); 0: it does not
	standalone bool           // one statement, without an end of its own
	begun      bool           // MySQL: BEGIN or XA START was read

	rows       rowBuffer
	refused    []refusal
	halts      []capture.Halt // entities that cannot be carried on from this transaction on
	savepoints []savepoint

	statement schemas.Tag // of the statement whose rows come
	first     schemas.Tag // of the first statement that had one
	marker    schemas.Tag // of marker rows
}

// savepoint is a place to roll back to.
type savepoint struct {
	name    string
	rows    mark
	refused int
}

// refusal is a row without a canonical key, and how many changes came before
// it.
type refusal struct {
	after int
	err   *capture.RowError
}

// refusedMax bounds the rows without a key that one transaction may have: more
// than that is a wrong mapping.
const refusedMax = 1000

// beginMariaDB starts a transaction at MariaDB's GTID event.
func beginMariaDB(e *replication.MariadbGTIDEvent, h *replication.EventHeader, pos position) *transaction {
	return &transaction{id: gtid{mariadb: &e.GTID}, pos: pos, stamp: stampOf(h), standalone: e.IsStandalone()}
}

// beginMySQL starts a transaction at MySQL's GTID event.
func beginMySQL(e *replication.GTIDEvent, h *replication.EventHeader, pos position) *transaction {
	t := &transaction{id: gtid{mysql: e}, pos: pos, stamp: stampOf(h)}
	if e.ImmediateCommitTimestamp != 0 {
		t.committed = schemas.Micros(e.ImmediateCommitTimestamp)
		t.stamp = t.committed
	}
	return t
}

func stampOf(h *replication.EventHeader) schemas.Micros {
	return schemas.Micros(h.Timestamp) * 1_000_000
}

// says takes a statement's text: the rows that follow are its own.
func (t *transaction) says(text []byte) {
	t.statement = schemas.Tag{}
	if bytes.Contains(text, []byte("/*")) {
		t.statement = tagOf(string(text))
	}
	if t.first == (schemas.Tag{}) {
		t.first = t.statement
	}
}

// tag is that of a row that comes now: its statement's, and where that says
// nothing what the transaction said first.
func (t *transaction) tag() schemas.Tag {
	if t.statement == (schemas.Tag{}) {
		return t.first
	}
	return t.statement
}

// mark takes the tag of a row in a marker table.
func (t *transaction) mark(row schemas.Row) {
	for i := range row {
		if row[i].Presence == schemas.Value {
			setTag(&t.marker, row[i].Name, row[i].Text)
		}
	}
}

// save names the present place.
func (t *transaction) save(name string) {
	t.savepoints = append(t.savepoints, savepoint{name: name, rows: t.rows.mark(), refused: len(t.refused)})
}

// rollBackTo forgets the rows since the latest savepoint of that name.
func (t *transaction) rollBackTo(name string) error {
	for i := len(t.savepoints) - 1; i >= 0; i-- {
		if p := t.savepoints[i]; p.name == name {
			t.savepoints, t.refused = t.savepoints[:i+1], t.refused[:p.refused]
			return t.rows.cut(p.rows)
		}
	}
	return malformed("rollback to savepoint %q, which is not set", name)
}

// each calls change with every change and refuse with every row that is none,
// in their order.
func (t *transaction) each(change func(*schemas.Change) error, refuse func(*capture.RowError) error) error {
	i, refused := 0, t.refused
	before := func() error {
		for len(refused) > 0 && refused[0].after <= i {
			if err := refuse(refused[0].err); err != nil {
				return err
			}
			refused = refused[1:]
		}
		return nil
	}
	err := t.rows.each(func(c *schemas.Change) error {
		if err := before(); err != nil {
			return err
		}
		i++
		return change(c)
	})
	if err != nil {
		return err
	}
	return before()
}
