package postgres

import (
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// effect is what is done to a row: a change without its id and times.
type effect struct {
	op            schemas.Op
	key           []string
	before, after schemas.Row
}

// did is what a row message does: one thing, two where it moves the row to
// another key, or nothing that can be said.
type did struct {
	n       int
	effects [2]effect
	refused error // why there is no canonical key
}

func (d *did) add(op schemas.Op, key []string, before, after schemas.Row) {
	d.effects[d.n] = effect{op, key, before, after}
	d.n++
}

// row takes a row message. Every one takes an ordinal, whether the table is
// mapped or not, and one more where it does two things.
func (a *assembler) row(t *txn, kind byte, rest string) error {
	r, err := a.parser.row(kind, rest)
	if err != nil {
		return err
	}
	m, err := a.relations.of(r.relation, r.old, r.new)
	if err != nil {
		return err
	}
	if m.entity == nil || t.known {
		// Known transactions are not counted on: nothing of them is handed over.
		_, err := t.take(1)
		return err
	}
	if t.spill != nil {
		a.passing.reset()
		d := a.effects(m, kind, &r, &a.passing)
		ordinal, err := t.take(uint32(max(d.n, 1)))
		if err != nil {
			return err
		}
		t.rows += uint32(d.n)
		return t.keep(record{kind, t.use(m), ordinal, rest})
	}
	d := a.effects(m, kind, &r, &a.rows)
	ordinal, err := t.take(uint32(max(d.n, 1)))
	if err != nil {
		return err
	}
	t.rows += uint32(d.n)
	w := waiting{m: m, record: record{kind: kind, ordinal: ordinal, rest: rest}}
	if d.refused != nil {
		w.refused = a.rowError(t, m, ordinal, kind, rest, d.refused)
		return a.wait(t, w)
	}
	if d.n == 2 {
		// Both stand for the same message, which the first has: they are spilled together or not at all.
		w.change = a.made(t, m, ordinal, &d.effects[0])
		t.waiting = append(t.waiting, w)
		w = waiting{m: m, record: record{rest: rest}}
		ordinal++
	}
	w.change = a.made(t, m, ordinal, &d.effects[d.n-1])
	return a.wait(t, w)
}

// effects says what a row message does. Its rows are cut out of columns.
func (a *assembler) effects(m *mapped, kind byte, r *rowMessage, columns *slab[schemas.Column]) (d did) {
	var before, after schemas.Row
	if r.oldKind != oldNone {
		before = m.old(r.oldKind, r.old, columns)
	}
	var key []string
	if kind == kindDelete {
		if key, d.refused = m.entity.Key(a.cfg.Side, before); d.refused != nil {
			d.refused = m.explain(d.refused)
			return d
		}
		d.add(schemas.OpDelete, key, before, nil)
		return d
	}
	after = m.row(r.new, columns)
	fill(after, before)
	if key, d.refused = m.entity.Key(a.cfg.Side, after); d.refused != nil {
		return d
	}
	if kind == kindInsert {
		d.add(schemas.OpInsert, key, nil, after)
		return d
	}
	a.update(m, &d, key, before, after)
	return d
}

// update compares the canonical keys before and after: a row that gets another
// one is deleted under the old and inserted under the new key.
func (a *assembler) update(m *mapped, d *did, key []string, before, after schemas.Row) {
	switch {
	case before != nil:
		old, err := m.entity.Key(a.cfg.Side, before)
		if err != nil {
			d.refused = m.explain(err)
			return
		}
		if !slices.Equal(old, key) {
			d.add(schemas.OpDelete, old, before, nil)
			d.add(schemas.OpInsert, key, nil, after)
			return
		}
	case !m.keyed:
		// The log gives no old row where the replica identity is unchanged. That says nothing about a key that is not
		// part of it.
		if _, err := m.entity.Key(a.cfg.Side, m.identityOf(after)); err != nil {
			d.refused = m.explain(err)
			return
		}
		m.keyed = true
	}
	d.add(schemas.OpUpdate, key, before, after)
}

// explain adds what to do about a key that the log does not carry.
func (m *mapped) explain(err error) error {
	return fmt.Errorf("%w; where the log carries only the replica identity of the old row: %s, and its partitions if it has any",
		err, fullSQL([]string{qualified(m.table.Schema, m.table.Name)}))
}

// rowError gives up on a row.
func (a *assembler) rowError(t *txn, m *mapped, ordinal uint32, kind byte, rest string, reason error) *RowError {
	id := t.like.EventID
	id.Ordinal = ordinal
	return &RowError{EventID: id, Side: a.cfg.Side, Entity: m.entity.Name, Table: m.table,
		Txn: t.like.Txn, Digest: messageDigest(string([]byte{kind}), rest), Err: reason}
}
