package schemas

import (
	"maps"
	"slices"

	"github.com/trueup-io/trueup/schemas/pb"
)

// AppendEvent appends the wire form of e to dst. The same event always gives
// the same bytes. An event that is not exactly one thing panics.
func AppendEvent(dst []byte, e *Event) []byte {
	var m pb.Event
	switch {
	case e.Divergence != nil:
		m.Kind = &pb.Event_Divergence{Divergence: divergenceToWire(e.Divergence)}
	case e.Compensation != nil:
		m.Kind = &pb.Event_Compensation{Compensation: compensationToWire(e.Compensation)}
	case e.Outcome != nil:
		m.Kind = &pb.Event_Outcome{Outcome: outcomeToWire(e.Outcome)}
	case e.Decision != nil:
		m.Kind = &pb.Event_Decision{Decision: decisionToWire(e.Decision)}
	default:
		panic("schemas: AppendEvent of an event that is nothing")
	}
	return appendMessage(dst, &m)
}

// UnmarshalEvent reads what AppendEvent wrote. An error is a *DecodeError. It
// does not keep b.
func UnmarshalEvent(b []byte) (*Event, error) {
	message, bad := payload(b)
	if bad != nil {
		return nil, bad
	}
	var m pb.Event
	if err := m.UnmarshalVTUnsafe(slices.Clone(message)); err != nil {
		return nil, decodeError(b, "%s", err)
	}
	e, reason := eventFromWire(&m)
	if reason != "" {
		return nil, decodeError(b, "%s", reason)
	}
	if err := checkEvent(e); err != nil {
		return nil, decodeError(b, "%s", err)
	}
	return e, nil
}

func eventFromWire(m *pb.Event) (*Event, string) {
	switch k := m.Kind.(type) {
	case *pb.Event_Divergence:
		return divergenceFromWire(k.Divergence)
	case *pb.Event_Compensation:
		return compensationFromWire(k.Compensation)
	case *pb.Event_Outcome:
		o := k.Outcome
		return &Event{Outcome: &Outcome{
			CompensationID: o.CompensationId, DivergenceID: o.DivergenceId, Entity: o.Entity, Key: textsFromWire(o.Key),
			Result: Result(o.Result), Detail: textOf(o.Detail), By: o.By, At: Micros(o.At),
		}}, ""
	case *pb.Event_Decision:
		d := k.Decision
		return &Event{Decision: &Decision{
			Action: Action(d.Action), CompensationID: d.CompensationId, Scope: d.Scope, By: d.By, Why: d.Why, At: Micros(d.At), Signature: d.Signature,
		}}, ""
	}
	return &Event{}, ""
}

func divergenceToWire(d *Divergence) *pb.Divergence {
	m := &pb.Divergence{
		Id: d.ID, Stage: string(d.Stage), Verdict: string(d.Verdict), Entity: d.Entity, Key: textsToWire(d.Key),
		Since: int64(d.Since), OpenedAt: int64(d.OpenedAt), At: int64(d.At), Side: pb.Side(d.Side),
		Authority: evidenceToWire(d.Authority), Follower: evidenceToWire(d.Follower), Fields: d.Fields,
		ClosedBy: evidenceToWire(d.ClosedBy), ClosedAt: int64(d.ClosedAt), Rules: d.Rules, Sequence: d.Sequence,
		Cause: evidenceToWire(d.Cause), AuthorityAbsent: d.AuthorityAbsent,
		RolloutEpoch: d.RolloutEpoch, HandedOver: d.HandedOver,
	}
	for _, r := range d.FieldRules {
		m.FieldRules = append(m.FieldRules, &pb.FieldRule{Field: r.Field, Rules: r.Rules, Applied: r.Applied})
	}
	return m
}

