package baseline

import (
	"strconv"
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
			if err := p.await(t.Context(), e, side, key); err != nil {
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
