package schemas

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxFields bounds an entity; no store's tables have more columns.
const maxFields = 4096

// entityReader reads one entity of the file.
type entityReader struct {
	*configReader
	*Entity
	m      *Migration
	path   string
	tables [3]*configNode

	declared []string // the names of all fields, also of those that are wrong
	choices  []nullChoice
}

// tablePlace is a table in a store: two stores with one dsn are one.
type tablePlace struct {
	dsn   string
	table TableName
}

func (e *entityReader) read(n *configNode) bool {
	if !e.mapping(n, e.path, "name", "key", "legacy", "target", "fields", "settleWindow", "authority", "compensate", "partitionBy", "owner", "severity", "retainSettled") {
		return false
	}
	name := e.required(n, e.path, "name", "a name")
	var ok bool
	if e.Name, ok = e.text(name, e.path+".name", "a name"); ok && !entityName.MatchString(e.Name) {
		e.fail(name, e.path+".name", "want a letter and up to 62 letters, digits, _ and -, have %s", shown(e.Name))
	}
	for _, side := range Sides {
		e.table(n, side)
	}
	e.fields(e.required(n, e.path, "fields", "a mapping of field names to types"))
	e.keys(n)
	e.SettleWindow = e.duration(n.get("settleWindow"), e.path+".settleWindow", maxSettleWindow, DefaultSettleWindow)
	e.SettleWindowSet = n.get("settleWindow") != nil
	e.Authority = Legacy
	if authority := n.get("authority"); authority != nil {
		e.AuthoritySet = true
		if word, ok := e.oneOf(authority, e.path+".authority", Legacy.String(), Target.String()); ok {
			e.Authority, _ = ParseSide(word)
		}
	}
	e.compensate(n.get("compensate"))
	e.writesNull()
	e.routing(n)
	e.retain(n.get("retainSettled"))
	return true
}

// retain reads whether settled keys are kept.
func (e *entityReader) retain(n *configNode) {
	if n == nil {
		return
	}
	path := e.path + ".retainSettled"
	if keep := e.boolean(n, path); keep || n.kind != kindBoolean {
		return
	}
	e.DropSettled = true
	for i := range e.Fields {
		if e.Fields[i].tolerance != nil {
			e.fail(n, path, "field %s is compared with a tolerance: a settled key of it has to be kept", e.Fields[i].Name)
		}
	}
}

// routing reads who is told, and how urgently.
func (e *entityReader) routing(n *configNode) {
	var ok bool
	if owner := n.get("owner"); owner != nil {
		if e.Owner, ok = e.text(owner, e.path+".owner", "the name of who reconciles"); ok && len(e.Owner) > maxOwner {
			e.fail(owner, e.path+".owner", "want at most %d bytes, have %d", maxOwner, len(e.Owner))
		}
	}
	severity, path := n.get("severity"), e.path+".severity"
	if severity == nil || !e.mapping(severity, path, textsOf(Kinds)...) {
		return
	}
	e.Severity = make(map[Kind]Severity, len(severity.entries))
	for _, entry := range severity.entries {
		if word, ok := e.oneOf(entry.value, within(path, entry.name), textsOf(Severities)...); ok {
			e.Severity[Kind(entry.name)] = Severity(word)
		}
	}
}

// table reads where the entity lives on a side.
func (e *entityReader) table(n *configNode, side Side) {
	path := e.path + "." + side.String()
	s := n.get(side.String())
	if s == nil {
		e.m.lack(e.configReader, n, path, "a run needs the table on both sides")
		return
	}
	if !e.mapping(s, path, "table") {
		return
	}
	table := e.required(s, path, "table", "schema.table")
	text, ok := e.text(table, path+".table", "schema.table")
	if !ok {
		return
	}
	name, err := parseTableName(text, e.drivers[side])
	if err != nil {
		e.fail(table, path+".table", "%v", err)
		return
	}
	e.Entity.tables[side], e.tables[side] = name, table
}