func divergenceFromWire(m *pb.Divergence) (*Event, string) {
	d := &Divergence{
		ID: m.Id, Stage: Stage(m.Stage), Verdict: Kind(m.Verdict), Entity: m.Entity, Key: textsFromWire(m.Key),
		Since: Micros(m.Since), OpenedAt: Micros(m.OpenedAt), At: Micros(m.At), Side: sideFromWire(m.Side),
		Fields: m.Fields, ClosedAt: Micros(m.ClosedAt), Rules: m.Rules, Sequence: m.Sequence,
		AuthorityAbsent: m.AuthorityAbsent, RolloutEpoch: m.RolloutEpoch, HandedOver: m.HandedOver,
	}
	for _, r := range m.FieldRules {
		d.FieldRules = append(d.FieldRules, FieldRule{Field: r.Field, Rules: r.Rules, Applied: r.Applied})
	}
	var ok [4]bool
	d.Authority, ok[0] = evidenceFromWire(m.Authority)
	d.Follower, ok[1] = evidenceFromWire(m.Follower)
	d.ClosedBy, ok[2] = evidenceFromWire(m.ClosedBy)
	d.Cause, ok[3] = evidenceFromWire(m.Cause)
	if ok != [4]bool{true, true, true, true} {
		return nil, "evidence with a row or values that cannot be"
	}
	return &Event{Divergence: d}, ""
}

func evidenceToWire(e *Evidence) *pb.Evidence {
	if e == nil {
		return nil
	}
	m := &pb.Evidence{
		Side: pb.Side(e.Side), Source: e.Source, Epoch: e.Epoch, Pos: e.Pos, Ordinal: e.Ordinal,
		Op: pb.Op(e.Op), Txn: e.Txn, CommitTs: int64(e.CommitTS), Row: rowToWire(e.Row),
		Unlogged: e.Unlogged,
	}
	if e.Tag != (Tag{}) {
		m.Tag = new(pb.Tag)
		fillTag(m.Tag, &e.Tag)
	}
	if e.Place != nil {
		m.Place = placeToWire(*e.Place)
	}
	if e.Values != nil {
		m.Values = new(pb.Values)
	}
	for _, field := range slices.Sorted(maps.Keys(e.Values)) {
		v := &pb.FieldValue{Field: field, Null: true}
		if text := e.Values[field]; text != nil {
			v.Text, v.Null = bytesOf(*text), false
		}
		m.Values.Fields = append(m.Values.Fields, v)
	}
	return m
}

// evidenceFromWire converts m; it is false where a presence is not known or a
// field stands twice.
func evidenceFromWire(m *pb.Evidence) (*Evidence, bool) {
	if m == nil {
		return nil, true
	}
	row, ok := eventRowFromWire(m.Row)
	e := &Evidence{
		EventID: EventID{Source: m.Source, Epoch: m.Epoch, Pos: m.Pos, Ordinal: m.Ordinal},
		Side:    sideFromWire(m.Side), Op: opFromWire(m.Op), Txn: m.Txn, CommitTS: Micros(m.CommitTs), Row: row,
		Unlogged: m.Unlogged,
	}
	if m.Tag != nil {
		e.Tag = tagFromWire(m.Tag)
	}
	if m.Place != nil {
		place := placeFromWire(m.Place)
		e.Place = &place
	}
	if m.Values == nil {
		return e, ok
	}
	e.Values = make(map[string]*string, len(m.Values.Fields))
	for _, v := range m.Values.Fields {
		e.Values[v.Field] = nil
		if !v.Null {
			text := textOf(v.Text)
			e.Values[v.Field] = &text
		}
	}
	return e, ok && len(e.Values) == len(m.Values.Fields)
}

