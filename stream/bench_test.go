package stream_test

import (
	"context"
	"testing"

	"github.com/trueup-io/trueup/stream"
)

// nothing is a handler with no state of its own; it counts.
type nothing struct {
	left int
	done context.CancelFunc
}

func (n *nothing) Assigned(context.Context, int32, stream.Position) (stream.Position, error) {
	return stream.Earliest, nil
}
func (n *nothing) Process(context.Context, *stream.Batch) error { return nil }
func (n *nothing) Committed(_ context.Context, b *stream.Batch) error {
	if n.left -= b.Records(); n.left <= 0 {
		n.done()
	}
	return nil
}
func (n *nothing) Aborted(context.Context, *stream.Batch)            {}
func (n *nothing) Revoked(context.Context, int32) error              { return nil }
func (n *nothing) Lost(context.Context, int32)                       {}
func (n *nothing) Stopped(_ context.Context, _ int32, e error) error { return e }

func BenchmarkReading(b *testing.B) {
	ctx := context.Background()
	l, err := stream.Open(ctx, stream.Config{Migration: "bench", DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	p, err := l.Producer(stream.ProducerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	const records = 1_000_000
	for i := range records {
		if err := p.Append(ctx, stream.Record{Partition: int32(i % 8), Value: make([]byte, 300)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	p.Close()
	b.Run("Read", func(b *testing.B) {
		for range b.N {
			n := 0
			for part := range int32(8) {
				if _, err := l.Read(ctx, l.Topics().Changes, part, 0, stream.End, func(stream.Record) error { n++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			if n != records {
				b.Fatal(n)
			}
		}
		b.ReportMetric(float64(records*b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("One", func(b *testing.B) {
		for i := range b.N {
			at := int64(i*7919) % 100_000
			if _, err := l.Read(ctx, l.Topics().Changes, 3, at, at+1, func(stream.Record) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Group", func(b *testing.B) {
		for range b.N {
			ctx, cancel := context.WithCancel(ctx)
			g, err := l.Group(stream.GroupConfig{Name: fresh(), Instance: "a"}, &nothing{left: records, done: cancel})
			if err != nil {
				b.Fatal(err)
			}
			if err := g.Run(ctx); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(records*b.N)/b.Elapsed().Seconds(), "records/s")
	})
}
