package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/schemas"
)

// tableMap follows the description of a table for the rows that come. Decoded
// is what the library made of it, nil if it was not asked yet.
func (s *stream) tableMap(ctx context.Context, raw, body []byte, decoded *replication.TableMapEvent) error {
	id, name := tableMapID(body)
	if known := s.known[name]; known.sameAs(body) {
		s.tables[id] = known
		return nil
	}
	entity, mapped := s.source.cfg.Rules.EntityOf(s.source.cfg.Side, name.Schema, name.Name)
	marker := s.source.cfg.isMarker(name)
	if mapped && s.run.halted[entity.Name] {
		entity, mapped = nil, false
	}
	if !mapped && !marker {
		s.tables[id] = nil // its rows are passed over
		return nil
	}
	t := &table{name: name, entity: entity, marker: marker, raw: bytes.Clone(body[6:])}
	if decoded == nil {
		e, err := s.parser.Parse(raw)
		if err != nil {
			return &malformedError{err}
		}
		decoded = e.Event.(*replication.TableMapEvent)
	}
	err := t.describe(ctx, decoded, s.catalog)
	var undescribed *undescribedError
	switch {
	case errors.As(err, &undescribed) && !mapped:
		if s.new("marker " + name.String()) {
			s.source.log.Warn("marker table cannot be read; its rows tag nothing", "table", name.String(), "err", err)
		}
		s.tables[id] = nil
		return nil
	case errors.As(err, &undescribed) && s.run.refuser() != nil:
		s.halt(entity, "its rows cannot be read from the log: "+undescribed.reason, "mend what is said there, or correct the mapping")
		s.tables[id] = nil
		return nil
	case errors.As(err, &undescribed):
		return s.source.gap("the rows of table %s cannot be read from the log: %v", name, err)
	case err != nil:
		return err
	}
	if mapped && s.run.refuser() != nil {
		if reason := t.broken(decoded, s.source.cfg.Side); reason != "" {
			s.halt(entity, reason, fmt.Sprintf("ALTER TABLE %s so that it has the column as it was, or correct the fields of %s in migration.yaml", quoted(name), entity.Name))
			s.tables[id] = nil
			return nil
		}
	}
	for _, c := range t.cols {
		if c.unreadable != "" && s.new("column "+name.String()+"."+c.name) {
			s.source.log.Warn("column is unavailable", "table", name.String(), "column", c.name, "err", c.unreadable)
		}
	}
	s.known[name], s.tables[id] = t, t
	return nil
}

// rows takes a rows event.
func (s *stream) rows(ctx context.Context, kind rowsKind, body []byte) error {
	if s.txn == nil {
		return malformed("rows outside a transaction")
	}
	id := tableID(body)
	t, described := s.tables[id]
	switch {
	case t != nil:
		err := s.readRows(t, kind, body, func(before, after schemas.Row) error {
			if t.marker && kind.op == schemas.OpInsert {
				s.txn.mark(after)
			}
			if t.entity == nil {
				return nil
			}
			return s.row(t, kind.op, before, after)
		})
		if err != nil {
			return err
		}
	case !described && id != noTable && id != noTableWide && !zooZ6:
		return malformed("rows of table %d, which no table map describes", id)
	}
	if endsStatement(body) {
		clear(s.tables)
		s.txn.statement = schemas.Tag{}
	}
	return nil
}

// The table ids of a rows event without rows, which only ends a statement.
const (
	noTable     = 1<<24 - 1
	noTableWide = 1<<48 - 1
)

// row makes a row's changes.
func (s *stream) row(t *table, op schemas.Op, before, after schemas.Row) error {
	side := s.source.cfg.Side
	switch op {
	case schemas.OpInsert:
		return s.change(t, op, nil, after, after)
	case schemas.OpDelete:
		return s.change(t, op, before, nil, before)
	}
	old, err := t.entity.Key(side, before)
	if err != nil {
		if err := s.reject(t, nil, before, err); err != nil {
			return err
		}
		return s.change(t, schemas.OpInsert, nil, after, after) // the row that it is now is known, if that has a key
	}
	key, err := t.entity.Key(side, after)
	if err != nil {
		return s.reject(t, old, after, err)
	}
	if equalKeys(old, key) {
		return s.change(t, op, before, after, after)
	}
	if err := s.change(t, schemas.OpDelete, before, nil, before); err != nil {
		return err
	}
	return s.change(t, schemas.OpInsert, nil, after, after)
}

func equalKeys(a, b []string) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// change sets a change aside until the transaction's outcome is known; keyed is
// the row that its key is of.
func (s *stream) change(t *table, op schemas.Op, before, after, keyed schemas.Row) error {
	cfg := &s.source.cfg
	id := s.nextID()
	key, err := t.entity.Key(cfg.Side, keyed)
	if err != nil {
		return s.reject(t, nil, keyed, err)
	}
	c := s.memory.change()
	c.EventID, c.Side, c.Entity, c.Key, c.Op = id, cfg.Side, t.entity.Name, key, op
	c.Before, c.After, c.Tag = before, after, s.txn.tag()
	if err := s.txn.rows.add(c); err != nil {
		return &lastingError{err}
	}
	crash.Site("capture.mysql.in_transaction")
	return nil
}

// digest computes the digests of a change's rows. Any goroutine may call it.
func (s *Source) digest(c *schemas.Change) {
	e, ok := s.cfg.Rules.Entity(c.Entity)
	if !ok || c.Op == schemas.OpTruncate {
		return
	}
	if c.After != nil {
		img := e.Image(s.cfg.Side, c.After)
		if !img.Exact() {
			return
		}
		c.Digest = img.Digest
	}
	c.Mapping, c.BeforeDigest = s.cfg.Rules.Version, e.DigestBefore(c)
}

func (s *stream) nextID() schemas.EventID {
	return schemas.EventID{Source: s.source.cfg.Source, Epoch: s.run.epoch, Pos: s.txn.at, Ordinal: uint32(s.txn.rows.len() + len(s.txn.refused))}
}

// reject sets a row aside of which no change can be made; key is the one that
// it had, nil where that is not known.
func (s *stream) reject(t *table, key []string, row schemas.Row, reason error) error {
	return s.refuse(t, key, rowDigest(row), reason)
}

func (s *stream) refuse(t *table, key []string, digest schemas.Digest, reason error) error {
	if len(s.txn.refused) == refusedMax {
		return &lastingError{fmt.Errorf("more than %d rows of transaction %s have no key; the last: %w; correct the mapping in migration.yaml", refusedMax, s.txn.id, reason)}
	}
	s.source.counters.refused.Add(1)
	s.txn.refused = append(s.txn.refused, refusal{after: s.txn.rows.len(), err: &capture.RowError{EventID: s.nextID(), Side: s.source.cfg.Side,
		Entity: t.entity.Name, Table: t.name, Key: key, Txn: s.txn.id.String(), Digest: digest, Err: reason}})
	return nil
}
