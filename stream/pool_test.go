package stream

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The memory of batches is used again where it has the room, and is bounded.
func TestPoolIsBoundedAndFits(t *testing.T) {
	var p pool
	value := bytes.Repeat([]byte("a row "), 2000)
	packed := snappy.Encode(nil, value)
	small, fits := make([]byte, 100), make([]byte, len(value)+1)
	p.PutDecompressBytes(fits)
	p.PutDecompressBytes(small)
	got := p.GetDecompressBytes(packed, kgo.CodecSnappy)
	if cap(got) != cap(fits) || len(got) != 0 {
		t.Errorf("%d bytes of %d for a batch of %d", len(got), cap(got), len(value))
	}
	if got := p.GetDecompressBytes(packed, kgo.CodecSnappy); cap(got) >= len(value) {
		t.Error("the same memory is in use twice")
	}
	if got := p.GetDecompressBytes([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, kgo.CodecSnappy); cap(got) != cap(small) {
		t.Errorf("%d bytes for what is no batch", cap(got))
	}
	for range 2 * maxPooled / (1 << 20) {
		p.PutDecompressBytes(make([]byte, 1<<20))
		p.PutRecords(make([]kgo.Record, 1000))
	}
	sum := 0
	for _, b := range p.bytes {
		sum += cap(b)
	}
	for _, r := range p.records {
		sum += cap(r) * recordBytes
	}
	if sum != p.held || sum > maxPooled || sum < maxPooled*3/4 {
		t.Errorf("%d bytes are held, said to be %d, of at most %d", sum, p.held, maxPooled)
	}
	if n := cap(p.GetRecords(1000)); n < 1000 {
		t.Errorf("room for %d records", n)
	}
	if n := cap(p.GetRecords(100_000)); n != 0 {
		t.Errorf("room for %d records, want none for so many", n)
	}
}
