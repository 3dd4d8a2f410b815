package postgres

import (
	"fmt"
	"slices"

	"github.com/trueup-io/trueup/schemas"
)

// row makes changes of a row message: one, or two where it moves the row to
// another key.
func (a *assembler) row(body string) (err error) {
	var r rowMessage
	switch body[0] {
	case kindInsert:
		r, err = a.parser.insert(body)
	case kindUpdate:
		r, err = a.parser.update(body)
	default:
		r, err = a.parser.delete(body)
	}
	if err != nil {
		return err
	}
	m, err := a.relations.of(r.relation, r.old, r.new)
	if err != nil {
		return err
	}
	if m.entity == nil || a.txn.known {
		// Known transactions are not counted on: nothing of them is handed over.
		_, err := a.txn.take()
		return err
	}
	var before, after schemas.Row
	if r.oldKind != oldNone {
		before = m.old(r.oldKind, r.old)
	}
	if body[0] != kindDelete {
		after = m.row(r.new)
		fill(after, before)
	}
	switch body[0] {
	case kindInsert:
		err = a.insert(m, after, body)
	case kindUpdate:
		err = a.update(m, before, after, body)
	default:
		err = a.delete(m, before, body)
	}
	return err
}

func (a *assembler) insert(m *mapped, after schemas.Row, body string) error {
	key, err := m.entity.Key(a.cfg.Side, after)
	if err != nil {
		return a.reject(m, err, body)
	}
	return a.add(m, schemas.OpInsert, key, nil, after, len(body))
}

func (a *assembler) delete(m *mapped, before schemas.Row, body string) error {
	key, err := m.entity.Key(a.cfg.Side, before)
	if err != nil {
		return a.reject(m, m.explain(err), body)
	}
	return a.add(m, schemas.OpDelete, key, before, nil, len(body))
}

// update compares the canonical keys before and after: a row that gets another
// one is deleted under the old and inserted under the new key.
func (a *assembler) update(m *mapped, before, after schemas.Row, body string) error {
	key, err := m.entity.Key(a.cfg.Side, after)
	if err != nil {
		return a.reject(m, err, body)
	}
	switch {
	case before != nil:
		old, err := m.entity.Key(a.cfg.Side, before)
		if err != nil {
			return a.reject(m, m.explain(err), body)
		}
		if !slices.Equal(old, key) {
			if err := a.add(m, schemas.OpDelete, old, before, nil, len(body)); err != nil {
				return err
			}
			return a.add(m, schemas.OpInsert, key, nil, after, len(body))
		}
	case !m.keyed:
		// The log gives no old row where the replica identity is unchanged. That says nothing about a key that is not
		// part of it.
		if _, err := m.entity.Key(a.cfg.Side, m.identityOf(after)); err != nil {
			return a.reject(m, m.explain(err), body)
		}
		m.keyed = true
	}
	return a.add(m, schemas.OpUpdate, key, before, after, len(body))
}

// explain adds what to do about a key that the log does not carry.
func (m *mapped) explain(err error) error {
	return fmt.Errorf("%w; where the log carries only the replica identity of the old row: %s, and its partitions if it has any",
		err, fullSQL([]string{qualified(m.table.Schema, m.table.Name)}))
}

// reject gives up on a row. It takes one ordinal.
func (a *assembler) reject(m *mapped, reason error, body string) error {
	ordinal, err := a.txn.take()
	if err != nil {
		return err
	}
	a.stats.refused.Add(1)
	id := a.txn.like.EventID
	id.Ordinal = ordinal
	// The rows before it go first: what becomes of this one may be said in the same order.
	if err := a.flush(a.txn); err != nil {
		return err
	}
	a.txn.early = true
	return a.refuse(&RowError{EventID: id, Side: a.cfg.Side, Entity: m.entity.Name, Table: m.table,
		Txn: a.txn.like.Txn, Digest: messageDigest(body), Err: reason})
}
