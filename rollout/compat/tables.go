package compat

import (
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Shapes are the tables of both sides by their entities' names. A table that the store does not have
// has no columns; one that is not in it was not read.
type Shapes [3]map[string]*schemas.TableShape

// Tables says whether both sides' tables fit a step to a stage: the target has a place for
// everything that is compared, asks for nothing that legacy does not give it, and, while there
// is a way back, the same the other way round.
func Tables(rules *schemas.Rules, shapes Shapes, to schemas.RolloutStage) (out []Finding) {
	for _, e := range rules.Entities() {
		t := &tables{entity: e, legacy: shapes[schemas.Legacy][e.Name], target: shapes[schemas.Target][e.Name], unread: map[string]bool{}}
		if t.read() {
			t.adapters()
			t.unmapped()
			t.pairs()
			t.unfilled(schemas.Target, t.target, "unfilled", "give it a default, let it be NULL, or map a field to it")
			if to >= schemas.StageRamp && to < schemas.StageComplete {
				t.unfilled(schemas.Legacy, t.legacy, "way-back", "give it a default, or let it be NULL, so that the target's rows come back")
			}
		}
		out = append(out, t.findings...)
	}
	for _, g := range rules.RepairGaps() {
		out = append(out, Finding{Level: Note, Rule: "repair-gap", Name: g.Entity, Place: fmt.Sprintf("%s, field %s", g.Side, g.Field), Problem: g.Detail, Next: g.Remedy})
	}
	return out
}

// tables are those of one entity.
type tables struct {
	entity         *schemas.Entity
	legacy, target *schemas.TableShape
	findings       []Finding
	unread         map[string]bool // fields of which a side's column cannot be read
}

func (t *tables) shape(side schemas.Side) *schemas.TableShape {
	if side == schemas.Legacy {
		return t.legacy
	}
	return t.target
}

func (t *tables) found(level Level, rule string, side schemas.Side, column, problem, next string) {
	place := side.String() + " " + t.entity.Table(side).String()
	if column != "" {
		place += "." + column
	}
	t.findings = append(t.findings, Finding{Level: level, Rule: rule, Name: t.entity.Name, Place: place, Problem: problem, Next: next})
}

// read says whether both tables are there.
func (t *tables) read() bool {
	there := true
	for _, side := range schemas.Sides {
		switch s := t.shape(side); {
		case s == nil:
			t.found(Unknown, "not-read", side, "", "its columns were not read", "see that the store answers, and look again")
			there = false
		case len(s.Columns) == 0:
			t.found(Incompatible, "no-table", side, "", "there is no such table, or its columns may not be seen", "create it, or grant SELECT on it")
			there = false
		}
	}
	return there
}

// adapters wants what each compared field is made of, and a reading of it.
func (t *tables) adapters() {
	for i := range t.entity.Fields {
		f := &t.entity.Fields[i]
		if f.Ignore {
			continue
		}
		for _, side := range schemas.Sides {
			for _, name := range f.Needs(side) {
				if t.column(side, name) == nil {
					t.found(Incompatible, "no-column", side, name, fmt.Sprintf("field %s is made of it, and the table does not have it", f.Name),
						fmt.Sprintf("add the column, or name another one at %s of the field", side))
				}
			}
			name, plain := f.Column(side)
			if !plain {
				continue
			}
			if c := t.column(side, name); c != nil {
				if m, ok := adapted(f, side, domainOf(t.entity.Driver(side), c)); !ok {
					t.found(m.level, m.rule, side, c.Name, m.problem, m.next)
					t.unread[f.Name] = true
				}
			}
		}
	}
}

// column finds a column as its store compares names.
func (t *tables) column(side schemas.Side, name string) *schemas.ColumnShape {
	s := t.shape(side)
	if c := s.Column(name); c != nil || t.entity.Driver(side) == schemas.Postgres {
		return c
	}
	for i := range s.Columns {
		if strings.EqualFold(s.Columns[i].Name, name) {
			return &s.Columns[i]
		}
	}
	return nil
}

// mapped says whether some field is made of a column; written, whether a field is that column and is compared.
func (t *tables) mapped(side schemas.Side, name string) (mapped, written bool) {
	for i := range t.entity.Fields {
		f := &t.entity.Fields[i]
		for _, need := range f.Needs(side) {
			if need == name || t.entity.Driver(side) != schemas.Postgres && strings.EqualFold(need, name) {
				mapped = true
				written = written || !f.Ignore && f.Adapter(side) != schemas.AdapterExpression
			}
		}
	}
	return mapped, written
}

// unmapped names what legacy has and nobody compares: it is lost with legacy, and nothing says so.
func (t *tables) unmapped() {
	for _, c := range t.legacy.Columns {
		if mapped, _ := t.mapped(schemas.Legacy, c.Name); !mapped && !c.Generated {
			t.found(Incompatible, "not-compared", schemas.Legacy, c.Name, "no field is made of it: it is neither compared nor moved",
				"map a field to it, with ignore: true if it is not to move")
		}
	}
}

// unfilled names columns of a side that have to be filled and that no field fills.
func (t *tables) unfilled(side schemas.Side, s *schemas.TableShape, rule, next string) {
	for _, c := range s.Columns {
		if c.Nullable || c.Default || c.Generated {
			continue
		}
		if _, written := t.mapped(side, c.Name); !written {
			t.found(Incompatible, rule, side, c.Name, fmt.Sprintf("it is NOT NULL and has no default, and nothing of %s fills it: its rows are refused there", side.Other()), next)
		}
	}
}

// pairs compares what the two columns of a field can hold.
func (t *tables) pairs() {
	for i := range t.entity.Fields {
		f := &t.entity.Fields[i]
		from, hasFrom := f.Column(schemas.Legacy)
		to, hasTo := f.Column(schemas.Target)
		if f.Ignore || !hasFrom || !hasTo {
			continue
		}
		legacy, target := t.column(schemas.Legacy, from), t.column(schemas.Target, to)
		if legacy == nil || target == nil || t.unread[f.Name] {
			continue
		}
		if target.Generated {
			t.found(Incompatible, "generated", schemas.Target, target.Name, fmt.Sprintf("the store computes it, and field %s is to be written to it", f.Name), "make it a column of its own, or compare it by an expression: {expr: …}")
			continue
		}
		_, valued := f.NullMeans(schemas.Legacy)
		if null := legacy.Nullable || f.EmptyIsNull(schemas.Legacy); null && !valued && !target.Nullable && f.WritesNull(schemas.Target) {
			t.found(Incompatible, "not-null", schemas.Target, target.Name, fmt.Sprintf("it is NOT NULL, and %s of legacy may be NULL", legacy.Name),
				"let it be NULL, make legacy's column NOT NULL first, or say what NULL stands for there (default)")
		}
		pair := values{f, schemas.Legacy, domainOf(t.entity.Driver(schemas.Legacy), legacy), domainOf(t.entity.Driver(schemas.Target), target)}
		for _, m := range pair.misfits() {
			t.found(m.level, m.rule, schemas.Target, target.Name, fmt.Sprintf("%s for %s of legacy (%s): %s", target.Type, legacy.Name, legacy.Type, m.problem), m.next)
		}
	}
}
