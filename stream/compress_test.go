package stream

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What is compressed here is what every reader of LZ4 frames reads: the client's own
// decompressor and ours; from any number of goroutines.
func TestLZ4Frames(t *testing.T) {
	c := newLZ4Frames()
	var all sync.WaitGroup
	for g := range uint64(4) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(g, 1))
			for _, size := range []int{0, 1, 300, 64 << 10, 64<<10 + 1, 3 << 20} {
				src := make([]byte, size)
				for i := range src {
					src[i] = byte(r.IntN(3))
				}
				var dst bytes.Buffer
				out, codec := c.Compress(&dst, src)
				if codec != kgo.CodecLz4 {
					t.Errorf("codec %d", codec)
					return
				}
				ours, err := new(decompressor).Decompress(out, codec)
				if err != nil || !bytes.Equal(ours, src) {
					t.Errorf("%d bytes: %d came back, %v", size, len(ours), err)
				}
				theirs, err := kgo.DefaultDecompressor().Decompress(out, codec)
				if err != nil || !bytes.Equal(theirs, src) {
					t.Errorf("%d bytes: the client reads %d, %v", size, len(theirs), err)
				}
			}
		})
	}
	all.Wait()
}
