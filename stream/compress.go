package stream

import (
	"bytes"

	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// lz4Block is the size of the blocks of a batch's compressed frame. A match never
// reaches further back, so a larger one compresses hardly better; the client's own
// compressor takes 4 MB twice for each writer, as every reader of its frames has to.
const lz4Block = lz4.Block64Kb

// lz4Frames compresses batches into LZ4 frames. It keeps the writers that are idle,
// over collections too; it is for any goroutine.
type lz4Frames struct{ idle chan *lz4.Writer }

// maxIdleWriters is how many brokers are commonly written to at a time.
const maxIdleWriters = 2

func newLZ4Frames() *lz4Frames { return &lz4Frames{make(chan *lz4.Writer, maxIdleWriters)} }

// Compress implements kgo.Compressor.
func (c *lz4Frames) Compress(dst *bytes.Buffer, src []byte, _ ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	w, err := c.writer()
	if err != nil {
		return nil, kgo.CodecError // the batch goes as it is
	}
	w.Reset(dst)
	if _, err := w.Write(src); err != nil {
		return nil, kgo.CodecError
	}
	if err := w.Close(); err != nil {
		return nil, kgo.CodecError
	}
	select {
	case c.idle <- w:
	default:
	}
	return dst.Bytes(), kgo.CodecLz4
}

func (c *lz4Frames) writer() (*lz4.Writer, error) {
	select {
	case w := <-c.idle:
		return w, nil
	default:
	}
	w := lz4.NewWriter(nil)
	// A batch has a checksum of its own.
	return w, w.Apply(lz4.BlockSizeOption(lz4Block), lz4.ChecksumOption(false))
}
