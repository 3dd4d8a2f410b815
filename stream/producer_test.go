package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// openFake opens a log on a cluster of brokers that can be told to fail.
func openFake(t testing.TB, partitions int, opts ...kfake.Opt) (*kfake.Cluster, *Log) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	l, err := Open(soon(t), Config{Migration: "orders", Brokers: c.ListenAddrs(), Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return c, l
}

func newProducer(t testing.TB, l *Log, cfg ProducerConfig) *Producer {
	t.Helper()
	p, err := l.Producer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// I1 against brokers that move leaders, acknowledge too late, and fail after they have
// appended: whenever Acked moves, everything before the mark stands in the log; at the
// end everything stands there once, in the order in which it was appended (E16).
func TestI1_AckAfterDurable(t *testing.T) {
	const partitions, records = 4, 3000
	ctx := soon(t)
	cluster, l := openFake(t, partitions)
	topic := l.Topics().Changes
	cluster.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotLeaderForPartition, Count: 5, When: oneIn(3)},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotEnoughReplicasAfterAppend, Count: 5, When: oneIn(4)},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{1}, Err: kerr.RequestTimedOut, Count: 3, When: oneIn(5)},
	)
	p := newProducer(t, l, ProducerConfig{MaxBufferedRecords: 200})

	// What is durable is asked of the brokers by another client, whenever Acked moves.
	checked := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-p.AckedChanged():
				if m, ok := p.Acked(); ok {
					if err := durable(ctx, l, m); err != nil {
						checked <- err
						return
					}
				}
			case <-done:
				checked <- nil
				return
			}
		}
	}()
	for n := range records {
		if err := p.Append(ctx, Record{Partition: int32(n % partitions), Value: []byte(strconv.Itoa(n))}); err != nil {
			t.Fatal(err)
		}
		if n%11 == 0 {
			if err := p.Barrier(Mark{Pos: strconv.Itoa(n), Token: n + 1}); err != nil {
				t.Fatal(err)
			}
		}
		if n%500 == 0 {
			cluster.ShufflePartitionLeaders()
		}
	}
	if err := p.Barrier(Mark{Pos: "end", Token: records}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	close(done)
	if err := <-checked; err != nil {
		t.Fatal(err)
	}
	if m, ok := p.Acked(); !ok || m.Pos != "end" {
		t.Fatalf("acknowledged up to %v", m)
	}
	for part := range partitions {
		want := part
		for i, v := range values(t, l, topic, int32(part)) {
			if v != strconv.Itoa(want) {
				t.Fatalf("partition %d offset %d: record %s, want %d", part, i, v, want)
			}
			want += partitions
		}
		if want != records+part {
			t.Fatalf("partition %d ends before record %d", part, want)
		}
	}
	if n, bytes := p.Buffered(); n != 0 || bytes != 0 {
		t.Fatalf("%d records and %d bytes are still counted", n, bytes)
	}
}

// oneIn picks requests by a seeded coin.
func oneIn(n int) func(kmsg.Request) bool {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	return func(kmsg.Request) bool { return r.IntN(n) == 0 } // the cluster's goroutine only
}

// durable says whether all records before a mark are in the log.
func durable(ctx context.Context, l *Log, m Mark) error {
	ends, err := l.EndOffsets(ctx, l.Topics().Changes)
	if err != nil {
		return err
	}
	total := m.Token.(int)
	for p, end := range ends {
		want := int64((total - p + len(ends) - 1) / len(ends)) // of records 0..total-1, those with n % partitions == p
		if end < want {
			return fmt.Errorf("mark %s: partition %d has %d records of %d", m.Pos, p, end, want)
		}
	}
	return nil
}

// Zoo Z1: "ack derived from unordered producer callbacks across partitions". One
// partition does not acknowledge while the others do, and the mark waits for it.
func TestI1_MarkWaitsForTheSlowestPartition(t *testing.T) {
	ctx := soon(t)
	cluster, l := openFake(t, 3)
	slow := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: l.Topics().Changes, Partitions: []int32{0}, Err: kerr.NotEnoughReplicas, Count: -1})
	p := newProducer(t, l, ProducerConfig{})
	barrier := func(pos string) {
		if err := p.Barrier(Mark{Pos: pos}); err != nil {
			t.Fatal(err)
		}
	}
	add := func(part int32) {
		if err := p.Append(ctx, Record{Partition: part, Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	add(1)
	barrier("a")
	waitAcked(t, p, "a")
	add(0) // stuck
	add(1)
	barrier("b")
	add(2)
	barrier("c")
	for n := 3; n > 1; n, _ = p.Buffered() { // the other partitions have acknowledged
		select {
		case <-p.room:
		case <-ctx.Done():
			t.Fatal("the others do not acknowledge")
		}
	}
	if m, _ := p.Acked(); m.Pos != "a" {
		t.Fatalf("the mark is %q, and partition 0 has not acknowledged what is before it", m.Pos)
	}
	slow.Remove()
	waitAcked(t, p, "c")
}

func waitAcked(t testing.TB, p *Producer, pos string) {
	t.Helper()
	ctx := soon(t)
	for {
		if m, ok := p.Acked(); ok && m.Pos == pos {
			return
		}
		select {
		case <-p.AckedChanged():
			if err := p.Err(); err != nil {
				t.Fatal(err)
			}
		case <-ctx.Done():
			m, _ := p.Acked()
			t.Fatalf("the mark is %q, want %q", m.Pos, pos)
		}
	}
}

// "After a produce error that is final the producer is failed: Acked never advances,
// Append and Flush return the error".
func TestI1_FinalErrorEndsTheProducer(t *testing.T) {
	ctx := soon(t)
	cluster, l := openFake(t, 2)
	p := newProducer(t, l, ProducerConfig{})
	if err := p.Append(ctx, Record{Partition: 0, Value: []byte("good")}); err != nil {
		t.Fatal(err)
	}
	if err := p.Barrier(Mark{Pos: "good"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: l.Topics().Changes, Partitions: []int32{1}, Err: kerr.TopicAuthorizationFailed})
	if err := p.Append(ctx, Record{Partition: 1, Value: []byte("forbidden")}); err != nil {
		t.Fatal(err)
	}
	if err := p.Barrier(Mark{Pos: "bad"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "grant this user") {
		t.Fatalf("flush: %v", err)
	}
	if err := p.Append(ctx, Record{Partition: 0, Value: []byte("after")}); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("append: %v", err)
	}
	if err := p.Barrier(Mark{Pos: "after"}); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("barrier: %v", err)
	}
	if m, _ := p.Acked(); m.Pos != "good" {
		t.Fatalf("the mark is %q", m.Pos)
	}
	p.Close()
	if err := p.Err(); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("closing hides the failure: %v", err)
	}
}

