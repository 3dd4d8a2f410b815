package schemas

import "math"

// AppendCompensationJSON appends c as one line of JSON, without a line feed.
// The same compensation always gives the same bytes. Of its rows "expect" is
// null where the row must be absent, "set" for a delete.
func AppendCompensationJSON(dst []byte, c *Compensation) []byte {
	o := openObject(dst)
	o.text("kind", "compensation")
	o.text("id", c.ID)
	o.text("divergence_id", c.DivergenceID)
	o.number("sequence", int64(c.Sequence))
	o.said("undoes", c.Undoes)
	o.text("entity", c.Entity)
	o.texts("key", c.Key)
	o.text("side", c.Side.String())
	o.text("policy", c.Policy)
	o.said("rule", c.Rule)
	o.text("mode", c.Mode)
	o.text("statement", string(c.Statement))
	o.text("schema", c.Schema)
	o.text("table", c.Table)
	o.wholeRow("key_columns", c.KeyColumns)
	o.wholeRow("expect", c.Expect)
	o.wholeRow("set", c.Set)
	if c.Add != nil {
		o.wholeRow("add", c.Add)
	}
	o.field("derived_of")
	derived := openObject(o.dst)
	derived.eventID(&c.DerivedOf)
	o.dst = derived.close()
	o.list("sources", len(c.Sources), func(each *jsonObject, i int) {
		each.text("field", c.Sources[i].Field)
		each.eventID(&c.Sources[i].EventID)
	})
	o.text("rules", c.Rules)
	if c.RolloutEpoch != 0 {
		o.text("authority", c.Authority.String())
		o.number("rollout_epoch", int64(c.RolloutEpoch))
	}
	o.time("created_at", c.CreatedAt)
	o.saidTime("expires_at", c.ExpiresAt)
	o.list("rows", len(c.Rows), func(each *jsonObject, i int) { each.rowPlace(&c.Rows[i]) })
	o.said("signature", c.Signature)
	return o.close()
}

func (o *jsonObject) eventID(id *EventID) {
	o.place(id.Source, id.Epoch, id.Pos)
	o.number("ordinal", int64(id.Ordinal))
}

func (o *jsonObject) rowPlace(p *RowPlace) {
	o.text("side", p.Side.String())
	o.number("partition", int64(p.Partition))
	o.number("offset", p.Offset)
}

// list writes a list of objects unless it is empty.
func (o *jsonObject) list(name string, n int, write func(each *jsonObject, i int)) {
	if n == 0 {
		return
	}
	o.field(name)
	for i := range n {
		if i == 0 {
			o.dst = append(o.dst, '[')
		} else {
			o.dst = append(o.dst, ',')
		}
		each := openObject(o.dst)
		write(&each, i)
		o.dst = each.close()
	}
	o.dst = append(o.dst, ']')
}

var (
	compensationFields = newFieldSet("kind!", "id!", "divergence_id!", "sequence!", "entity!", "key!", "side!", "policy!", "mode!",
		"statement!", "schema!", "table!", "key_columns!", "expect!", "set!", "add", "derived_of!", "sources", "rules!", "created_at!",
		"undoes", "rule", "expires_at", "rows", "authority", "rollout_epoch", "signature")
	eventIDFields     = newFieldSet("source!", "epoch!", "pos!", "ordinal!")
	fieldSourceFields = newFieldSet("field!", "source!", "epoch!", "pos!", "ordinal!")
	rowPlaceFields    = newFieldSet("side!", "partition!", "offset!")
)

// ParseCompensationJSON reads what AppendCompensationJSON writes, as strictly
// as ParseJSONLine. It does not keep the line.
func ParseCompensationJSON(line []byte) (*Compensation, error) {
	e, err := parseEventOf("compensation", line)
	return e.Compensation, err
}

func (r *jsonReader) compensation() *Compensation {
	c := new(Compensation)
	fields := fieldCursor{set: compensationFields}
	for r.field(&fields) {
		switch fields.name {
		case "kind":
			r.word()
		case "id":
			c.ID = r.text()
		case "authority":
			c.Authority = r.side()
		case "rollout_epoch":
			c.RolloutEpoch = uint64(r.integer(1, math.MaxInt64))
		case "divergence_id":
			c.DivergenceID = r.text()
		case "sequence":
			c.Sequence = r.uint32()
		case "entity":
			c.Entity = r.text()
		case "key":
			c.Key = r.texts()
		case "side":
			c.Side = r.side()
		case "policy":
			c.Policy = r.text()
		case "mode":
			c.Mode = r.word()
		case "statement":
			c.Statement = Statement(r.word())
		case "schema":
			c.Schema = r.text()
		case "table":
			c.Table = r.text()
		case "key_columns":
			c.KeyColumns = r.nullableRow()
		case "expect":
			c.Expect = r.nullableRow()
		case "set":
			c.Set = r.nullableRow()
		case "add":
			c.Add = r.nullableRow()
		case "derived_of":
			c.DerivedOf = r.eventID()
		case "sources":
			r.objects(func() { c.Sources = append(c.Sources, r.fieldSource()) })
		case "undoes":
			c.Undoes = r.text()
		case "rule":
			c.Rule = r.text()
		case "expires_at":
			c.ExpiresAt = r.time()
		case "rows":
			r.objects(func() { c.Rows = append(c.Rows, r.rowPlace()) })
		case "signature":
			c.Signature = r.text()
		case "rules":
			c.Rules = r.text()
		case "created_at":
			c.CreatedAt = r.time()
		}
	}
	return c
}

func (r *jsonReader) eventID() EventID { return r.fieldSourceOf(eventIDFields).EventID }

func (r *jsonReader) fieldSource() FieldSource { return r.fieldSourceOf(fieldSourceFields) }

func (r *jsonReader) fieldSourceOf(set *fieldSet) FieldSource {
	var s FieldSource
	fields := fieldCursor{set: set}
	for r.field(&fields) {
		switch fields.name {
		case "field":
			s.Field = r.text()
		case "source":
			s.Source = r.text()
		case "epoch":
			s.Epoch = r.uint32()
		case "pos":
			s.Pos = r.text()
		case "ordinal":
			s.Ordinal = r.uint32()
		}
	}
	return s
}

func (r *jsonReader) rowPlace() RowPlace {
	var p RowPlace
	fields := fieldCursor{set: rowPlaceFields}
	for r.field(&fields) {
		switch fields.name {
		case "side":
			p.Side = r.side()
		case "partition":
			p.Partition = int32(r.integer(0, math.MaxInt32))
		case "offset":
			p.Offset = r.integer(0, math.MaxInt64)
		}
	}
	return p
}

// objects reads a list, each of whose items read takes.
func (r *jsonReader) objects(read func()) {
	if !r.expect('[') {
		return
	}
	if r.peek() == ']' {
		r.at++
		return
	}
	for r.problem == nil {
		read()
		if r.problem == nil && r.peek() == ',' {
			r.at++
			continue
		}
		r.expect(']')
		return
	}
}
