package state

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// "What was is never missing, and of what was not some two in a hundred seem to
// be": up to where there is no more room.
func TestWrittenNeverMissesAKey(t *testing.T) {
	w := newWritten(newFilters(filterBytesPassing).of(0))
	key := func(n int) []byte { return fmt.Appendf(nil, "korder\x00%d", n) }
	n := 0
	for ; w.add(key(n)); n++ {
	}
	if n < 4_000_000 {
		t.Errorf("there was room for %d keys", n)
	}
	for i := range n {
		if !w.has(key(i)) {
			t.Fatalf("key %d of %d is missing", i, n)
		}
	}
	const others = 100_000
	wrong := 0
	for i := range others {
		if w.has(key(n + 1 + i)) {
			wrong++
		}
	}
	if wrong > others/20 {
		t.Errorf("%d of %d keys seem to have been written", wrong, others)
	}
}

// Partitions share what filters may take, and who has no use for his part any more
// leaves it to the others.
func TestFiltersShareTheirMemory(t *testing.T) {
	all := newFilters(3 * firstWritten / lineKeys * lineBytes)
	grown := func(n int32) *written {
		w := newWritten(all.of(n))
		if w == nil {
			t.Fatalf("nothing is left for partition %d", n)
		}
		return w
	}
	w := grown(0)
	grown(1)
	if newWritten(all.of(2)) != nil {
		t.Error("a third filter, of two that there is room for")
	}
	if w.grow() {
		t.Error("a filter takes more than there is")
	}
	w.room.giveBack()
	grown(2)
	grown(2) // anew, in place of what it had
	if all.left < 0 {
		t.Errorf("%d bytes are left", all.left)
	}
}

// What was written is found whether or not it is known that there was nothing
// before, in one transaction and after it, and so is what was deleted not.
func TestFreshPartitionFindsWhatWasWritten(t *testing.T) {
	db, err := Open(Config{Dir: "s", FS: vfs.NewMem(), Identity: Identity{Migration: "orders", Partitions: 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	p := db.Partition(1)
	set := func(key, value string) {
		t.Helper()
		if err := p.Set([]byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(key, want string) {
		t.Helper()
		if got, ok, err := p.Get([]byte(key)); err != nil || ok != (want != "") || string(got) != want {
			t.Errorf("%s is %q, %v, %v, want %q", key, got, ok, err, want)
		}
	}
	commit := func() {
		t.Helper()
		if err := p.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	set("before", "1")
	commit()
	if p.written == nil {
		t.Fatal("that there is nothing is not seen")
	}
	if err := p.Drop(); err != nil {
		t.Fatal(err)
	}
	check("before", "")
	set("a", "1")
	check("a", "1")
	commit()
	check("a", "1")
	set("a", "2")
	set("b", "1")
	commit()
	check("a", "2")
	check("b", "1")
	if err := p.Delete([]byte("a")); err != nil {
		t.Fatal(err)
	}
	commit()
	check("a", "")
	if p = db.Partition(1); p.written != nil {
		t.Fatal("that there is something is not seen")
	}
	check("b", "1")
	check("a", "")
}
