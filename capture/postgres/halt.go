package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// halts are the entities that are not handed over. It outlives connections, and
// is used by one goroutine at a time.
type halts struct {
	from map[string]haltPoint // by entity
	log  identity             // of the stream, without the halted tables
	tell func(capture.Halt) error
}

// haltPoint is the first row that is not handed over. The zero one is before
// every row.
type haltPoint struct {
	commit  lsn
	ordinal uint32
}

func newHalts(names []string) *halts {
	h := &halts{from: map[string]haltPoint{}}
	for _, name := range names {
		h.from[name] = haltPoint{}
	}
	return h
}

func (h *halts) names() (names []string) {
	for name := range h.from { // any order: they are looked up
		names = append(names, name)
	}
	return names
}

// halt stops an entity at a point, and says so once. What is at or before pos
// was handed over.
func (h *halts) halt(entity string, table string, at haltPoint, pos string, p *problem) error {
	if _, known := h.from[entity]; known {
		return nil
	}
	h.from[entity] = at
	h.log = h.log.without(table)
	return h.tell(capture.Halt{Entity: entity, Pos: pos, Reason: p.subject + ": " + p.detail, Remedy: p.remedy, Identity: h.log.String()})
}

// plain is a table's name as the catalog has it.
func plain(t schemas.TableName) string { return t.Schema + "." + t.Name }

// without returns the identity without a table: what becomes of that does not
// matter any more.
func (id identity) without(table string) identity {
	tables := make(map[string]tableIdentity, len(id.Tables))
	for name, t := range id.Tables {
		if name != table {
			tables[name] = t
		}
	}
	id.Tables = tables
	return id
}

// halted says whether a committed row is not handed over, and halts its entity
// where it is the first that cannot be.
func (a *assembler) halted(t *txn, m *mapped, ordinal uint32) (bool, error) {
	if m == nil || m.entity == nil || a.halts == nil {
		return false, nil
	}
	at := haltPoint{t.commit, ordinal}
	if from, ok := a.halts.from[m.entity.Name]; ok {
		return at.commit > from.commit || at.commit == from.commit && at.ordinal >= from.ordinal, nil
	}
	if m.broken == nil {
		return false, nil
	}
	return true, a.halts.halt(m.entity.Name, plain(m.table), at, t.like.Pos, m.broken)
}

// broken says why rows of a relation as it is described now cannot be carried
// on as its entity's; nil if they can.
func (r *relations) broken(m *mapped) *problem {
	subject := "table " + plain(m.table)
	mapping := fmt.Sprintf("or correct the fields of %s in migration.yaml", m.entity.Name)
	if t, ok := r.catalog[plain(m.table)]; ok && t.OID != 0 && t.OID != m.oid {
		return recreated(subject)
	}
	for i := range m.entity.Fields {
		f := &m.entity.Fields[i]
		name, ok := f.Column(r.side)
		if !ok {
			continue
		}
		key := slices.Contains(m.entity.KeyFields, f.Name)
		at := slices.Index(m.columns, name)
		switch {
		case at < 0 && f.Ignore && !key:
		case at < 0:
			return &problem{subject, fmt.Sprintf("column %s of field %s is gone", name, f.Name), "add the column again, " + mapping}
		case (!f.Ignore || key) && !readable(f, m.types[at]):
			return &problem{subject, fmt.Sprintf("column %s has another type, whose values field %s, which is %s, cannot read", name, f.Name, f.Type),
				"give the column its type again, " + mapping}
		case key && !m.identity[at]:
			return &problem{subject, fmt.Sprintf("key column %s is not part of the replica identity any more: the log does not say which row an update or delete is of", name),
				fullSQL([]string{qualified(m.table.Schema, m.table.Name)})}
		}
	}
	return nil
}

func recreated(subject string) *problem {
	return &problem{subject, "it was dropped and created again, or another took its name: the log does not say what became of its rows",
		"make sure that its rows are what they should be"}
}

