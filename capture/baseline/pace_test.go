package baseline

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/trueup-io/trueup/schemas"
)

// "Baselines of both sides interleaved by key range so that little is in
// flight": the side that is ahead is never more than a chunk of its own beyond
// the other, however slow that is and however their chunks differ, and goes on
// alone once the other has no more rows.
func TestI20_TheSideAheadWaits(t *testing.T) {
	m, err := schemas.LoadMigration("../../examples/orders/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	e := rules.Entities()[0]
	const ahead, behind, keys = 1500, 400, 20_000
	synctest.Test(t, func(t *testing.T) {
		p := NewPace()
		// await is where a reader plans its next chunk: the one that begins after a key.
		await := func(side schemas.Side, after int64) {
			var key []string
			if after > 0 {
				key = []string{strconv.FormatInt(after, 10)}
			}
			if err := p.await(t.Context(), &Table{Entity: e}, side, key); err != nil {
				t.Error(err)
			}
		}
		await(schemas.Target, 0)
		var planned atomic.Int64 // by the side ahead
		go func() {
			for planned.Load() < keys {
				await(schemas.Legacy, planned.Load())
				planned.Add(ahead)
			}
		}()
		for at := int64(0); at < keys/2; at += behind {
			await(schemas.Target, at)
			synctest.Wait()
			if lead := planned.Load() - at; lead <= 0 || lead > ahead {
				t.Fatalf("with the other side at key %d it is %d keys ahead, of at most %d", at, lead, ahead)
			}
		}
		p.leave(e.Name, schemas.Target)
		synctest.Wait()
		if planned.Load() < keys {
			t.Errorf("alone it stops at key %d of %d", planned.Load(), keys)
		}
	})
}

// "Interleaved by key range", for keys of every kind that both stores have in the order
// of canonical keys: however their texts look in a store, the side that is behind goes on
// and the other waits.
func TestI20_KeysOfAnyKindAreInStep(t *testing.T) {
	m, err := schemas.ParseMigration([]byte(`apiVersion: trueup/v1
kind: Migration
metadata: {name: m}
entities:
  - name: line
    key: [tenant, id, n]
    fields: {tenant: {type: text}, id: {type: uuid}, n: {type: integer}}
`), "m.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	table := &Table{Entity: rules.Entities()[0]}
	legacy := func(tenant, id, n string) []string {
		return []string{tenant, "00000000-0000-0000-0000-0000000000" + id, n}
	}
	target := func(tenant, id, n string) []string {
		return []string{tenant, `\x000000000000000000000000000000` + strings.ToUpper(id), n}
	}
	for _, c := range []struct {
		behind, ahead []string // of legacy, of target
	}{
		{nil, target("", "00", "-1")},
		{legacy("a", "ff", "9"), target("b", "00", "1")},
		{legacy("Z", "ff", "9"), target("a", "00", "1")},
		{legacy("a", "0a", "9"), target("a", "b0", "1")},
		{legacy("a", "0a", "9"), target("a", "0a", "10")},
		{legacy("a", "0a", "-10"), target("a", "0a", "-9")},
		{legacy("a", "0a", "9"), target("a\x00", "00", "1")},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := NewPace()
			await := func(side schemas.Side, after []string) {
				if err := p.await(t.Context(), table, side, after); err != nil {
					t.Error(err)
				}
			}
			await(schemas.Legacy, c.behind) // the other side does not read yet
			var went atomic.Bool
			go func() {
				await(schemas.Target, c.ahead)
				went.Store(true)
			}()
			synctest.Wait()
			if went.Load() {
				t.Errorf("%q goes on, with the other side at %q", c.ahead, c.behind)
			}
			go await(schemas.Legacy, legacy("zz", "00", "0")) // which is ahead then, and waits
			synctest.Wait()
			if !went.Load() {
				t.Errorf("%q waits, with the other side beyond it", c.ahead)
			}
			p.leave(table.Entity.Name, schemas.Target)
		})
	}
}
