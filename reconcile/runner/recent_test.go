package runner

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/reconcile"
)

// What is found is what was added, whatever was added since; and the newest are found,
// as many as there is room for.
func TestRecentKeepsTheNewestAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := rapid.SampledFrom([]int{firstRecent, recentBytes}).Draw(t, "room")
		r := recent{most: room}
		var added [][]byte
		most := rapid.SampledFrom([]int{300, 20_000, room / 3, room + 10}).Draw(t, "most")
		n := rapid.IntRange(1, 3*room/most+20).Draw(t, "changes")
		size := rapid.IntRange(1, most) // no change is written as nothing
		for i := range n {
			value := bytes.Repeat([]byte{byte(i)}, size.Draw(t, "size"))
			r.add(int64(i), value)
			added = append(added, bytes.Clone(value))
			if len(value) <= room {
				r.add(int64(i), []byte("again")) // is not taken
			}
			clear(value)
		}
		kept, gone := 0, false
		for i := n - 1; i >= 0; i-- {
			got, ok := r.find(int64(i))
			switch {
			case ok && !bytes.Equal(got, added[i]):
				t.Fatalf("change %d of %d is another one", i, n)
			case ok && gone:
				t.Fatalf("change %d is kept, and newer ones are not", i)
			case ok:
				kept += len(got)
			case len(added[i]) <= room:
				gone = true
			}
		}
		if gone && kept < room-2*min(most, room) || kept > room {
			t.Errorf("%d bytes are kept", kept)
		}
	})
}

// "RSS at most 512 MB" (I20: memory is bounded), however many partitions share it: what each keeps becomes less
// as they become more, and never nothing.
func TestI20_ManyPartitionsShareTheMemoryOfOneProcess(t *testing.T) {
	for _, n := range []int{1, 4, 16, 100, 150} {
		if all := n * cachedOf(n); all > reconcile.DefaultMaxCached {
			t.Errorf("%d partitions keep %d keys decoded, %d is what a process has room for", n, all, reconcile.DefaultMaxCached)
		}
		if all := n * recentOf(n); all > allRecentBytes {
			t.Errorf("%d partitions keep %d bytes of their newest changes, %d is what a process has room for", n, all, allRecentBytes)
		}
	}
	if few := cachedOf(10_000); few != leastCached {
		t.Errorf("one of ten thousand partitions keeps %d keys decoded", few)
	}
	if recentOf(1) != recentBytes || recentOf(10_000) != firstRecent {
		t.Errorf("one partition keeps %d bytes, one of ten thousand %d", recentOf(1), recentOf(10_000))
	}
}
