package stream_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/stream/streamtest"
)

// "A member that was away in the middle of a transaction for longer than brokers wait
// finds it aborted, and joins again": away before it commits its offsets, and before
// it ends the transaction. What it had in hand comes again, and stands there once.
func TestI15_AwayForLongerThanATransaction(t *testing.T) {
	for name, key := range map[string]kmsg.Key{"offsets": kmsg.TxnOffsetCommit, "end": kmsg.EndTxn} {
		t.Run(name, func(t *testing.T) {
			cluster, l := faulty(t)
			streamtest.Fill(t, l, 0, 90)
			cfg := quick()
			cfg.TransactionTimeout = time.Second
			away := hold(t, cluster, l, key)
			store := streamtest.NewStore()
			m := streamtest.Join(t, l, cfg, streamtest.NewModel(store, l.Topics().Divergences))
			ends := streamtest.Ends(t, l)
			m.Await(t, "all is applied", func() bool { return streamtest.Reached(store, ends) })
			if err := m.Stop(); err != nil {
				t.Fatal(err)
			}
			if !away.Load() {
				t.Fatal("nothing was held")
			}
			streamtest.CheckState(t, l, store)
			streamtest.CheckOutputs(t, l, l.Topics().Divergences)
		})
	}
}

// hold keeps the first request of a kind that belongs to an open transaction, until
// the brokers have aborted that.
func hold(t *testing.T, cluster *kfake.Cluster, l *stream.Log, key kmsg.Key) *atomic.Bool {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	ctx := streamtest.Soon(t)
	var once, held atomic.Bool
	state := func(id string) string {
		txns, err := admin.DescribeTransactions(ctx, id)
		if err != nil {
			return err.Error()
		}
		return txns[id].State
	}
	cluster.ControlKey(key.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		var id string
		switch r := r.(type) {
		case *kmsg.TxnOffsetCommitRequest:
			id = r.TransactionalID
		case *kmsg.EndTxnRequest:
			if !r.Commit {
				return nil, nil, false
			}
			id = r.TransactionalID
		}
		if once.CompareAndSwap(false, true) {
			cluster.SleepControl(func() {
				for state(id) == "Ongoing" && ctx.Err() == nil {
					held.Store(true)
					time.Sleep(50 * time.Millisecond) //nolint:forbidigo // brokers say nothing when they abort
				}
			})
		}
		return nil, nil, false
	})
	return &held
}

// A member that was away has joined anew by itself when its commit is answered: it is
// itself the other member that the brokers then speak of.
func TestI15_FencedByItself(t *testing.T) {
	cluster, l := faulty(t)
	streamtest.Fill(t, l, 0, 90)
	var refused atomic.Bool
	cluster.ControlKey(kmsg.TxnOffsetCommit.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		commit, ok := r.(*kmsg.TxnOffsetCommitRequest)
		if !ok || !refused.CompareAndSwap(false, true) {
			return nil, nil, false
		}
		answer, ok := commit.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
		if !ok {
			return nil, nil, false
		}
		for _, asked := range commit.Topics {
			topic := kmsg.NewTxnOffsetCommitResponseTopic()
			topic.Topic = asked.Topic
			for _, p := range asked.Partitions {
				partition := kmsg.NewTxnOffsetCommitResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.FencedInstanceID.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			answer.Topics = append(answer.Topics, topic)
		}
		return answer, nil, true
	})
	store := streamtest.NewStore()
	m := streamtest.Join(t, l, quick(), streamtest.NewModel(store, l.Topics().Divergences))
	ends := streamtest.Ends(t, l)
	m.Await(t, "all is applied", func() bool { return streamtest.Reached(store, ends) })
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	if !refused.Load() {
		t.Fatal("nothing was refused")
	}
	streamtest.CheckState(t, l, store)
	streamtest.CheckOutputs(t, l, l.Topics().Divergences)
}