func compensationToWire(c *Compensation) *pb.Compensation {
	m := &pb.Compensation{
		Id: c.ID, DivergenceId: c.DivergenceID, Sequence: c.Sequence, Entity: c.Entity, Key: textsToWire(c.Key),
		Side: pb.Side(c.Side), Policy: c.Policy, Mode: c.Mode, Statement: string(c.Statement),
		Schema: c.Schema, Table: c.Table,
		KeyColumns: rowToWire(c.KeyColumns), Expect: rowToWire(c.Expect), Set: rowToWire(c.Set), Add: rowToWire(c.Add),
		DerivedOfSource: c.DerivedOf.Source, DerivedOfEpoch: c.DerivedOf.Epoch,
		DerivedOfPos: c.DerivedOf.Pos, DerivedOfOrdinal: c.DerivedOf.Ordinal,
		Rules: c.Rules, CreatedAt: int64(c.CreatedAt), Rule: c.Rule, Undoes: c.Undoes, ExpiresAt: int64(c.ExpiresAt),
		Signature: c.Signature, Authority: pb.Side(c.Authority), RolloutEpoch: c.RolloutEpoch,
	}
	for _, s := range c.Sources {
		m.Sources = append(m.Sources, &pb.FieldSource{Field: s.Field, Source: s.Source, Epoch: s.Epoch, Pos: s.Pos, Ordinal: s.Ordinal})
	}
	for _, p := range c.Rows {
		m.Rows = append(m.Rows, placeToWire(p))
	}
	return m
}

func placeToWire(p RowPlace) *pb.RowPlace {
	return &pb.RowPlace{Side: pb.Side(p.Side), Partition: p.Partition, Offset: p.Offset}
}

func placeFromWire(m *pb.RowPlace) RowPlace {
	return RowPlace{Side: sideFromWire(m.Side), Partition: m.Partition, Offset: m.Offset}
}

func compensationFromWire(m *pb.Compensation) (*Event, string) {
	c := &Compensation{
		ID: m.Id, DivergenceID: m.DivergenceId, Sequence: m.Sequence, Entity: m.Entity, Key: textsFromWire(m.Key),
		Side: sideFromWire(m.Side), Policy: m.Policy, Mode: m.Mode, Statement: Statement(m.Statement),
		Schema: m.Schema, Table: m.Table,
		DerivedOf: EventID{
			Source: m.DerivedOfSource, Epoch: m.DerivedOfEpoch, Pos: m.DerivedOfPos, Ordinal: m.DerivedOfOrdinal,
		},
		Rules: m.Rules, CreatedAt: Micros(m.CreatedAt), Rule: m.Rule, Undoes: m.Undoes, ExpiresAt: Micros(m.ExpiresAt),
		Signature: m.Signature, Authority: sideFromWire(m.Authority), RolloutEpoch: m.RolloutEpoch,
	}
	for _, s := range m.Sources {
		c.Sources = append(c.Sources, FieldSource{s.Field, EventID{Source: s.Source, Epoch: s.Epoch, Pos: s.Pos, Ordinal: s.Ordinal}})
	}
	for _, p := range m.Rows {
		c.Rows = append(c.Rows, placeFromWire(p))
	}
	var ok [4]bool
	c.KeyColumns, ok[0] = eventRowFromWire(m.KeyColumns)
	c.Expect, ok[1] = eventRowFromWire(m.Expect)
	c.Set, ok[2] = eventRowFromWire(m.Set)
	c.Add, ok[3] = eventRowFromWire(m.Add)
	if ok != [4]bool{true, true, true, true} {
		return nil, "a column with a presence that is not known"
	}
	return &Event{Compensation: c}, ""
}

func outcomeToWire(o *Outcome) *pb.Outcome {
	return &pb.Outcome{
		CompensationId: o.CompensationID, DivergenceId: o.DivergenceID, Entity: o.Entity, Key: textsToWire(o.Key),
		Result: string(o.Result), Detail: bytesOf(o.Detail), By: o.By, At: int64(o.At),
	}
}

func decisionToWire(d *Decision) *pb.Decision {
	return &pb.Decision{
		Action: string(d.Action), CompensationId: d.CompensationID, Scope: d.Scope, By: d.By, Why: d.Why, At: int64(d.At), Signature: d.Signature,
	}
}

// rowToWire converts a row; a nil row is no image.
func rowToWire(row Row) *pb.Image {
	if row == nil {
		return nil
	}
	m := &pb.Image{Columns: make([]*pb.Column, len(row))}
	for i := range row {
		m.Columns[i] = new(pb.Column)
		fillColumn(m.Columns[i], &row[i])
	}
	return m
}
