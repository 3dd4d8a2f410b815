package capture

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// A record that waits for its acknowledgement never changes, whatever is encoded
// after it and however large it is.
func TestKeptRecordsNeverChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c chunks
		var kept, want [][]byte
		for i := range rapid.IntRange(1, 300).Draw(t, "records") {
			size := rapid.OneOf(rapid.IntRange(0, 600), rapid.IntRange(0, chunkBytes)).Draw(t, "size")
			b := bytes.Repeat([]byte{byte(i)}, size)
			kept = append(kept, c.keep(func(dst []byte) []byte { return append(dst, b...) }))
			want = append(want, b)
		}
		for i := range kept {
			if !bytes.Equal(kept[i], want[i]) {
				t.Fatalf("record %d of %d bytes is another one now", i, len(want[i]))
			}
			_ = append(kept[i], 0xff) // of whoever does what he may not
		}
		for i := range kept {
			if !bytes.Equal(kept[i], want[i]) {
				t.Fatalf("record %d was overwritten by an append to the one before it", i)
			}
		}
	})
}
