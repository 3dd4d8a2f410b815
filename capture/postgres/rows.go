package postgres

import (
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/slab"
	"github.com/trueup-io/trueup/schemas"
)

// effect is what is done to a row: a change without its id and times.
type effect struct {
	op            schemas.Op
	key           []string
	before, after schemas.Row
}

// did is what a row message does: one thing, two where it moves the row to
// another key, or nothing that can be said. Where it is not known what row it
// was, but what it is now, it is refused and an insert.
type did struct {
	n       int
	effects [2]effect
	refused error    // why there is no canonical key
	had     []string // the key that the refused row had; nil: not known
}

// ordinals is how many it takes: the refused row's comes first.
func (d *did) ordinals() uint32 {
	if d.refused != nil {
		return uint32(d.n + 1)
	}
	return uint32(d.n)
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
	if t.spill == nil && !t.waits(len(rest)) {
		if err := a.spill(t); err != nil {
			return err
		}
	}
	if t.spill != nil {
		a.passing.Reset()
		d := a.effects(m, kind, &r, &a.passing)
		ordinal, err := t.take(d.ordinals())
		if err != nil {
			return err
		}
		t.rows += uint32(d.n)
		return t.keep(record{kind, t.use(m), ordinal, rest})
	}
	d := a.effects(m, kind, &r, &a.rows)
	ordinal, err := t.take(d.ordinals())
	if err != nil {
		return err
	}
	t.rows += uint32(d.n)
	w := waiting{m: m, record: record{kind: kind, ordinal: ordinal, rest: rest}}
	whole := w.record
	if d.refused != nil {
		w.refused = a.rowError(t, m, d.had, whole, d.refused)
		if d.n == 0 {
			return a.wait(t, w)
		}
	}
	// Both stand for the same message, which the first has: they are spilled together or not at all.
	for i := range d.n {
		if i > 0 || d.refused != nil {
			t.waiting = append(t.waiting, w)
			w = waiting{m: m, record: record{ordinal: whole.ordinal + 1, rest: rest}}
			whole.ordinal++
		}
		w.change, w.refused = a.made(t, m, &d.effects[i], whole)
	}
	return a.wait(t, w)
}

// effects says what a row message does. Its rows are cut out of columns.
func (a *assembler) effects(m *mapped, kind byte, r *rowMessage, columns *slab.Of[schemas.Column]) (d did) {
	defer recovered(&d.refused)
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
		if old, err := m.entity.Key(a.cfg.Side, before); err == nil {
			d.had = old
		}
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
			d.add(schemas.OpInsert, key, nil, after)
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
			d.add(schemas.OpInsert, key, nil, after)
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

// rowError gives up on a row; key is the one that it had, nil where that is not
// known.
func (a *assembler) rowError(t *txn, m *mapped, key []string, r record, reason error) *capture.RowError {
	a.time(t)
	id := t.like.EventID
	id.Ordinal = r.ordinal
	return &capture.RowError{EventID: id, Side: a.cfg.Side, Entity: m.entity.Name, Table: m.table, Key: key, Txn: t.like.Txn,
		CommitTS: t.like.CommitTS, CommitTSMin: t.like.CommitTSMin, Stamp: t.like.Stamp,
		Digest: messageDigest(string([]byte{r.kind}), r.rest), Err: reason}
}

// imageOf is Image, where a panic is a problem of the row.
func imageOf(e *schemas.Entity, side schemas.Side, row schemas.Row) (image schemas.Image, err error) {
	defer recovered(&err)
	return e.Image(side, row), nil
}

func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("reading the row panicked: %v", r)
	}
}
