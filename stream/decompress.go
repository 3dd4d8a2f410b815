package stream

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// decompressor undoes a batch's compression and stops at maxDecompressBytes. The
// client's own, which it bounds for its consumers, cannot be had for a single fetch.
// It is for one goroutine. The zero value is ready.
type decompressor struct {
	max  int // 0: maxDecompressBytes
	lz4  *lz4.Reader
	zstd *zstd.Decoder
}

func (d *decompressor) bound() int {
	if d.max == 0 {
		return maxDecompressBytes
	}
	return d.max
}

func (d *decompressor) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}

// Decompress implements kgo.Decompressor.
func (d *decompressor) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	switch codec {
	case kgo.CodecNone:
		return src, nil
	case kgo.CodecGzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, err
		}
		return readBounded(r, len(src), d.bound())
	case kgo.CodecSnappy:
		return decodeSnappy(src, d.bound())
	case kgo.CodecLz4:
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(nil)
		}
		d.lz4.Reset(bytes.NewReader(src))
		return readBounded(d.lz4, len(src), d.bound())
	case kgo.CodecZstd:
		return d.unzstd(src)
	default:
		return nil, fmt.Errorf("compression codec %d is not known", codec)
	}
}

func (d *decompressor) unzstd(src []byte) (b []byte, err error) {
	if d.zstd == nil {
		// Memory and window are bounded, and nothing runs beside the caller.
		d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(d.bound())), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
	}
	b, err = d.zstd.DecodeAll(src, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = kgo.ErrMaxDecompress
	}
	return b, err
}

// readBounded reads all of r, which was compressed to n bytes, up to bound. The result is kept by
// the records that are read from it, so it is never used again.
func readBounded(r io.Reader, n, bound int) ([]byte, error) {
	out := bytes.NewBuffer(make([]byte, 0, min(4*n, bound)+bytes.MinRead))
	if _, err := out.ReadFrom(io.LimitReader(r, int64(bound)+1)); err != nil {
		return nil, err
	}
	if out.Len() > bound {
		return nil, kgo.ErrMaxDecompress
	}
	return out.Bytes(), nil
}

// xerial is the framing that Java clients put around snappy blocks: a header of 16
// bytes, then blocks, each after its length.
var xerial = []byte{130, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

func decodeSnappy(src []byte, bound int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerial) || len(src) < 16 {
		return appendSnappy(nil, src, bound)
	}
	var out []byte
	for src = src[16:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(binary.BigEndian.Uint32(src))
		if n < 0 || n > len(src)-4 {
			return nil, io.ErrUnexpectedEOF
		}
		var err error
		if out, err = appendSnappy(out, src[4:4+n], bound); err != nil {
			return nil, err
		}
		src = src[4+n:]
	}
	return out, nil
}

func appendSnappy(out, block []byte, bound int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if len(out)+n > bound {
		return nil, kgo.ErrMaxDecompress
	}
	b, err := snappy.Decode(nil, block)
	if len(out) == 0 { // the only block of nearly all batches
		return b, err
	}
	return append(out, b...), err
}
