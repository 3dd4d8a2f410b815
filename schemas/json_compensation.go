package schemas

// AppendCompensationJSON appends c as one line of JSON, without a line feed.
// The same compensation always gives the same bytes. Of its rows "expect" is
// null where the row must be absent, "set" for a delete.
func AppendCompensationJSON(dst []byte, c *Compensation) []byte {
	o := openObject(dst)
	o.text("kind", "compensation")
	o.text("id", c.ID)
	o.text("divergence_id", c.DivergenceID)
	o.number("sequence", int64(c.Sequence))
	o.text("entity", c.Entity)
	o.texts("key", c.Key)
	o.text("side", c.Side.String())
	o.text("policy", c.Policy)
	o.text("mode", c.Mode)
	o.text("statement", string(c.Statement))
	o.text("schema", c.Schema)
	o.text("table", c.Table)
	o.wholeRow("key_columns", c.KeyColumns)
	o.wholeRow("expect", c.Expect)
	o.wholeRow("set", c.Set)
	o.field("derived_of")
	derived := openObject(o.dst)
	derived.place(c.DerivedOf.Source, c.DerivedOf.Epoch, c.DerivedOf.Pos)
	derived.number("ordinal", int64(c.DerivedOf.Ordinal))
	o.dst = derived.close()
	o.text("rules", c.Rules)
	o.time("created_at", c.CreatedAt)
	return o.close()
}

var (
	compensationFields = newFieldSet("kind!", "id!", "divergence_id!", "sequence!", "entity!", "key!", "side!", "policy!", "mode!",
		"statement!", "schema!", "table!", "key_columns!", "expect!", "set!", "derived_of!", "rules!", "created_at!")
	eventIDFields = newFieldSet("source!", "epoch!", "pos!", "ordinal!")
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
		case "derived_of":
			c.DerivedOf = r.eventID()
		case "rules":
			c.Rules = r.text()
		case "created_at":
			c.CreatedAt = r.time()
		}
	}
	return c
}

func (r *jsonReader) eventID() EventID {
	var id EventID
	fields := fieldCursor{set: eventIDFields}
	for r.field(&fields) {
		switch fields.name {
		case "source":
			id.Source = r.text()
		case "epoch":
			id.Epoch = r.uint32()
		case "pos":
			id.Pos = r.text()
		case "ordinal":
			id.Ordinal = r.uint32()
		}
	}
	return id
}
