package schemas

// AppendDecisionJSON appends d as one line of JSON, without a line feed.
func AppendDecisionJSON(dst []byte, d *Decision) []byte {
	o := openObject(dst)
	o.text("kind", "decision")
	o.text("action", string(d.Action))
	o.said("compensation_id", d.CompensationID)
	o.said("scope", d.Scope)
	o.text("by", d.By)
	o.text("why", d.Why)
	o.time("at", d.At)
	o.said("signature", d.Signature)
	return o.close()
}

var decisionFields = newFieldSet("kind!", "action!", "compensation_id", "scope", "by!", "why", "at!", "signature")

// ParseDecisionJSON reads what AppendDecisionJSON writes, as strictly as
// ParseJSONLine. It does not keep the line.
func ParseDecisionJSON(line []byte) (*Decision, error) {
	e, err := parseEventOf("decision", line)
	return e.Decision, err
}

func (r *jsonReader) decision() *Decision {
	d := new(Decision)
	fields := fieldCursor{set: decisionFields}
	for r.field(&fields) {
		switch fields.name {
		case "kind":
			r.word()
		case "action":
			d.Action = Action(r.word())
		case "compensation_id":
			d.CompensationID = r.text()
		case "scope":
			d.Scope = r.text()
		case "by":
			d.By = r.text()
		case "why":
			d.Why = r.text()
		case "at":
			d.At = r.time()
		case "signature":
			d.Signature = r.text()
		}
	}
	return d
}