// samples are texts of the types whose values have a form of their own: a field
// that can read none of them cannot read the type.
var samples = map[uint32][]string{
	16: {"t"}, 17: {`\x00`}, 20: {"1"}, 21: {"1"}, 23: {"1"}, 26: {"1"},
	114: {"{}", "1"}, 3802: {"{}", "1"},
	600: {"(1,2)"}, 869: {"::1"}, 650: {"10.0.0.0/8"}, 829: {"08:00:2b:01:02:03"},
	700: {"1", "1.5"}, 701: {"1", "1.5"}, 1700: {"1", "1.5"},
	1082: {"2026-01-02"}, 1083: {"03:04:05"}, 1266: {"03:04:05+00"},
	1114: {"2026-01-02 03:04:05", "2026-01-02 00:00:00"}, 1184: {"2026-01-02 03:04:05+00", "2026-01-02 00:00:00+00"}, 1186: {"1 day"},
	2950: {"00112233-4455-6677-8899-aabbccddeeff"},
	1000: {"{t}"}, 1005: {"{1}"}, 1007: {"{1}"}, 1016: {"{1}"}, 1231: {"{1}"}, 1009: {"{a}", "{1}"}, 1015: {"{a}", "{1}"},
}

// readable says whether a field can read values of a type, as far as that can
// be told from the type.
func readable(f *schemas.Field, typ uint32) bool {
	texts, ok := samples[typ]
	return !ok || slices.ContainsFunc(texts, f.CanRead)
}

// lost says what became of a table that was captured; nil if nothing did.
func (was tableIdentity) lost(is tableIdentity, name, publication string) *problem {
	subject := "table " + name
	publish := fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s", identifier(publication), name)
	switch {
	case is.OID == 0:
		return &problem{subject, "it is gone or has another name: the log does not say what became of its rows", "create it again, give it its name back, or correct the mapping"}
	case is.OID != was.OID:
		return recreated(subject)
	case is.Membership == 0 && was.Membership != 0:
		return &problem{subject, "it left publication " + publication + ": its changes are no longer in the stream", publish}
	case is.Membership != was.Membership:
		return &problem{subject, "it left publication " + publication + " and came back: changes in between are not in the stream", "make sure that its rows are what they should be"}
	}
	if attached := was.attached(is); len(attached) > 0 {
		return &problem{subject, "partitions were attached to it: " + strings.Join(attached, ", ") + "; the rows that they had are not in the stream",
			"make sure that their rows are what they should be"}
	}
	return nil
}

// haltsOf says which entities cannot be carried on from the log that is there
// now; those that are halted already do not matter, and those that were never
// captured are problems of the start.
func (s *Source) haltsOf(f *found, was identity, halted []string) (found map[string]*problem) {
	found = map[string]*problem{}
	for i, name := range s.cfg.tables() {
		e, _ := s.cfg.Rules.EntityOf(s.cfg.Side, name.Schema, name.Name)
		captured, ok := was.Tables[plain(name)]
		if slices.Contains(halted, e.Name) || !ok {
			continue
		}
		t := &f.tables[i]
		p := captured.lost(f.identity().Tables[plain(name)], plain(name), was.Publication)
		if p == nil {
			p = tableProblem(t)
		}
		if p == nil && f.hasPublication {
			p = publishedProblem(s.cfg.Publication, f.publication, t)
		}
		if p == nil {
			if bad := entityProblems(t, f.publication, e, s.cfg.Side); len(bad) > 0 {
				p = bad[0]
			}
		}
		if p != nil {
			found[e.Name] = p
		}
	}
	return found
}

// refuser returns what takes halts, nil where the sink takes none.
func (d *delivery) refuser() capture.Refuser {
	r, _ := d.sink.(capture.Refuser)
	return r
}

// stop halts entities between transactions.
func (d *delivery) stop(cfg *Config, h *halts, found map[string]*problem) error {
	for _, e := range cfg.Rules.Entities() {
		if p := found[e.Name]; p != nil {
			if err := h.halt(e.Name, plain(e.Table(cfg.Side)), haltPoint{}, posText(d.reached-1), p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *delivery) tellHalt(ctx context.Context, h capture.Halt) error {
	if err := d.refuser().Halt(ctx, h); err != nil {
		return &sinkError{fmt.Errorf("halt %s at %s: %w", h.Entity, h.Pos, err)}
	}
	return nil
}
