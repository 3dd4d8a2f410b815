package schemas

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// RepairGap is a value of a field that no repair can write to a side, because
// nothing there stands for it, or more than one thing does. Divergences in it are
// found as ever; their repair is refused.
type RepairGap struct {
	Entity, Field string
	Side          Side // which repairs may write
	Detail        string
	Remedy        string
}

// RepairGaps lists, in the order of the rules, what repairs may come to have to
// write and cannot, as far as the rules alone tell. It is empty where nothing is
// repaired.
func (r *Rules) RepairGaps() (gaps []RepairGap) {
	for _, e := range r.entities {
		for _, side := range Sides {
			if !r.CanWrite(e, side) {
				continue
			}
			for i := range e.Fields {
				f := &e.Fields[i]
				if f.Ignore {
					continue
				}
				for _, g := range f.gaps(side) {
					g.Entity, g.Field, g.Side = e.Name, f.Name, side
					gaps = append(gaps, g)
				}
			}
		}
	}
	return gaps
}

func (f *Field) gaps(side Side) (gaps []RepairGap) {
	s, other := &f.sources[side], &f.sources[side.Other()]
	gap := func(remedy, format string, args ...any) {
		gaps = append(gaps, RepairGap{Detail: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	switch {
	case s.expr != nil:
		gap("map a column there, with map, default or emptyIsNull where its values are other ones", "it is an expression there, which cannot be written to: every repair that has to write it is refused")
		return gaps
	case s.nulls.absent:
		gap("add the column there, or correct such rows where they are right", "it has no column there: repairs of rows whose value is not the default are refused")
		return gaps
	}
	if s.values != nil {
		for _, member := range s.members(other) {
			switch texts := s.values.standFor(member); {
			case len(texts) > 1:
				gap("leave one of them in the map, once the store has only that", "%s are all %q there: repairs to it are refused", quotedList(texts), member)
			case len(texts) == 0 && (s.nulls.fallback == nil || *s.nulls.fallback != member):
				gap("say in its map which value stands for it", "no value there stands for %q, which the %s has: repairs to it are refused", member, side.Other())
			}
		}
	}
	if s.nulls.fallback != nil && other.nulls.fallback == nil {
		gap(fmt.Sprintf("say on the %s what NULL stands for, too, or make the column NOT NULL there", side.Other()),
			"NULL stands for its default there, so nothing stands for a NULL of the %s: repairs to it are refused", side.Other())
	}
	if s.nulls.emptyIsNull && !other.nulls.emptyIsNull && other.values == nil && !other.nulls.absent {
		switch f.canonical.(type) {
		case textType, enumType:
			gap(fmt.Sprintf("say emptyIsNull on the %s, too, or see that no text is empty there", side.Other()),
				"an empty text stands for NULL there, so nothing stands for an empty text of the %s: repairs to it are refused", side.Other())
		}
	}
	return gaps
}

// members are those that the map has and those that the other side is known to
// have, in order.
func (s *source) members(other *source) []string {
	members := slices.Collect(maps.Values(s.values)) // any order: they are sorted
	members = slices.AppendSeq(members, maps.Values(other.values))
	if other.nulls.fallback != nil {
		members = append(members, *other.nulls.fallback)
	}
	slices.Sort(members)
	return slices.Compact(members)
}

func quotedList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = fmt.Sprintf("%q", cutText(text))
	}
	return strings.Join(quoted, " and ")
}