// tableOnce refuses a table that another entity has, or the other side of the
// same one: its repairs would be its own changes.
func (e *entityReader) tableOnce(side Side, places map[tablePlace]string) {
	table := e.Entity.tables[side]
	if table == (TableName{}) {
		return
	}
	at := tablePlace{dsn: side.String(), table: table}
	if s := e.m.stores[side]; s != nil && s.DSN != "" {
		at.dsn = s.DSN
	}
	if e.drivers[side].mysqlLike() { // whether case matters there depends on the server's disk
		at.table = TableName{strings.ToLower(table.Schema), strings.ToLower(table.Name)}
	}
	path := fmt.Sprintf("%s.%s.table", e.path, side)
	if first, twice := places[at]; twice {
		e.fail(e.tables[side], path, "the table %s stands twice in one store: %s has it", table, first)
		return
	}
	places[at] = path
}

// keys reads key and partitionBy, which name fields.
func (e *entityReader) keys(n *configNode) {
	path := e.path + ".key"
	key := e.required(n, e.path, "key", "a list of fields")
	if key == nil {
		return
	}
	e.KeyFields = e.names(key, path, e.declared, "a field of this entity")
	for i, item := range key.items {
		if f := slices.IndexFunc(e.Fields, func(f Field) bool { return f.Name == item.text }); f >= 0 {
			if problem := keyProblem(&e.Fields[f]); problem != "" {
				e.fail(item, fmt.Sprintf("%s[%d]", path, i), "%s cannot be in the key: %s", item.text, problem)
			}
		}
	}
	if part := n.get("partitionBy"); part != nil {
		e.PartitionBy = e.names(part, e.path+".partitionBy", e.KeyFields, "a field of the key")
	}
}

// keyProblem says why a field can be in no key.
func keyProblem(f *Field) string {
	switch {
	case f.Ignore:
		return "it is ignored"
	case f.tolerance != nil:
		return "it is compared with a tolerance"
	}
	for _, side := range Sides {
		if !f.sources[side].nulls.none() {
			return "it says what NULL stands for, which no key has"
		}
	}
	return ""
}

// names reads a list of known names, each once.
func (e *entityReader) names(n *configNode, path string, known []string, want string) []string {
	if n.kind != kindList || len(n.items) == 0 {
		e.fail(n, path, "want a list of fields, have %s", n.describe())
		return nil
	}
	var names []string
	for i, item := range n.items {
		path := fmt.Sprintf("%s[%d]", path, i)
		name, ok := e.text(item, path, want)
		switch {
		case !ok:
		case slices.Contains(names, name):
			e.fail(item, path, "%s stands twice", shown(name))
		case !slices.Contains(known, name):
			hint := ""
			if near := nearest(name, known); near != "" {
				hint = "; did you mean " + near + "?"
			}
			e.fail(item, path, "want %s, have %s%s", want, shown(name), hint)
		default:
			names = append(names, name)
		}
	}
	return names
}

// fields reads the mapping of fields.
func (e *entityReader) fields(n *configNode) {
	path := e.path + ".fields"
	if n == nil || !e.mapping(n, path) {
		return
	}
	if len(n.entries) == 0 || len(n.entries) > maxFields {
		e.fail(n, path, "want 1 to %d fields, have %d", maxFields, len(n.entries))
		return
	}
	columns := [3]map[string]string{Legacy: {}, Target: {}} // whose a column is, by column
	seen := map[string]bool{}
	for _, entry := range n.entries {
		f := fieldReader{entityReader: e, path: within(path, entry.name), Field: &Field{Name: entry.name}}
		if seen[entry.name] {
			continue // said by mapping
		}
		seen[entry.name] = true
		e.declared = append(e.declared, entry.name)
		if name, err := parseColumnName(entry.name, ""); err != nil || name != entry.name {
			if err == nil {
				err = errors.New("quotes around a field's name")
			}
			e.failAt(entry.line, entry.column, f.path, "not the name of a field: %v", err)
		}
		if !f.read(entry) {
			continue
		}
		for _, side := range Sides {
			f.columnOnce(side, columns[side])
			e.emptyNull(&f, side)
		}
		e.Fields = append(e.Fields, *f.Field)
	}
}
