package stream

import (
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/twmb/franz-go/pkg/kgo"
)

// pool is the memory that a group reads batches into: what of it the handler is
// done with is used for the next ones, so that reading leaves hardly any garbage.
// It implements kgo.PoolDecompressBytes and kgo.PoolRecords.
type pool struct {
	mu      sync.Mutex
	bytes   [][]byte       // each zeroed, the newest last
	records [][]kgo.Record // likewise
	held    int            // bytes, in both
}

// maxPooled bounds what is kept for later, in bytes: what of a batch is given back at
// once. More is left to the collector.
const maxPooled = 24 << 20

// recordBytes is about what a client's record takes.
const recordBytes = 200

// GetDecompressBytes implements kgo.PoolDecompressBytes. Of a codec that does not say
// how long the result is, the newest will do: it is grown if it has to be.
func (p *pool) GetDecompressBytes(compressed []byte, codec kgo.CompressionCodecType) []byte {
	n := 0
	if codec == kgo.CodecSnappy {
		if n, _ = snappy.DecodedLen(compressed); n < 0 || n > maxDecompressBytes {
			n = 0 // the decompressor says what is wrong with it
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := takeFitting(&p.bytes, n)
	p.held -= cap(b)
	return b
}

// PutDecompressBytes implements kgo.PoolDecompressBytes.
func (p *pool) PutDecompressBytes(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held+cap(b) <= maxPooled {
		p.bytes, p.held = append(p.bytes, b), p.held+cap(b)
	}
}

// GetRecords implements kgo.PoolRecords.
func (p *pool) GetRecords(n int) []kgo.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := takeFitting(&p.records, n)
	p.held -= cap(r) * recordBytes
	return r
}

// PutRecords implements kgo.PoolRecords.
func (p *pool) PutRecords(r []kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held+cap(r)*recordBytes <= maxPooled {
		p.records, p.held = append(p.records, r), p.held+cap(r)*recordBytes
	}
}

// takeFitting takes the newest that has room for n; nil where none has.
func takeFitting[T any](from *[][]T, n int) []T {
	all := *from
	for i := len(all) - 1; i >= 0; i-- {
		if cap(all[i]) < n {
			continue
		}
		found, last := all[i], len(all)-1
		all[i], all[last] = all[last], nil
		*from = all[:last]
		return found[:0]
	}
	return nil
}
