package state

import (
	"fmt"
	"testing"

	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
)

// "When it settles: one record of at most 48 bytes (digest, position,
// presence)": in a real directory, of keys that were written on both sides in
// small transactions, far into a log.
func TestSettledKeysTakeAtMost48Bytes(t *testing.T) {
	const settled, open = 20_000, 2_000
	rules := sizeRules(t)
	cfg := Config{Dir: t.TempDir(), Identity: Identity{Migration: "orders", Partitions: 1}}
	db, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := db.Partition(0)
	core, err := reconcile.NewCore(reconcile.Config{Rules: rules}, p)
	if err != nil {
		t.Fatal(err)
	}
	e := rules.Entities()[0]
	var out reconcile.Effects
	offset := int64(20_000_000_000)
	take := func(r schemas.Record) {
		if err := core.Step(offset, &r, &out); err != nil {
			t.Fatal(err)
		}
		offset++
	}
	now := schemas.Micros(1_790_000_000_000_000)
	pos := func(n int) string { return fmt.Sprintf("%016X", 0x1A4_C5A0_0000+n*160) }
	write := func(from, to int, sides ...schemas.Side) {
		for _, s := range sides {
			for n := from; n < to; n++ {
				row := schemas.Row{{Name: "id", Text: fmt.Sprint(1_000_000_000 + n)}, {Name: "v", Text: fmt.Sprint("value ", n)}}
				take(schemas.Record{Change: &schemas.Change{EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: pos(n / 50), Ordinal: uint32(n % 50)},
					Side: s, Entity: "order", Key: []string{row[0].Text}, Op: schemas.OpInsert, CommitTS: now, After: row,
					Digest: e.Image(s, row).Digest, Mapping: rules.Version}})
			}
		}
		for range 2 {
			now += 10_000_000
			for _, s := range schemas.Sides {
				take(schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: pos((to - 1) / 50), TS: now}})
			}
		}
		if err := core.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	disk := func() int64 {
		if err := db.db.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := db.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
			t.Fatal(err)
		}
		m := db.db.Metrics()
		total := m.Total()
		return total.TablesSize
	}
	take(schemas.Record{Control: &schemas.Control{Baseline: schemas.BaselineEmpty}})
	write(0, settled, schemas.Legacy, schemas.Target)
	small := disk()
	write(settled, settled+open, schemas.Legacy)
	if n := core.Totals(); n.Equal != settled || n.Diverged != open {
		t.Fatalf("%+v: want %d equal and %d diverged", n, settled, open)
	}
	var records, bytes, most, openRecords, openBytes int
	err = p.Scan([]byte{'k'}, []byte{'k' + 1}, func(_, value []byte) error {
		if len(value) > 0 && value[0]&3 == 2 {
			openRecords, openBytes = openRecords+1, openBytes+len(value)
			return nil
		}
		records, bytes, most = records+1, bytes+len(value), max(most, len(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a settled key: %d bytes at most, %.1f on average, %.1f on disk with its key; one that has diverged: %.1f",
		most, float64(bytes)/float64(records), float64(small)/settled, float64(openBytes)/float64(openRecords))
	if records != settled || openRecords != open {
		t.Errorf("%d settled records and %d open ones", records, openRecords)
	}
	if most > 48 {
		t.Errorf("a settled key takes %d bytes", most)
	}
	if perKey := float64(small) / settled; perKey > 64 {
		t.Errorf("a settled key takes %.1f bytes on disk, its key included", perKey)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func sizeRules(t *testing.T) *schemas.Rules {
	m, err := schemas.ParseMigration([]byte(`
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
entities:
  - name: order
    key: [id]
    fields: {id: {type: integer}, v: {type: text}}
    settleWindow: 1s
`), "t.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}
