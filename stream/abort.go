package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// abortTimeout bounds the writing of a few markers in this process.
const abortTimeout = time.Minute

// abort ends transactions that a kill left open, in the log. kfake, as it starts, takes
// them for aborted without writing it down. After the next kill it would take the end of
// the producer's next transaction for theirs, and show their records if that was a
// commit.
func (e *Embedded) abort(open []openTxn) error {
	if len(open) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(e.addr), kgo.Dialer(e.network.dialPrivately), kgo.DisableClientMetrics())
	if err != nil {
		return err
	}
	defer client.Close()
	for _, txn := range open {
		if err := writeAbort(ctx, client, txn); err != nil {
			return fmt.Errorf("abort what was open in topic %q partition %d: %w", txn.topic, txn.partition, err)
		}
	}
	e.cfg.Log.Info("aborted transactions that were open when the embedded broker was killed", "dir", e.cfg.Dir, "n", len(open))
	return nil
}

func writeAbort(ctx context.Context, client *kgo.Client, txn openTxn) error {
	t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	t.Topic = txn.topic
	t.Partitions = []int32{txn.partition}
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID = txn.producer
	m.ProducerEpoch = txn.epoch
	m.Topics = append(m.Topics, t)
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Markers = append(req.Markers, m)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	written := 0
	for _, m := range resp.Markers {
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				err := kerr.ErrorForCode(p.ErrorCode)
				if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) { // files of a topic that was deleted
					return err
				}
				written++
			}
		}
	}
	if written != 1 {
		return fmt.Errorf("%d markers were written", written)
	}
	return nil
}
