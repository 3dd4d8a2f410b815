package schemas

import "math"

// AppendDivergenceJSON appends d as one line of JSON, without a line feed: the
// fields of contracts.md in its order, then ours. The same divergence always
// gives the same bytes: values are sorted by field, rows keep the order of
// their columns but for those that the log does not carry, which stand last as
// {"unavailable":true}.
func AppendDivergenceJSON(dst []byte, d *Divergence) []byte {
	o := openObject(dst)
	o.text("kind", "divergence")
	o.text("id", d.ID)
	o.text("verdict", string(d.Verdict))
	o.text("entity", d.Entity)
	o.texts("key", d.Key)
	o.time("opened_at", d.OpenedAt)
	o.text("age", d.age())
	o.evidence("authority", d.Authority, true)
	o.evidence("follower", d.Follower, true)
	o.texts("fields", d.Fields)
	o.evidence("closed_by", d.ClosedBy, false)
	o.text("rules", d.Rules)
	o.text("stage", string(d.Stage))
	o.number("sequence", int64(d.Sequence))
	o.time("since", d.Since)
	o.time("at", d.At)
	if d.ClosedAt == 0 {
		o.null("closed_at")
	} else {
		o.time("closed_at", d.ClosedAt)
	}
	o.text("side", d.Side.String())
	o.evidence("cause", d.Cause, false)
	if d.AuthorityAbsent {
		o.bool("authority_absent", true)
	}
	if d.RolloutEpoch != 0 {
		o.number("rollout_epoch", int64(d.RolloutEpoch))
	}
	if d.HandedOver {
		o.bool("handed_over", true)
	}
	o.list("field_rules", len(d.FieldRules), func(each *jsonObject, i int) {
		r := &d.FieldRules[i]
		each.text("field", r.Field)
		each.texts("rules", r.Rules)
		if len(r.Applied) > 0 {
			each.texts("applied", r.Applied)
		}
	})
	return o.close()
}

// age is how long the sides had differed when the event was taken.
func (d *Divergence) age() string { return d.At.Sub(d.Since).String() }

// evidence writes one side's version; null where there is none. Row and values
// are written where they are, and, of a side's latest version, as null where
// the row is absent.
func (o *jsonObject) evidence(name string, e *Evidence, latest bool) {
	if e == nil {
		o.null(name)
		return
	}
	o.field(name)
	v := openObject(o.dst)
	v.text("pos", e.Pos)
	if e.Txn == "" {
		v.null("txn")
	} else {
		v.text("txn", e.Txn)
	}
	if e.Tag == (Tag{}) {
		v.null("tag")
	} else {
		v.tag("tag", &e.Tag)
	}
	v.text("side", e.Side.String())
	v.text("source", e.Source)
	v.number("epoch", int64(e.Epoch))
	v.number("ordinal", int64(e.Ordinal))
	v.text("op", e.Op.String())
	v.time("commit_ts", e.CommitTS)
	if e.Place != nil {
		v.field("place")
		place := openObject(v.dst)
		place.rowPlace(e.Place)
		v.dst = place.close()
	}
	if e.Unlogged {
		v.bool("unlogged", true)
	}
	if latest || e.Row != nil {
		v.wholeRow("row", e.Row)
	}
	if latest || e.Values != nil {
		v.values("values", e.Values)
	}
	o.dst = v.close()
}

var (
	divergenceFields = newFieldSet("kind!", "id!", "verdict!", "entity!", "key!", "opened_at!", "age!", "authority!", "follower!",
		"fields!", "closed_by!", "rules!", "stage!", "sequence!", "since!", "at!", "closed_at!", "side!", "cause", "authority_absent",
		"rollout_epoch", "handed_over", "field_rules")
	fieldRuleFields = newFieldSet("field!", "rules!", "applied")
	evidenceFields  = newFieldSet("pos!", "txn", "tag", "side!", "source!", "epoch!", "ordinal!", "op!", "commit_ts!", "place", "unlogged", "row", "values")
)

// ParseDivergenceJSON reads what AppendDivergenceJSON writes, as strictly as
// ParseJSONLine. It does not keep the line.
func ParseDivergenceJSON(line []byte) (*Divergence, error) {
	e, err := parseEventOf("divergence", line)
	return e.Divergence, err
}

func (r *jsonReader) divergence() *Divergence {
	d := new(Divergence)
	var age string
	fields := fieldCursor{set: divergenceFields}
	for r.field(&fields) {
		switch fields.name {
		case "kind":
			r.word()
		case "id":
			d.ID = r.text()
		case "verdict":
			d.Verdict = Kind(r.word())
		case "entity":
			d.Entity = r.text()
		case "key":
			d.Key = r.texts()
		case "opened_at":
			d.OpenedAt = r.time()
		case "age":
			age = r.word()
		case "authority":
			d.Authority = r.evidence()
		case "follower":
			d.Follower = r.evidence()
		case "fields":
			d.Fields = r.texts()
		case "closed_by":
			d.ClosedBy = r.evidence()
		case "rules":
			d.Rules = r.text()
		case "stage":
			d.Stage = Stage(r.word())
		case "sequence":
			d.Sequence = r.uint32()
		case "since":
			d.Since = r.time()
		case "at":
			d.At = r.time()
		case "closed_at":
			if !r.isNull() {
				d.ClosedAt = r.time()
			}
		case "side":
			d.Side = r.side()
		case "cause":
			d.Cause = r.evidence()
		case "authority_absent":
			d.AuthorityAbsent = r.bool()
		case "rollout_epoch":
			d.RolloutEpoch = uint64(r.integer(1, math.MaxInt64))
		case "handed_over":
			d.HandedOver = r.bool()
		case "field_rules":
			r.objects(func() { d.FieldRules = append(d.FieldRules, r.fieldRule()) })
		}
	}
	if r.problem == nil && age != d.age() {
		r.fail(`want %q, which is "at" less "since", got %q`, d.age(), age)
		r.within("age")
	}
	return d
}

func (r *jsonReader) fieldRule() (rule FieldRule) {
	fields := fieldCursor{set: fieldRuleFields}
	for r.field(&fields) {
		switch fields.name {
		case "field":
			rule.Field = r.text()
		case "rules":
			rule.Rules = r.texts()
		case "applied":
			rule.Applied = r.texts()
		}
	}
	return rule
}

func (r *jsonReader) evidence() *Evidence {
	if r.isNull() {
		return nil
	}
	e := new(Evidence)
	fields := fieldCursor{set: evidenceFields}
	for r.field(&fields) {
		switch fields.name {
		case "pos":
			e.Pos = r.text()
		case "txn":
			if !r.isNull() {
				e.Txn = r.text()
			}
		case "tag":
			if !r.isNull() {
				e.Tag = r.tag()
			}
		case "side":
			e.Side = r.side()
		case "source":
			e.Source = r.text()
		case "epoch":
			e.Epoch = r.uint32()
		case "ordinal":
			e.Ordinal = r.uint32()
		case "op":
			e.Op = r.op()
		case "commit_ts":
			e.CommitTS = r.time()
		case "place":
			place := r.rowPlace()
			e.Place = &place
		case "unlogged":
			e.Unlogged = r.bool()
		case "row":
			e.Row = r.nullableRow()
		case "values":
			e.Values = r.values()
		}
	}
	return e
}
