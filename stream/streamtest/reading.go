package streamtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/stream"
)

// Produce and read order; keys, values, headers, tombstones and times come back.
func orderIsKept(t *testing.T, l *stream.Log) {
	ctx := Soon(t)
	before := time.Now().Add(-time.Millisecond)
	p, err := l.Producer(stream.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for n := range 1000 {
		r := stream.Record{Partition: int32(n % Partitions), Key: fmt.Appendf(nil, "k%d", n), Value: fmt.Appendf(nil, "%d", n)}
		if n%7 == 0 {
			r.Value = nil
			r.Headers = []stream.Header{{Key: "n", Value: strconv.AppendInt(nil, int64(n), 10)}, {Key: "empty"}}
		}
		if err := p.Append(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Barrier(stream.Mark{Pos: "end", Token: 7}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if m, ok := p.Acked(); !ok || m != (stream.Mark{Pos: "end", Token: 7}) {
		t.Fatalf("acknowledged up to %v", m)
	}
	for part, records := range Read(t, l, l.Topics().Changes) {
		n := part
		for i := range records {
			r := &records[i]
			if string(r.Key) != fmt.Sprintf("k%d", n) || r.Offset != int64(i) || r.Partition != int32(part) || r.Topic != l.Topics().Changes {
				t.Fatalf("partition %d offset %d: got %+v", part, i, r)
			}
			if n%7 == 0 {
				if r.Value != nil || len(r.Headers) != 2 || string(r.Headers[0].Value) != strconv.Itoa(n) || r.Headers[1].Key != "empty" {
					t.Fatalf("record %d: got %+v", n, r)
				}
			} else if string(r.Value) != strconv.Itoa(n) {
				t.Fatalf("record %d: got %q", n, r.Value)
			}
			if r.Time.Before(before) || r.Time.After(time.Now()) {
				t.Fatalf("record %d was written at %v", n, r.Time)
			}
			n += Partitions
		}
		if n < 1000 {
			t.Fatalf("partition %d ends before record %d", part, n)
		}
	}
}

// Reading stops where fn says, and goes on there.
func readResumes(t *testing.T, l *stream.Log) {
	Fill(t, l, 0, 900)
	enough := errors.New("enough")
	var got []string
	at := int64(0)
	for stops := 0; at < 300; stops++ {
		taken := 0
		next, err := l.Read(Soon(t), l.Topics().Changes, 1, at, stream.End, func(r stream.Record) error {
			if taken == 70 {
				return enough
			}
			taken++
			got = append(got, string(r.Value))
			return nil
		})
		if at+70 < 300 && (!errors.Is(err, enough) || next != at+70) {
			t.Fatalf("stop %d: next %d, %v", stops, next, err)
		}
		at = next
	}
	var want []string
	for n := 1; n < 900; n += Partitions {
		want = append(want, strconv.Itoa(n))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %d records: %v", len(got), got)
	}
	got = nil
	next, err := l.Read(Soon(t), l.Topics().Changes, 1, 10, 13, func(r stream.Record) error {
		got = append(got, string(r.Value))
		return nil
	})
	if err != nil || next != 13 || !slices.Equal(got, want[10:13]) {
		t.Fatalf("got %v, next %d, %v", got, next, err)
	}
	if next, err := l.Read(Soon(t), l.Topics().Changes, 1, 300, stream.End, nil); err != nil || next != 300 {
		t.Fatalf("at the end: next %d, %v", next, err)
	}
}

// What was aborted is not there, and where nothing but aborted records and markers
// stands, reading comes to its end.
func readSkipsAborted(t *testing.T, l *stream.Log) {
	ctx := Soon(t)
	topic := l.Topics().Divergences
	c, err := kgo.NewClient(kgo.SeedBrokers(l.Brokers()...), kgo.TransactionalID(topic+".test"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort, kgo.TryAbort} {
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d.%d", n, i)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.EndTransaction(ctx, how); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range Read(t, l, topic)[0] {
		got = append(got, string(r.Value))
	}
	if want := []string{"0.0", "0.1", "0.2", "2.0", "2.1", "2.2"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func offsetsByTime(t *testing.T, l *stream.Log) {
	Fill(t, l, 0, 30)
	records := Read(t, l, l.Topics().Changes)
	last := records[0][len(records[0])-1].Time
	fillLater(t, l, last)
	offsets, err := l.OffsetsAt(Soon(t), l.Topics().Changes, last.Add(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if offsets[0] != 10 {
		t.Fatalf("got %v, want 10 for partition 0", offsets)
	}
	offsets, err = l.OffsetsAt(Soon(t), l.Topics().Changes, time.UnixMilli(0))
	if err != nil || !slices.Equal(offsets, []int64{0, 0, 0}) {
		t.Fatalf("got %v, %v", offsets, err)
	}
	offsets, err = l.OffsetsAt(Soon(t), l.Topics().Changes, time.Now().Add(time.Hour))
	if err != nil || !slices.Equal(offsets, Ends(t, l)) {
		t.Fatalf("got %v, %v", offsets, err)
	}
}

// fillLater writes records that are later than a time, to the millisecond.
func fillLater(t testing.TB, l *stream.Log, than time.Time) {
	t.Helper()
	timer := time.NewTimer(time.Until(than.Add(2 * time.Millisecond)))
	<-timer.C
	Fill(t, l, 30, 30)
}

func tailFollows(t *testing.T, l *stream.Log) {
	Fill(t, l, 0, 30)
	ctx, cancel := context.WithCancel(Soon(t))
	defer cancel()
	var got []string
	done := errors.New("done")
	started := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		// Partition 0 from offset 5, partition 1 from its end, partition 2 not at all yet.
		ended <- l.Tail(ctx, l.Topics().Changes, map[int32]int64{0: 5}, func(r stream.Record) error {
			if len(got) == 0 {
				close(started)
			}
			got = append(got, fmt.Sprintf("%d:%d", r.Partition, r.Offset))
			if len(got) == 5+10+10+10 {
				return done
			}
			return nil
		})
	}()
	<-started
	Fill(t, l, 30, 30)
	if err := <-ended; !errors.Is(err, done) {
		t.Fatal(err)
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != 35 || slices.Contains(got, "0:4") || slices.Contains(got, "1:9") {
		t.Fatalf("got %v", got)
	}
	if err := l.Tail(ctx, l.Topics().Changes, map[int32]int64{0: 100}, nil); !errors.Is(err, stream.ErrDataLoss) {
		t.Fatalf("beyond the end: %v", err)
	}
	cancel()
	if err := l.Tail(ctx, l.Topics().Changes, nil, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled: %v", err)
	}
}

// Trim removes records of the changes topic, as retention does.
func Trim(t testing.TB, l *stream.Log, partition int32, before int64) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(l.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: l.Topics().Changes, Partition: partition, At: before})
	resp, err := kadm.NewClient(c).DeleteRecords(Soon(t), offsets)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// "Retention passed our offset: gap; must never resume at log start."
func retentionIsLoud(t *testing.T, l *stream.Log) {
	Fill(t, l, 0, 90)
	Trim(t, l, 1, 20)
	var at *stream.OffsetError
	_, err := l.Read(Soon(t), l.Topics().Changes, 1, 10, stream.End, func(stream.Record) error { return nil })
	if !errors.Is(err, stream.ErrRetention) || !errors.As(err, &at) || at.Partition != 1 || at.Offset != 10 || at.Start != 20 || at.End != 30 || at.Topic != l.Topics().Changes {
		t.Fatalf("read: %v", err)
	}
	if err := l.Tail(Soon(t), l.Topics().Changes, map[int32]int64{1: 10}, nil); !errors.Is(err, stream.ErrRetention) {
		t.Fatalf("tail: %v", err)
	}

	// A group stops the partition, and goes on with the others.
	store := NewStore()
	for p := range int32(Partitions) {
		store.Set(p, State{Next: stream.At(10)})
	}
	model := NewModel(store, l.Topics().Divergences)
	stopped := make(map[int32]error)
	model.OnStopped = func(p int32, err error) error {
		stopped[p] = err
		return nil
	}
	m := Join(t, l, stream.GroupConfig{Name: "reconcile", Instance: "a"}, model)
	m.Await(t, "the others go on", func() bool { return Reached(store, []int64{30, 0, 30}) })
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	if len(stopped) != 1 || !errors.Is(stopped[1], stream.ErrRetention) {
		t.Fatalf("stopped: %v", stopped)
	}
	if st, _ := store.Get(1); st.Next.Offset != 10 {
		t.Fatalf("partition 1 went on to %v", st.Next)
	}
}

// "Data loss at broker: stop partition; must never reset." A state that is ahead of the
// log ends the member, if its handler wants that.
func dataLossIsLoud(t *testing.T, l *stream.Log) {
	Fill(t, l, 0, 90)
	if _, err := l.Read(Soon(t), l.Topics().Changes, 0, 31, stream.End, nil); !errors.Is(err, stream.ErrDataLoss) {
		t.Fatalf("read from beyond the end: %v", err)
	}
	if _, err := l.Read(Soon(t), l.Topics().Changes, 0, 20, 40, func(stream.Record) error { return nil }); !errors.Is(err, stream.ErrDataLoss) {
		t.Fatalf("read to beyond the end: %v", err)
	}
	store := NewStore()
	store.Set(0, State{Next: stream.At(50)})
	m := Join(t, l, stream.GroupConfig{Name: "reconcile", Instance: "a"}, NewModel(store, l.Topics().Divergences))
	err := m.Ended()
	var at *stream.OffsetError
	if !errors.Is(err, stream.ErrDataLoss) || !errors.As(err, &at) || at.Partition != 0 || at.Offset != 50 || at.End != 30 {
		t.Fatalf("got %v", err)
	}
}
