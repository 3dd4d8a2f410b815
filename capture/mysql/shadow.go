package mysql

import (
	"fmt"
	"strings"

	"github.com/trueup-io/trueup/schemas"
)

// Tools that change a table's schema while it is written to make another table
// beside it, copy the rows to that one, follow what is written meanwhile, and
// in the end swap the two by RENAME TABLE. What they copied is not followed
// here: it is in the log as rows of another table, which may have other columns.
var shadows = []struct{ tool, prefix, suffix string }{
	{"gh-ost", "_", "_gho"},
	{"pt-online-schema-change", "_", "_new"},
	{"lhm", "lhmn_", ""},
	{"OnlineSchemaChange", "__osc_new_", ""},
}

// shadowOf says of which table a table is the shadow, and by whose convention;
// "" if it looks like none.
func shadowOf(name string) (table, tool string) {
	for _, s := range shadows {
		inner, prefixed := strings.CutPrefix(name, s.prefix)
		inner, suffixed := strings.CutSuffix(inner, s.suffix)
		if prefixed && suffixed {
			return strings.TrimLeft(inner, "_"), s.tool // a second shadow has one more underscore
		}
	}
	return "", ""
}

// swapped says who put another table into the place of name, and which, where
// a RENAME did: tables are from, to, from, to, …
func swapped(tables []touched, name schemas.TableName) (shadow schemas.TableName, tool string) {
	away := false
	for i := 0; i+1 < len(tables); i += 2 {
		away = away || tables[i].TableName == name
		if away && tables[i+1].TableName == name {
			shadow = tables[i].TableName
			if of, by := shadowOf(shadow.Name); of == name.Name {
				tool = by
			}
			return shadow, tool
		}
	}
	return schemas.TableName{}, ""
}

// swapReason says why an entity halts whose table was swapped for its shadow,
// and what to do; "" if it was not.
func (s *stream) swapReason(p statement, e *schemas.Entity) (reason, remedy string) {
	shadow, tool := swapped(p.tables, e.Table(s.source.cfg.Side))
	if shadow == (schemas.TableName{}) {
		return "", ""
	}
	if tool == "" {
		tool = "an online schema change, by its form"
	}
	return fmt.Sprintf("%s put table %s in its place, whose rows were copied and not followed", tool, shadow),
		fmt.Sprintf("when the schema change is over, take it up again with trueup run --resume %s, and read its rows with trueup baseline --entity %[1]s", e.Name)
}

// announce says that an online schema change of a mapped table begins: at its
// end the entity will halt.
func (s *stream) announce(p statement) {
	for _, t := range p.tables {
		of, tool := shadowOf(t.Name)
		if tool == "" || t.effect != effectAlter {
			continue
		}
		e, mapped := s.source.cfg.Rules.EntityOf(s.source.cfg.Side, t.Schema, of)
		if mapped && s.new("shadow "+t.TableName.String()) {
			s.source.log.Warn("an online schema change of a mapped table has begun; its entity halts when the tables are swapped",
				"entity", e.Name, "table", e.Table(s.source.cfg.Side).String(), "shadow", t.TableName.String(), "tool", tool, "pos", s.txn.pos.String())
		}
	}
}
