package reconcile

import (
	"testing"

	"github.com/trueup-io/trueup/schemas"
)

// "a gap of one entity: the others of that side go on" (I8, Schema drift), and
// the state of format 1 is read as it is.
func TestI8_OtherEntitiesGoOn(t *testing.T) {
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
entities:
  - {name: order, key: [id], legacy: {table: public.orders}, target: {table: shop.orders}, fields: {id: {type: text}, v: {type: text}}, settleWindow: 1s}
  - {name: line, key: [id], legacy: {table: public.lines}, target: {table: shop.lines}, fields: {id: {type: text}, v: {type: text}}, settleWindow: 1s}
`), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	state := NewMemoryState()
	h := &history{t: t, rules: rules}
	if h.core, err = NewCore(Config{Rules: rules}, state); err != nil {
		t.Fatal(err)
	}
	h.baseline()
	both := func(entity, key string, v byte, at schemas.Micros) {
		for _, s := range schemas.Sides {
			h.pos[s]++
			c := h.make(s, key, v, at)
			c.Entity = entity
			h.step(schemas.Record{Change: c})
		}
	}
	pass := func(at schemas.Micros) {
		h.progress(schemas.Legacy, at)
		h.progress(schemas.Target, at)
		h.progress(schemas.Legacy, at)
		if n := h.core.Counters(); n.Unaccounted() != 0 {
			t.Fatalf("I21: the accounts do not add up: %+v", n)
		}
	}
	both("order", "1", 'a', epoch0)
	both("line", "1", 'a', epoch0)
	pass(epoch0 + 9e6)
	h.step(schemas.Record{Gap: &schemas.Gap{Side: schemas.Target, Entity: "order", Source: "target", Epoch: 1, Pos: positionText(h.pos[schemas.Target]), Reason: "dropped"}})
	pass(epoch0 + 19e6)
	if s := h.core.Totals(); s.Equal != 1 || s.Unknown[schemas.GapReason] != 1 {
		t.Errorf("after the gap: %+v; want line equal and order unknown", s)
	}
	both("order", "1", 'b', epoch0+20e6)
	both("line", "1", 'b', epoch0+20e6)
	h.step(schemas.Record{Gap: &schemas.Gap{Side: schemas.Target, Entity: "nobody", Source: "target", Epoch: 1, Pos: positionText(h.pos[schemas.Target]), Reason: "dropped"}})
	pass(epoch0 + 29e6)
	if s := h.core.Totals(); s.Equal != 2 || len(s.Unknown) != 0 {
		t.Errorf("after new versions: %+v; want both equal", s)
	}
	if n := h.core.Counters(); n.OutOfScope != 1 || n.Duplicate != 0 {
		t.Errorf("%+v; want the gap of an entity that is not in the rules out of scope", n)
	}
}

// A state of format 1, which knew nothing of entities, is gone on with.
func TestStateOfFormatOneIsRead(t *testing.T) {
	state := NewMemoryState()
	h := newHistory(t, "1s")
	core, err := NewCore(Config{Rules: h.rules}, state)
	if err != nil {
		t.Fatal(err)
	}
	h.core = core
	h.baseline()
	h.change(schemas.Legacy, "1", 'a', epoch0)
	h.change(schemas.Target, "1", 'a', epoch0)
	h.progress(schemas.Target, epoch0+9e6)
	if err := core.Flush(); err != nil {
		t.Fatal(err)
	}
	meta, _, _ := state.Get([]byte(PartitionRecord))
	old := append([]byte{1}, meta[1:len(meta)-2]...) // format 2 ends with one byte for each side of the one entity
	if err := state.Set([]byte(PartitionRecord), old); err != nil {
		t.Fatal(err)
	}
	h.reopen(state)
	h.progress(schemas.Legacy, epoch0+9e6)
	if s := h.core.Totals(); s.Equal != 1 {
		t.Errorf("%+v; want one key equal", s)
	}
	if err := state.Set([]byte(PartitionRecord), append([]byte{StateFormat + 1}, old[1:]...)); err != nil {
		t.Fatal(err)
	}
	if _, err := NewCore(Config{Rules: h.rules}, state); err == nil {
		t.Error("a format of a newer program was taken")
	}
}
