package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// However much waits in however many partitions, what was aborted is not seen: the
// broker ends a large answer anywhere, also amid aborted transactions.
func TestTail_LargeAnswersHoldNothingAborted(t *testing.T) {
	const (
		partitions = 8
		each       = 12 // transactions, half of them aborted
		size       = 256 << 10
	)
	l, err := Open(soon(t), Config{Migration: "orders", DataDir: t.TempDir(), Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	topic := l.Topics().Divergences
	c, err := kgo.NewClient(kgo.SeedBrokers(l.Brokers()...), kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := rand.New(rand.NewPCG(1, 2)) // hardly compresses
	for i := range each {
		how := []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit}[i%2]
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(partitions) {
			value := make([]byte, size)
			for at := range value {
				value[at] = byte(r.Uint32())
			}
			value[0] = byte(i)
			if err := c.ProduceSync(soon(t), &kgo.Record{Topic: topic, Partition: p, Value: value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.EndTransaction(soon(t), how); err != nil {
			t.Fatal(err)
		}
	}
	from := map[int32]int64{}
	for p := range int32(partitions) {
		from[p] = 0
	}
	seen, whole := 0, errors.New("all of it")
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	err = l.Tail(ctx, topic, from, func(r Record) error {
		if r.Value[0]%2 == 0 {
			return fmt.Errorf("record %d of partition %d is of an aborted transaction", r.Offset, r.Partition)
		}
		if seen++; seen == partitions*each/2 {
			return whole
		}
		return nil
	})
	if !errors.Is(err, whole) {
		t.Fatalf("after %d records: %v", seen, err)
	}
}
