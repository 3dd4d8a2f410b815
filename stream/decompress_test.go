package stream

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

func openLog(testing.TB) *slog.Logger { return slog.New(slog.DiscardHandler) }

// compressions are those that any producer may use.
var compressions = map[kgo.CompressionCodecType]func(testing.TB, []byte) []byte{
	kgo.CodecNone: func(_ testing.TB, b []byte) []byte { return b },
	kgo.CodecGzip: func(t testing.TB, b []byte) []byte {
		return through(t, b, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	},
	kgo.CodecSnappy: func(_ testing.TB, b []byte) []byte { return snappy.Encode(nil, b) },
	kgo.CodecLz4: func(t testing.TB, b []byte) []byte {
		return through(t, b, func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) })
	},
	kgo.CodecZstd: func(t testing.TB, b []byte) []byte {
		return through(t, b, func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			return z
		})
	},
}

func through(t testing.TB, b []byte, open func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var out bytes.Buffer
	w := open(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Bad input 20, "record batch decompressing to 2 GiB: surfaced; bounded", for every
// codec, and everything up to the bound comes back.
func TestI20_Decompress(t *testing.T) {
	random := make([]byte, 100_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.IntN(40))
	}
	const bound = 8 << 20 // zstd's usual window
	bomb := make([]byte, bound+1)
	for codec, compress := range compressions {
		d := decompressor{max: bound}
		for _, want := range [][]byte{{}, []byte("x"), random, bomb[:bound]} {
			got, err := d.Decompress(compress(t, want), codec)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("codec %d, %d bytes: got %d bytes, %v", codec, len(want), len(got), err)
			}
		}
		if codec == kgo.CodecNone {
			continue
		}
		if _, err := d.Decompress(compress(t, bomb), codec); !errors.Is(err, kgo.ErrMaxDecompress) {
			t.Errorf("codec %d: a bomb gives %v", codec, err)
		}
		if _, err := d.Decompress([]byte("this is not compressed"), codec); err == nil {
			t.Errorf("codec %d takes anything", codec)
		}
		d.close()
	}
	var d decompressor
	if _, err := d.Decompress(nil, 9); err == nil {
		t.Error("codec 9 is known")
	}
}

// Java clients frame snappy; so does librdkafka.
func TestDecompress_FramedSnappy(t *testing.T) {
	framed := append(bytes.Clone(xerial), 0, 0, 0, 1, 0, 0, 0, 1)
	for _, block := range []string{"hello, ", "", "world"} {
		b := snappy.Encode(nil, []byte(block))
		framed = append(binary.BigEndian.AppendUint32(framed, uint32(len(b))), b...)
	}
	if got, err := decodeSnappy(framed, maxDecompressBytes); err != nil || string(got) != "hello, world" {
		t.Fatalf("got %q, %v", got, err)
	}
	for cut := 17; cut < len(framed); cut++ {
		if got, err := decodeSnappy(framed[:cut], maxDecompressBytes); err == nil && string(got) == "hello, world" {
			t.Fatalf("%d bytes of %d are enough", cut, len(framed))
		}
	}
}

// What clients with other codecs wrote can be read.
func TestRead_EveryCodec(t *testing.T) {
	l := openEmbedded(t, t.TempDir())
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		c, err := kgo.NewClient(kgo.SeedBrokers(l.Brokers()...), kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		value := bytes.Repeat([]byte("compressible "), 1000)
		if err := c.ProduceSync(soon(t), &kgo.Record{Topic: l.Topics().Changes, Value: value}, &kgo.Record{Topic: l.Topics().Changes, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	got := values(t, l, l.Topics().Changes, 0)
	if len(got) != 10 {
		t.Fatalf("%d records", len(got))
	}
	for _, v := range got {
		if len(v) != 13_000 {
			t.Fatalf("a value of %d bytes", len(v))
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for codec, compress := range compressions {
		f.Add(compress(f, []byte("a batch of records")), int8(codec))
	}
	f.Add(append(bytes.Clone(xerial), 0, 0, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff), int8(kgo.CodecSnappy))
	var d decompressor
	f.Fuzz(func(t *testing.T, src []byte, codec int8) {
		out, err := d.Decompress(src, kgo.CompressionCodecType(codec))
		if err == nil && codec != 0 && len(out) > maxDecompressBytes {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
