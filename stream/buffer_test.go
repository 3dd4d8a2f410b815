package stream

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// A record that waits for its acknowledgement never changes, whatever is appended
// after it, in whatever order acknowledgements come, and whatever the caller does with
// its own bytes.
func TestBufferedRecordsNeverChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type waits struct {
			e    *buffered
			want []byte
		}
		var b buffer
		var waiting []waits
		scratch := make([]byte, 2*chunkBytes)
		for i := range rapid.IntRange(1, 600).Draw(t, "steps") {
			if len(waiting) > 0 && rapid.Bool().Draw(t, "acknowledge") {
				n := rapid.IntRange(0, len(waiting)-1).Draw(t, "which")
				w := waiting[n]
				if got := append(bytes.Clone(w.e.record.Key), w.e.record.Value...); !bytes.Equal(got, w.want) {
					t.Fatalf("a record of %d bytes is another one now", len(w.want))
				}
				waiting = append(waiting[:n], waiting[n+1:]...)
				b.give(w.e)
				continue
			}
			size := rapid.OneOf(rapid.IntRange(0, 600), rapid.IntRange(0, chunkBytes)).Draw(t, "size")
			key := rapid.IntRange(0, size).Draw(t, "key")
			for j := range scratch[:size] {
				scratch[j] = byte(i)
			}
			e := b.take(&Record{Key: scratch[:key], Value: scratch[key:size]})
			waiting = append(waiting, waits{e, bytes.Clone(scratch[:size])})
			_, _ = append(e.record.Key, 0xff), append(e.record.Value, 0xff) // of whoever does what he may not
			clear(scratch)
		}
		for _, w := range waiting {
			if got := append(bytes.Clone(w.e.record.Key), w.e.record.Value...); !bytes.Equal(got, w.want) {
				t.Fatalf("a record of %d bytes is another one now", len(w.want))
			}
		}
	})
}

// Records that are acknowledged in order take no more memory than what waits at a time.
func TestI20_BufferIsUsedAgain(t *testing.T) {
	var b buffer
	var waiting []*buffered
	chunks, entries := map[*chunk]bool{}, map[*buffered]bool{}
	for range 100_000 {
		e := b.take(&Record{Key: []byte("k"), Value: make([]byte, 300)})
		chunks[e.chunk], entries[e] = true, true
		if waiting = append(waiting, e); len(waiting) == 1000 {
			b.give(waiting[0])
			waiting = waiting[1:]
		}
	}
	if len(chunks) > 1000*301/chunkBytes+3 || len(entries) > 1000+bufferedSlab {
		t.Fatalf("%d chunks and %d entries for a thousand records at a time", len(chunks), len(entries))
	}
}

// nil is a tombstone, an empty value is empty.
func TestBufferedTombstones(t *testing.T) {
	var b buffer
	if e := b.take(&Record{}); e.record.Key != nil || e.record.Value != nil {
		t.Error("nil became something")
	}
	if e := b.take(&Record{Key: []byte{}, Value: []byte{}}); e.record.Key == nil || e.record.Value == nil {
		t.Error("nothing became nil")
	}
}