// A record that the topic cannot take is refused before it is handed over, and changes
// nothing.
func TestProducer_RefusesWhatDoesNotFit(t *testing.T) {
	ctx := soon(t)
	_, l := openFake(t, 2)
	p := newProducer(t, l, ProducerConfig{})
	info, _ := l.Topic(l.Topics().Changes)
	if info.MaxRecordBytes != DefaultMaxRecordBytes {
		t.Fatalf("the topic takes %d bytes", info.MaxRecordBytes)
	}
	big := make([]byte, info.MaxRecordBytes)
	if err := p.Append(ctx, Record{Value: big}); err == nil || !strings.Contains(err.Error(), "max.message.bytes") {
		t.Fatalf("got %v", err)
	}
	if err := p.Append(ctx, Record{Partition: 2}); err == nil || !strings.Contains(err.Error(), "none is number 2") {
		t.Fatalf("got %v", err)
	}
	if err := p.Append(ctx, Record{Value: big[:info.MaxRecordBytes-48]}); err != nil { // the largest there is
		t.Fatal(err)
	}
	if err := p.Barrier(Mark{Pos: "big"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	waitAcked(t, p, "big")
	if got := values(t, l, l.Topics().Changes, 0); len(got) != 1 || len(got[0]) != info.MaxRecordBytes-48 {
		t.Fatal("the record did not come back")
	}
}

// "back-pressure: Append blocks", by records and by bytes, and lets a record that is
// larger than the whole buffer through alone.
func TestI20_AppendBlocks(t *testing.T) {
	for _, cfg := range []ProducerConfig{{MaxBufferedRecords: 3}, {MaxBufferedBytes: 3 * 1048}} {
		ctx := soon(t)
		cluster, l := openFake(t, 1)
		stuck := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		p := newProducer(t, l, cfg)
		value := make([]byte, 1000)
		for range 3 {
			if err := p.Append(ctx, Record{Value: value}); err != nil {
				t.Fatal(err)
			}
		}
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond) // it waits for ever; how long is looked at does not matter
		if err := p.Append(short, Record{Value: value}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		cancel()
		if n, _ := p.Buffered(); n != 3 {
			t.Fatalf("%d records", n)
		}
		blocked := make(chan error, 1)
		go func() { blocked <- p.Append(ctx, Record{Value: make([]byte, 10_000)}) }()
		stuck.Remove()
		if err := <-blocked; err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if got := values(t, l, l.Topics().Changes, 0); len(got) != 4 {
			t.Fatalf("%d records", len(got))
		}
	}
}

func TestProducer_Closed(t *testing.T) {
	_, l := openFake(t, 1)
	p := newProducer(t, l, ProducerConfig{})
	p.Close()
	for what, err := range map[string]error{"append": p.Append(soon(t), Record{}), "barrier": p.Barrier(Mark{}), "flush": p.Flush(soon(t))} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := l.Producer(ProducerConfig{Compression: "rot13"}); err == nil {
		t.Error("rot13 is no compression")
	}
}

// What a capture hands over: rows of 300 bytes in transactions of 10, 8 partitions.
func BenchmarkProducer(b *testing.B) {
	for _, where := range []string{"embedded", "memory"} {
		b.Run(where, func(b *testing.B) {
			ctx := context.Background()
			var l *Log
			if where == "memory" {
				_, l = openFake(b, 8, kfake.BlackholeProduce())
			} else {
				var err error
				if l, err = Open(ctx, Config{Migration: "orders", DataDir: b.TempDir()}); err != nil {
					b.Fatal(err)
				}
				defer l.Close()
			}
			p := newProducer(b, l, ProducerConfig{})
			value := make([]byte, 300)
			for i := range value {
				value[i] = byte(rand.IntN(64))
			}
			b.SetBytes(300)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if err := p.Append(ctx, Record{Partition: int32(i % 8), Value: value}); err != nil {
					b.Fatal(err)
				}
				if i%10 == 9 {
					if err := p.Barrier(Mark{Pos: "x"}); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := p.Flush(ctx); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
