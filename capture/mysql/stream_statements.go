package mysql

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// statement takes a query event.
func (s *stream) statement(ctx context.Context, text, schema string, mode uint64, received time.Time) error {
	if s.txn == nil {
		return malformed("a statement outside a transaction")
	}
	p := parseStatement(text, schema, mode)
	switch p.verb {
	case verbBegin:
		s.txn.begun = true
	case verbCommit:
		return s.commit(ctx, received)
	case verbRollback:
		return s.rollback()
	case verbSavepoint:
		s.txn.save(p.name)
		return nil
	case verbRollbackTo:
		return s.txn.rollBackTo(p.name)
	case verbXACommit, verbXARollback:
		return s.decide(ctx, p, received)
	case verbWrite:
		if err := s.write(p, text); err != nil {
			return err
		}
	case verbDefine:
		if err := s.define(ctx, p, text); err != nil {
			return err
		}
	case verbUnknown:
		if err := s.unknownStatement(p, text); err != nil {
			return err
		}
	}
	if s.txn.standalone || s.txn.id.mariadb == nil && !s.txn.begun {
		return s.commit(ctx, received)
	}
	return nil
}

// write meets a statement that changed rows without logging them.
func (s *stream) write(p statement, text string) error {
	for _, t := range p.tables {
		if _, mapped := s.source.cfg.Rules.EntityOf(s.source.cfg.Side, t.Schema, t.Name); mapped {
			return s.source.gap("transaction %s wrote to table %s in statement format, which does not say what it changed (%s): binlog_format was not ROW",
				s.txn.id, t.TableName, tagOrBegin(text))
		}
	}
	s.source.counters.statements.Add(1)
	if s.new("statement") {
		s.source.log.Warn("a statement stands in the log without its rows; what triggers and views make it change is not seen: set binlog_format to ROW",
			"txn", s.txn.id.String(), "pos", s.txn.pos.String())
	}
	return nil
}

// unknownStatement meets a statement that nobody knows: what it names may have changed in
// any way.
func (s *stream) unknownStatement(p statement, text string) error {
	begin, seen := tagOrBegin(text), s.source.Stats().UnknownStatements.Count
	s.source.counters.strange.Store(&UnknownStatements{Count: seen + 1, Latest: begin, Pos: s.txn.pos.String()})
	for _, t := range p.tables {
		e, mapped := s.source.cfg.Rules.EntityOf(s.source.cfg.Side, t.Schema, t.Name)
		switch {
		case !mapped:
		case s.run.refuser() != nil:
			s.halt(e, "a statement that this version of Trueup does not know names it ("+begin+")", "make sure that its rows are what they should be")
		default:
			return s.source.gap("transaction %s has a statement that this version of Trueup does not know, and that names table %s (%s)", s.txn.id, t.TableName, begin)
		}
	}
	if s.new("statement " + begin) {
		s.source.log.Warn("a statement that this version of Trueup does not know stands in the log: make sure that it changed no mapped table",
			"txn", s.txn.id.String(), "pos", s.txn.pos.String(), "statement", begin)
	}
	return nil
}

// tagOrBegin says which statement text is without quoting data: its first
// words, up to the first value, and its tag.
func tagOrBegin(text string) string {
	words := scanner{text: text}
	var begin []string
	for len(begin) < 4 {
		t, ok := words.word()
		if !ok || t.kind == stringToken || t.kind == wordToken && t.text[0] <= '9' && t.text[0] >= '0' {
			break
		}
		begin = append(begin, t.text)
	}
	said := strings.Join(begin, " ") + " …"
	if tag := tagOf(text); tag.WriteID != "" || tag.Traceparent != "" {
		said += fmt.Sprintf(", write id %q, traceparent %q", tag.WriteID, tag.Traceparent)
	}
	return said
}

// define meets a statement that changes tables.
func (s *stream) define(ctx context.Context, p statement, text string) error {
	altered := false
	s.announce(p)
	for _, t := range p.tables {
		for _, e := range s.mapped(t) {
			name := e.Table(s.source.cfg.Side)
			s.source.log.Warn("mapped table changes", "table", name.String(), "txn", s.txn.id.String(), "pos", s.txn.pos.String(), "statement", tagOrBegin(text))
			altered = true
			if s.run.halted[e.Name] {
				continue
			}
			if (t.effect == effectMove || t.effect == effectDrop) && s.run.refuser() != nil {
				reason, remedy := s.swapReason(p, e)
				if reason == "" {
					reason, remedy = definedReason(t.effect), "make sure that its rows are what they should be, and that migration.yaml names the right table"
				}
				s.halt(e, reason+" ("+tagOrBegin(text)+")", remedy)
				continue
			}
			switch t.effect {
			case effectMove:
				return s.source.gap("transaction %s moved rows of table %s without logging them (%s)", s.txn.id, name, tagOrBegin(text))
			case effectEmpty, effectDrop:
				c := &schemas.Change{EventID: schemas.EventID{Source: s.source.cfg.Source, Epoch: s.run.epoch, Pos: s.txn.at},
					Side: s.source.cfg.Side, Entity: e.Name, Op: schemas.OpTruncate, Tag: tagOf(text)}
				if err := s.txn.rows.add(c); err != nil {
					return &lastingError{err}
				}
			}
		}
	}
	if altered {
		clear(s.known)
		return s.catalog.readColumns(ctx, s.source.cfg.tables())
	}
	return nil
}

func definedReason(e effect) string {
	if e == effectDrop {
		return "it was dropped, or made anew"
	}
	return "its rows were moved without being logged: it was renamed, or partitions or tablespaces of it were exchanged"
}

// mapped returns the entities of the tables that a statement touches.
func (s *stream) mapped(t touched) (entities []*schemas.Entity) {
	for _, e := range s.source.cfg.Rules.Entities() {
		name := e.Table(s.source.cfg.Side)
		if name != (schemas.TableName{}) && name.Schema == t.Schema && (t.Name == "" || t.Name == name.Name) {
			entities = append(entities, e)
		}
	}
	return entities
}

// load meets LOAD DATA in statement format: fixed fields, status variables, the
// schema, and the statement.
func (s *stream) load(ctx context.Context, body []byte, received time.Time) error {
	const fixed = 4 + 4 + 1 + 2 + 2 + 4 + 4 + 4 + 1
	schema := fixed + int(binary.LittleEndian.Uint16(body[11:]))
	text := schema + int(body[8]) + 1
	return s.statement(ctx, string(body[text:]), string(body[schema:text-1]), sqlMode(body[fixed:schema]), received)
}

// sqlMode finds sql_mode in a query event's status variables: it is the second
// of those that the servers write, after 4 bytes of flags.
func sqlMode(vars []byte) uint64 {
	const flags, mode = 0, 1
	if len(vars) >= 5 && vars[0] == flags {
		vars = vars[5:]
	}
	if len(vars) >= 9 && vars[0] == mode {
		return binary.LittleEndian.Uint64(vars[1:])
	}
	return 0
}
