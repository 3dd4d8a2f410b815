package postgres

import (
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/internal/slab"
	"github.com/trueup-io/trueup/schemas"
)

// mapped is a relation of the stream as the rules see it, valid until the
// server describes it again.
type mapped struct {
	oid      uint32
	table    schemas.TableName
	entity   *schemas.Entity // nil: the table is not mapped
	columns  []string
	types    []uint32 // by column: the oid of its type
	identity []bool   // the column is part of the replica identity; of a partitioned table in full: of its primary key
	parted   bool     // the table is partitioned

	// keyed says that the replica identity holds the canonical key, so that an
	// update without an old row has not changed it. Found with the first one.
	keyed bool
	// noticed says that what the description means for the table was looked at.
	noticed bool
	broken  *problem // why its rows cannot be carried on; of a noticed one
}

// same says that two descriptions say the same to us.
func (m *mapped) same(o *mapped) bool {
	return m.table == o.table && m.parted == o.parted && slices.Equal(m.columns, o.columns) && slices.Equal(m.types, o.types) && slices.Equal(m.identity, o.identity)
}

// row makes an image of a tuple, in columns.
func (m *mapped) row(cells []cell, columns *slab.Of[schemas.Column]) schemas.Row {
	row := schemas.Row(columns.Take(len(cells)))
	for i, c := range cells {
		row[i] = schemas.Column{Name: m.columns[i], Text: c.text, Presence: presence(c.kind)}
	}
	return row
}

func presence(kind byte) schemas.Presence {
	switch kind {
	case cellText:
		return schemas.Value
	case cellNull:
		return schemas.Null
	}
	return schemas.Unavailable
}

// old makes an image of an old tuple. In a key tuple all columns but the
// replica identity's stand as null, whatever they were: they are not known.
// The replica identity's own are never null.
//
// Of a partitioned table with a full replica identity the server calls every
// old tuple full, and logs what the partition's own replica identity says. So
// there a null says nothing.
func (m *mapped) old(kind byte, cells []cell, columns *slab.Of[schemas.Column]) schemas.Row {
	row := m.row(cells, columns)
	if kind == oldFull && !m.parted {
		return row
	}
	if kind == oldKey {
		row = m.identityOf(row)
	}
	return slices.DeleteFunc(row, func(c schemas.Column) bool { return c.Presence == schemas.Null })
}

// identityOf returns the columns of the replica identity.
func (m *mapped) identityOf(row schemas.Row) schemas.Row {
	only := make(schemas.Row, 0, 4)
	for i := range row {
		if m.identity[i] {
			only = append(only, row[i])
		}
	}
	return only
}

// fill takes what the log left out of a row because the change did not touch
// it from the row before.
func fill(row, before schemas.Row) {
	for i := range row {
		if row[i].Presence != schemas.Unavailable {
			continue
		}
		if old, ok := before.Get(row[i].Name); ok {
			row[i] = old
		}
	}
}

// relations are the relations that the server has described on a connection.
// They are as many as the publication has tables.
type relations struct {
	rules *schemas.Rules
	side  schemas.Side
	known map[uint32]*mapped
	// noticed holds those of mapped tables that rows were handed over under latest.
	noticed map[uint32]*mapped
	// catalog holds the mapped tables as they were when the stream was started, by schema.name.
	catalog map[string]*table
}

// describe notes how a relation is from here on. The server says it again in
// every transaction that it streams.
func (r *relations) describe(d relation) *mapped {
	schema := d.namespace
	if schema == "" {
		schema = "pg_catalog"
	}
	m := &mapped{oid: d.id, table: schemas.TableName{Schema: schema, Name: d.name}}
	if e, ok := r.rules.EntityOf(r.side, schema, d.name); ok {
		m.entity = e
		for _, c := range d.columns {
			m.columns = append(m.columns, c.name)
			m.types = append(m.types, c.oid)
			m.identity = append(m.identity, c.inIdentity)
		}
		// Partitions do not inherit a full replica identity: unless they have their own, they log their primary key,
		// which is the whole table's.
		t := r.catalog[schema+"."+d.name]
		if m.parted = t != nil && t.Kind == "p"; m.parted && d.identity == 'f' {
			for i, name := range m.columns {
				m.identity[i] = slices.ContainsFunc(t.Columns, func(c column) bool { return c.Name == name && c.InPrimary })
			}
		}
	}
	if zooZ11 {
		r.columnsOfToday(m)
	}
	if before := r.known[d.id]; before != nil && before.same(m) {
		return before
	}
	r.known[d.id] = m
	return m
}

// of returns the relation of a row with that many columns.
func (r *relations) of(id uint32, tuples ...[]cell) (*mapped, error) {
	m, ok := r.known[id]
	if !ok {
		return nil, fmt.Errorf("%w: a row of relation %d, which was not described", errMalformed, id)
	}
	if m.entity != nil {
		for _, t := range tuples {
			if t != nil && len(t) != len(m.columns) {
				return nil, fmt.Errorf("%w: a row of %d columns of %s, which has %d", errMalformed, len(t), m.table, len(m.columns))
			}
		}
	}
	return m, nil
}
