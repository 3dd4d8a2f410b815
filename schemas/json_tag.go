package schemas

import (
	"cmp"
	"maps"
	"slices"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// tag writes what was said of a tag.
func (o *jsonObject) tag(name string, t *Tag) {
	o.field(name)
	said := openObject(o.dst)
	said.said("write_id", t.WriteID)
	said.said("traceparent", t.Traceparent)
	said.said("flag_epoch", t.FlagEpoch)
	said.said("compensation_id", t.CompensationID)
	said.said("service", t.Service)
	o.dst = said.close()
}

var tagFields = newFieldSet("write_id", "traceparent", "flag_epoch", "compensation_id", "service")

func (r *jsonReader) tag() Tag {
	var t Tag
	fields := fieldCursor{set: tagFields}
	for r.field(&fields) {
		switch fields.name {
		case "write_id":
			t.WriteID = r.text()
		case "traceparent":
			t.Traceparent = r.text()
		case "flag_epoch":
			t.FlagEpoch = r.text()
		case "compensation_id":
			t.CompensationID = r.text()
		case "service":
			t.Service = r.text()
		}
	}
	return t
}
