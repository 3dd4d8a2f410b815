package schemas

// AppendOutcomeJSON appends o as one line of JSON, without a line feed.
func AppendOutcomeJSON(dst []byte, o *Outcome) []byte {
	w := openObject(dst)
	w.text("kind", "outcome")
	w.text("compensation_id", o.CompensationID)
	w.text("divergence_id", o.DivergenceID)
	w.text("entity", o.Entity)
	w.texts("key", o.Key)
	w.text("result", string(o.Result))
	w.text("detail", o.Detail)
	w.text("by", o.By)
	w.time("at", o.At)
	return w.close()
}

var outcomeFields = newFieldSet("kind!", "compensation_id!", "divergence_id!", "entity!", "key!", "result!", "detail", "by", "at!")

// ParseOutcomeJSON reads what AppendOutcomeJSON writes, as strictly as
// ParseJSONLine. It does not keep the line.
func ParseOutcomeJSON(line []byte) (*Outcome, error) {
	e, err := parseEventOf("outcome", line)
	return e.Outcome, err
}

func (r *jsonReader) outcome() *Outcome {
	o := new(Outcome)
	fields := fieldCursor{set: outcomeFields}
	for r.field(&fields) {
		switch fields.name {
		case "kind":
			r.word()
		case "compensation_id":
			o.CompensationID = r.text()
		case "divergence_id":
			o.DivergenceID = r.text()
		case "entity":
			o.Entity = r.text()
		case "key":
			o.Key = r.texts()
		case "result":
			o.Result = Result(r.word())
		case "detail":
			o.Detail = r.text()
		case "by":
			o.By = r.text()
		case "at":
			o.At = r.time()
		}
	}
	return o
}
