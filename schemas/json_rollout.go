package schemas

import "math"

func (o *jsonObject) rollout(r *RolloutControl) {
	o.field("rollout")
	said := openObject(o.dst)
	said.text("name", r.Name)
	said.number("revision", int64(r.Revision))
	said.number("epoch", int64(r.Epoch))
	said.text("stage", r.Stage.String())
	if r.Stage == StageRamp {
		said.text("ramp", r.Ramp.String())
	}
	said.said("salt", r.Salt)
	if len(r.Pins) > 0 {
		said.list("pins", len(r.Pins), func(each *jsonObject, i int) {
			each.text("side", r.Pins[i].Side.String())
			each.texts("key", r.Pins[i].Key)
		})
	}
	said.saidTime("fence", r.Fence)
	o.dst = said.close()
}

var (
	rolloutFields = newFieldSet("name!", "revision!", "epoch!", "stage!", "ramp", "salt", "pins", "fence")
	pinFields     = newFieldSet("side!", "key!")
)

func (r *jsonReader) rollout() *RolloutControl {
	out := &RolloutControl{}
	fields := fieldCursor{set: rolloutFields}
	for r.field(&fields) {
		switch fields.name {
		case "name":
			out.Name = r.word()
		case "revision":
			out.Revision = uint64(r.integer(1, math.MaxInt64))
		case "epoch":
			out.Epoch = uint64(r.integer(1, math.MaxInt64))
		case "stage":
			out.Stage = parsed(r, ParseRolloutStage)
		case "ramp":
			out.Ramp = parsed(r, ParseRampShare)
		case "salt":
			out.Salt = r.text()
		case "pins":
			for opened := false; r.step(&opened, "", '[', ']'); {
				out.Pins = append(out.Pins, r.pin())
			}
		case "fence":
			out.Fence = r.time()
		}
	}
	return out
}

func (r *jsonReader) pin() Pin {
	var p Pin
	for fields := (fieldCursor{set: pinFields}); r.field(&fields); {
		switch fields.name {
		case "side":
			p.Side = r.side()
		case "key":
			p.Key = r.texts()
		}
	}
	return p
}

// parsed reads a word as what it means.
func parsed[T any](r *jsonReader, parse func(string) (T, error)) T {
	text := r.word()
	if r.problem != nil {
		var none T
		return none
	}
	v, err := parse(text)
	if err != nil {
		r.fail("%s", err)
	}
	return v
}
