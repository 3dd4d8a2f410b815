package state

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A partition that tracks its keys finds what one that does not finds: through commits, what is forgotten
// before one, restarts, and more keys than there is room for.
func TestTrackedPartitionFindsWhatThereIs(t *testing.T) {
	for name, room := range map[string]int{"room for all": filterBytes, "room for some": trackedStep * trackedBytes, "room for none": 0} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			open := func() *DB {
				db, err := Open(Config{Dir: "s", FS: fs, Identity: Identity{Migration: "orders", Partitions: 2}})
				if err != nil {
					t.Fatal(err)
				}
				db.filters = newFilters(room)
				return db
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			r := rand.New(rand.NewPCG(1, 2))
			db := open()
			p := db.Partition(1)
			must(p.Track())
			committed, now := map[string]string{}, map[string]string{}
			back := func() {
				clear(now)
				for k, v := range committed {
					now[k] = v
				}
			}
			for i := range 60_000 {
				key := fmt.Sprint(r.IntN(3 * trackedStep))
				switch n := r.IntN(1000); {
				case n < 500:
					now[key] = fmt.Sprint(i)
					must(p.Set([]byte(key), []byte(now[key])))
				case n < 700:
					delete(now, key)
					must(p.Delete([]byte(key)))
				case n < 996:
					v, ok, err := p.Get([]byte(key))
					must(err)
					if want, there := now[key]; ok != there || string(v) != want {
						t.Fatalf("step %d: %s is %q, %v; want %q, %v (tracked %v)", i, key, v, ok, want, there, p.tracked != nil)
					}
				case n < 998:
					must(p.CommitLater())
					clear(committed)
					for k, v := range now {
						committed[k] = v
					}
				case n < 999:
					p.Discard()
					must(p.Track())
					back()
				default:
					must(p.Wait())
					must(db.Close())
					db = open()
					p = db.Partition(1)
					must(p.Track())
					back()
				}
			}
			if room == filterBytes && p.tracked == nil {
				t.Error("nothing is tracked")
			}
			must(p.Wait())
			must(db.Close())
		})
	}
}

// What was deleted is not looked for in tables.
func TestTrackedKeyThatIsGoneIsNotLookedFor(t *testing.T) {
	db, err := Open(Config{Dir: "s", FS: vfs.NewMem(), Identity: Identity{Migration: "orders", Partitions: 2}})
	if err != nil {
		t.Fatal(err)
	}
	p := db.Partition(1)
	if err := p.Track(); err != nil {
		t.Fatal(err)
	}
	key := []byte("k")
	for _, step := range []func() error{func() error { return p.Set(key, key) }, p.Commit, func() error { return p.Delete(key) }, p.Commit} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if p.mayHave(key) {
		t.Error("a key that was deleted may have a value")
	}
	if left := db.filters.left; left != filterBytes-trackedStep*trackedBytes {
		t.Errorf("room for filters: %d", left)
	}
	p.Discard()
	if left := db.filters.left; left != filterBytes {
		t.Errorf("room for filters after everything was forgotten: %d", left)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
