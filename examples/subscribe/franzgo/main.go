// Command franzgo reads a migration's divergences with franz-go, from where its
// journal ends, each exactly once:
//
//	go run ./examples/subscribe/franzgo 127.0.0.1:9092 trueup.orders.divergences seen.jsonl
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/examples/subscribe/journal"
	"github.com/trueup-io/trueup/subscribe"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: franzgo BROKERS TOPIC JOURNAL")
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
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // what was taken back never shows
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),  // a place that is gone is an error, not another place
		kgo.AlwaysRetryEOF(),                         // a broker that restarts hangs up
		kgo.MetadataMinAge(250*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	from := map[int32]kgo.Offset{}
	for _, p := range topics[topic].Partitions.Numbers() {
		from[p] = kgo.NewOffset().At(seen.Next(int(p)))
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			fmt.Fprintln(os.Stderr, "franzgo:", e.Err) // the client goes on by itself
		}
		for r := range fetches.RecordsAll() {
			e, err := decode(r)
			if err != nil {
				return fmt.Errorf("partition %d offset %d: %w", r.Partition, r.Offset, err)
			}
			// What a subscriber does is done here; e.Divergence says all of it.
			if err := seen.Handle(journal.Entry{Partition: int(r.Partition), Offset: r.Offset, ID: e.ID, Type: e.Type, Subject: e.Subject}); err != nil {
				return err
			}
		}
	}
}

func decode(r *kgo.Record) (*subscribe.Event, error) {
	headers := make([]subscribe.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = subscribe.Header(h)
	}
	return subscribe.Decode(r.Value, headers...)
}
