// Command kafkago reads a migration's divergences with kafka-go, from where its
// journal ends, each exactly once:
//
//	go run ./examples/subscribe/kafkago 127.0.0.1:9092 trueup.orders.divergences seen.jsonl
//
// kafka-go hands on the markers of transactions, which are no events, and what
// transactions took back. Such an event comes again, under the same id and with
// the same content, once it stands: ids make it harmless.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/trueup-io/trueup/examples/subscribe/journal"
	"github.com/trueup-io/trueup/subscribe"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: kafkago BROKERS TOPIC JOURNAL")
		os.Exit(2)
	}
	if err := run(ctx, strings.Split(os.Args[1], ","), os.Args[2], os.Args[3]); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, brokers []string, topic, path string) error {
	seen, err := journal.Open(path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	partitions, err := kafka.DefaultDialer.LookupPartitions(ctx, "tcp", brokers[0], topic)
	if err != nil {
		return err
	}
	messages := make(chan kafka.Message) // each is handled before the next is taken
	for _, p := range partitions {
		go func() { cancel(read(ctx, brokers, topic, p.ID, seen.Next(p.ID), messages)) }()
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-messages:
			if !isEvent(m) {
				continue
			}
			e, err := decode(m)
			if err != nil {
				return fmt.Errorf("partition %d offset %d: %w", m.Partition, m.Offset, err)
			}
			// What a subscriber does is done here; e.Divergence says all of it.
			if err := seen.Handle(journal.Entry{Partition: m.Partition, Offset: m.Offset, ID: e.ID, Type: e.Type, Subject: e.Subject}); err != nil {
				return err
			}
		}
	}
}

// read reads a partition, through all that a broker's restart can do to it.
func read(ctx context.Context, brokers []string, topic string, partition int, from int64, to chan<- kafka.Message) error {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: topic, Partition: partition, IsolationLevel: kafka.ReadCommitted,
		MaxWait: 2 * time.Second, MaxBytes: 4 << 20, MaxAttempts: 1 << 30, ReadBackoffMax: 500 * time.Millisecond, OffsetOutOfRangeError: true})
	defer r.Close()
	if err := r.SetOffset(from); err != nil {
		return err
	}
	for {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return err
		}
		select {
		case to <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// isEvent tells an event from the marker of a transaction's end, which has no headers.
func isEvent(m kafka.Message) bool {
	return slices.ContainsFunc(m.Headers, func(h kafka.Header) bool { return h.Key == "ce_id" })
}

func decode(m kafka.Message) (*subscribe.Event, error) {
	headers := make([]subscribe.Header, len(m.Headers))
	for i, h := range m.Headers {
		headers[i] = subscribe.Header(h)
	}
	return subscribe.Decode(m.Value, headers...)
}
