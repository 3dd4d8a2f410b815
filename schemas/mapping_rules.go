package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// newRules makes rules of checked entities.
func newRules(migration string, drivers [3]Driver, entities []*Entity) (*Rules, error) {
	r := &Rules{Migration: migration, entities: entities, byName: make(map[string]*Entity, len(entities)),
		byTable: [3]map[TableName]*Entity{Legacy: {}, Target: {}}}
	for _, e := range entities {
		if r.byName[e.Name] != nil {
			return nil, fmt.Errorf("rules of %s: entity %s stands twice", migration, e.Name)
		}
		r.byName[e.Name] = e
		for _, side := range Sides {
			if t := e.tables[side]; t != (TableName{}) {
				r.byTable[side][t] = e
			}
		}
	}
	r.Definition = string(appendRulesDefinition(nil, drivers, entities))
	sum := sha256.Sum256([]byte(r.Definition))
	r.Version = migration + "-" + hex.EncodeToString(sum[:4])
	return r, nil
}

// appendRulesDefinition appends the rules as canonical JSON: names in order, no white
// space. Lengths of time are in microseconds. The mode of compensation is not in
// it: no verdict depends on it.
func appendRulesDefinition(dst []byte, drivers [3]Driver, entities []*Entity) []byte {
	dst = append(dst, `{"drivers":{"legacy":`...)
	dst = appendJSONString(dst, string(drivers[Legacy]))
	dst = append(dst, `,"target":`...)
	dst = appendJSONString(dst, string(drivers[Target]))
	dst = append(dst, `},"entities":[`...)
	for i, e := range entities {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.appendDefinition(dst)
	}
	return append(dst, "]}"...)
}

func (e *Entity) appendDefinition(dst []byte) []byte {
	dst = append(dst, `{"authority":`...)
	dst = appendJSONString(dst, e.Authority.String())
	dst = append(dst, `,"fields":[`...)
	for i := range e.Fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.Fields[i].appendDefinition(dst)
	}
	dst = append(dst, `],"key":`...)
	dst = appendNames(dst, e.KeyFields)
	dst = append(dst, `,"legacy":`...)
	dst = appendTable(dst, e.tables[Legacy])
	dst = append(dst, `,"name":`...)
	dst = appendJSONString(dst, e.Name)
	dst = append(dst, `,"partitionBy":`...)
	dst = appendNames(dst, e.PartitionBy)
	dst = append(dst, `,"policy":`...)
	dst = appendJSONString(dst, e.Compensate.Policy)
	if e.DropSettled { // left out otherwise: rules of before keep their versions
		dst = append(dst, `,"retainSettled":false`...)
	}
	dst = append(dst, `,"settleWindowMicros":`...)
	dst = strconv.AppendInt(dst, e.SettleWindow.Microseconds(), 10)
	dst = append(dst, `,"target":`...)
	dst = appendTable(dst, e.tables[Target])
	return append(dst, '}')
}

func (f *Field) appendDefinition(dst []byte) []byte {
	dst = append(dst, `{"ignore":`...)
	dst = strconv.AppendBool(dst, f.Ignore)
	dst = append(dst, `,"legacy":`...)
	dst = f.sources[Legacy].appendDefinition(dst)
	dst = append(dst, `,"name":`...)
	dst = appendJSONString(dst, f.Name)
	dst = append(dst, `,"target":`...)
	dst = f.sources[Target].appendDefinition(dst)
	dst = append(dst, `,"type":`...)
	dst = appendJSONString(dst, f.Type)
	return append(dst, '}')
}

// appendDefinition appends the source's members in the order of their names. Those
// that say nothing are left out: rules of before keep their versions.
func (s *source) appendDefinition(dst []byte) []byte {
	start := len(dst)
	member := func(name string) {
		dst = append(dst, ',')
		dst = appendJSONString(dst, name)
		dst = append(dst, ':')
	}
	switch {
	case s.nulls.absent:
		member("absent")
		dst = append(dst, "true"...)
	case s.expr == nil:
		member("column")
		dst = appendJSONString(dst, s.column)
	}
	if s.nulls.fallback != nil {
		member("default")
		dst = appendJSONString(dst, *s.nulls.fallback)
	}
	if s.nulls.emptyIsNull {
		member("emptyIsNull")
		dst = append(dst, "true"...)
	}
	if s.expr != nil {
		member("expr")
		dst = appendJSONString(dst, s.expr.text)
	}
	if s.values != nil {
		member("map")
		dst = s.values.appendDefinition(dst)
	}
	dst[start] = '{'
	return append(dst, '}')
}

func appendTable(dst []byte, t TableName) []byte {
	dst = append(dst, `{"name":`...)
	dst = appendJSONString(dst, t.Name)
	dst = append(dst, `,"schema":`...)
	dst = appendJSONString(dst, t.Schema)
	return append(dst, '}')
}

func appendNames(dst []byte, names []string) []byte {
	dst = append(dst, '[')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, name)
	}
	return append(dst, ']')
}
