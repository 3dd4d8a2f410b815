package runner

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// What is found is what was added, whatever was added since; and the newest are found,
// as many as there is room for.
func TestRecentKeepsTheNewestAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r recent
		var added [][]byte
		most := rapid.SampledFrom([]int{300, 20_000, recentBytes / 3, recentBytes + 10}).Draw(t, "most")
		n := rapid.IntRange(1, 3*recentBytes/most+20).Draw(t, "changes")
		size := rapid.IntRange(1, most) // no change is written as nothing
		for i := range n {
			value := bytes.Repeat([]byte{byte(i)}, size.Draw(t, "size"))
			r.add(int64(i), value)
			added = append(added, bytes.Clone(value))
			if len(value) <= recentBytes {
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
			case len(added[i]) <= recentBytes:
				gone = true
			}
		}
		if gone && kept < recentBytes-2*min(most, recentBytes) || kept > recentBytes {
			t.Errorf("%d bytes are kept", kept)
		}
	})
}
