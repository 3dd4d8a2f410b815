package postgres

import (
	"errors"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// deliver hands over what a committed transaction did. Every change has the
// tag that was said last before it, or, before the first, that one.
func (a *assembler) deliver(t *txn) error {
	a.stats.transactions.Add(1)
	if t.tag != nil {
		t.like.Tag = t.tag.Tag
	}
	if t.spill == nil {
		return a.deliverWaiting(t)
	}
	if t.known || t.rows == 0 && t.next == 0 {
		return t.spill.drop()
	}
	err := t.spill.each(func(r record) error { return a.deliverRecord(t, r) })
	crash.Site("capture.postgres.spill_handed_over")
	return errors.Join(err, t.spill.drop())
}

func (a *assembler) deliverWaiting(t *txn) error {
	defer func() {
		clear(t.waiting)
		t.waiting = t.waiting[:0]
		a.handedOver()
	}()
	for i := range t.waiting {
		w := &t.waiting[i]
		halted, err := a.halted(t, w.m, w.ordinal)
		switch {
		case err != nil || halted:
		case w.change != nil:
			w.change.Tag, w.change.TxnRows = t.like.Tag, t.rows
			err = a.emit(t.commit, w.change)
		case w.refused != nil:
			err = a.refused(w.refused)
		default:
			a.retag(t, w.rest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deliverRecord hands over what a message of a spilled transaction did.
func (a *assembler) deliverRecord(t *txn, r record) error {
	if r.kind == kindMessage {
		a.retag(t, r.rest)
		return nil
	}
	defer a.handedOver()
	m := t.used[r.relation]
	if err := a.notice(m); err != nil {
		return err
	}
	if halted, err := a.halted(t, m, r.ordinal); halted || err != nil {
		return err
	}
	t.like.TxnRows = t.rows
	if r.kind == kindTruncate {
		return a.hand(t, m, &effect{op: schemas.OpTruncate}, r)
	}
	row, err := a.parser.row(r.kind, r.rest)
	if err != nil {
		return err
	}
	did := a.effects(m, r.kind, &row, &a.rows)
	if did.refused != nil {
		if err := a.refused(a.rowError(t, m, did.had, r, did.refused)); err != nil {
			return err
		}
		r.ordinal++
	}
	for i := range did.n {
		if err := a.hand(t, m, &did.effects[i], r); err != nil {
			return err
		}
		r.ordinal++
	}
	return nil
}

// hand makes a change and hands it over.
func (a *assembler) hand(t *txn, m *mapped, e *effect, r record) error {
	c, refused := a.made(t, m, e, r)
	if refused != nil {
		return a.refused(refused)
	}
	return a.emit(t.commit, c)
}

// retag takes the tag of the changes that follow.
func (a *assembler) retag(t *txn, content string) {
	tag, err := parseTag(content)
	if err != nil {
		a.stats.badTags.Add(1)
		a.log.Warn("tag ignored", "pos", t.like.Pos, "txn", t.like.Txn, "err", err)
		return
	}
	t.like.Tag = tag
}

func (a *assembler) refused(e *capture.RowError) error {
	a.stats.refused.Add(1)
	return a.refuse(e)
}
