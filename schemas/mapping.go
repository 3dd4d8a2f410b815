package schemas

import (
	"slices"
	"time"
)

// Rules are the mapping of tables to entities with everything that a verdict
// depends on. They never change; many goroutines may use them.
type Rules struct {
	Migration string // the migration's name
	Owner     string // who reconciles where an entity names nobody; may be empty
	Rollout   string // what says which side has authority, once the log has it; empty: the rules do
	Stage     string // at which stage of the migration it is, as its file says; may be empty
	// Version is the name, a hyphen, and the first 8 hexadecimal digits of the SHA-256 of Definition.
	Version string
	// Definition is the canonical JSON of what verdicts depend on: the stores' drivers and the entities.
	Definition string

	entities []*Entity
	byName   map[string]*Entity
	byTable  [3]map[TableName]*Entity // by side
	mask     Mask                     // nil: nobody has the key
}

// Entities lists the entities in the order of the file.
func (r *Rules) Entities() []*Entity { return r.entities }

// Entity returns the named entity.
func (r *Rules) Entity(name string) (*Entity, bool) {
	e, ok := r.byName[name]
	return e, ok
}

// EntityOf returns the entity that a table of a side is mapped to. Names are
// compared as they are, letter case included.
func (r *Rules) EntityOf(side Side, schema, table string) (*Entity, bool) {
	if side != Legacy && side != Target {
		return nil, false
	}
	e, ok := r.byTable[side][TableName{Schema: schema, Name: table}]
	return e, ok
}

// Entity is a resource with a canonical key and canonical fields, and where
// they live on each side.
type Entity struct {
	Name         string
	Fields       []Field  // in the order of the file
	KeyFields    []string // names of fields
	PartitionBy  []string // names of key fields; empty: all of them
	SettleWindow time.Duration
	Authority    Side
	Compensate   CompensateConfig
	Owner        string            // who reconciles; empty: the migration's owner
	Severity     map[Kind]Severity // of kinds that it says another one of than DefaultSeverity
	// SettleWindowSet and AuthoritySet say that the file gives them; otherwise a log's own control record goes first.
	SettleWindowSet, AuthoritySet bool
	// DropSettled says that nothing is kept of a key that has settled: what it was stands in the rows before changes.
	DropSettled bool

	place    int // see Place
	tables   [3]TableName
	drivers  [3]Driver
	byName   map[string]int // index in Fields
	key      []int          // indexes in Fields
	part     []int          // indexes in key
	exact    []int          // fields that stand in the digest
	tolerant []int          // fields compared with a tolerance
	ruled    []ruledField   // fields with rules beyond their type
	shape    [16]byte       // what the digest begins with
}

// Place is where the entity stands in Rules.Entities.
func (e *Entity) Place() int { return e.place }

// Table returns the table of a side, the zero TableName where the file names none.
func (e *Entity) Table(side Side) TableName {
	if side != Legacy && side != Target {
		return TableName{}
	}
	return e.tables[side]
}

// ReadsBefore says that rows before changes of a side are compared with what the
// log said of them last: changes can be kept out of a MySQL or MariaDB server's
// log, and where settled keys are dropped nothing else says what they were.
func (e *Entity) ReadsBefore(side Side) bool { return e.DropSettled || e.drivers[side].mysqlLike() }

// Field is a canonical field: its type, and where it lives on each side.
type Field struct {
	Name   string
	Type   string // as declared: decimal(2)
	Ignore bool   // compared never
	// Sensitive values stand in the changes topic and in the stores, and everywhere else as keyed digests.
	Sensitive bool

	canonical canonType
	tolerance *tolerance
	fold      *folding // nil: text is compared byte by byte
	plain     bool     // text that is compared byte by byte: its canonical text is itself
	sources   [3]source
}

// source is where a field's value comes from on one side: a column, or an
// expression over columns.
type source struct {
	column string
	expr   *expression
	values valueMap // nil: the column's values are the field's
	nulls  nullRules
}

// Column returns the column of a side, false where an expression or a default
// stands in its place.
func (f *Field) Column(side Side) (string, bool) {
	if (side != Legacy && side != Target) || f.sources[side].expr != nil || f.sources[side].nulls.absent {
		return "", false
	}
	return f.sources[side].column, true
}

// Absent says that a side has no column for the field: its default is the value
// of every row.
func (f *Field) Absent(side Side) bool {
	return (side == Legacy || side == Target) && f.sources[side].nulls.absent
}

// Needs lists the columns of a side that the field's value is made of: its
// column, or those that its expression uses; none where it has no column.
func (f *Field) Needs(side Side) []string {
	if side != Legacy && side != Target {
		return nil
	}
	return slices.Clone(f.sources[side].columns())
}

// field returns the named field, nil if there is none.
func (e *Entity) field(name string) *Field {
	if i, ok := e.byName[name]; ok {
		return &e.Fields[i]
	}
	return nil
}

// finish derives what the entity's methods look up.
func (e *Entity) finish() {
	e.byName = make(map[string]int, len(e.Fields))
	for i := range e.Fields {
		f := &e.Fields[i]
		e.byName[f.Name] = i
		switch f.canonical.(type) {
		case textType, enumType:
			f.plain = f.fold == nil
		}
		switch {
		case f.Ignore:
		case f.tolerance != nil:
			e.tolerant = append(e.tolerant, i)
		default:
			e.exact = append(e.exact, i)
		}
		if rules := f.rulesOf(); len(rules) > 0 {
			e.ruled = append(e.ruled, ruledField{i, rules})
		}
	}
	for i, name := range e.KeyFields {
		e.key = append(e.key, e.byName[name])
		if len(e.PartitionBy) == 0 {
			e.part = append(e.part, i)
		}
	}
	for _, name := range e.PartitionBy {
		for i := range e.KeyFields {
			if e.KeyFields[i] == name {
				e.part = append(e.part, i)
			}
		}
	}
	e.shape = e.shapeOf()
	e.share()
}
