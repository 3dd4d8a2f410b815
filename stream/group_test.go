package stream_test

import (
	"context"
	"errors"
	"slices"
	"strings"
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

// faulty opens a log on brokers that can be told to fail.
func faulty(t *testing.T) (*kfake.Cluster, *stream.Log) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, open(t, stream.Config{Migration: "suite", Brokers: c.ListenAddrs(), Partitions: streamtest.Partitions})
}

func quick() stream.GroupConfig {
	return stream.GroupConfig{Name: "reconcile", Instance: "a", HeartbeatInterval: 50 * time.Millisecond, SessionTimeout: 10 * time.Second}
}

// finish runs a member until it has applied everything, and checks state and outputs.
func finish(t *testing.T, l *stream.Log, m *streamtest.Model) {
	t.Helper()
	mb := streamtest.Join(t, l, quick(), m)
	ends := streamtest.Ends(t, l)
	mb.Await(t, "all is applied", func() bool { return streamtest.Reached(m.Store, ends) })
	if err := mb.Stop(); err != nil {
		t.Fatal(err)
	}
	streamtest.CheckState(t, l, m.Store)
	streamtest.CheckOutputs(t, l, l.Topics().Divergences)
}

// Whatever aborts a transaction, its records come again and its outputs stand in the
// log once: a rebalance that the commit runs into, a coordinator that moved, leaders
// that moved while outputs were written.
func TestI15_AbortedBatchesComeAgain(t *testing.T) {
	for name, fault := range map[string]kfake.Fault{
		"rebalance":   {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.RebalanceInProgress, Count: 3},
		"generation":  {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.IllegalGeneration, Count: 2},
		"coordinator": {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.CoordinatorNotAvailable, Count: 3},
		"abortable":   {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.TransactionAbortable, Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, l := faulty(t)
			streamtest.Fill(t, l, 0, 90)
			hit := cluster.Fault(fault)
			m := streamtest.NewModel(streamtest.NewStore(), l.Topics().Divergences)
			finish(t, l, m)
			if hit.Hits() == 0 {
				t.Fatal("the fault was not met")
			}
			if _, aborted := m.Counts(); aborted == 0 && name != "coordinator" { // the client retries that itself
				t.Fatal("nothing was aborted")
			}
		})
	}
}

func TestI15_LeadersMoveWhileOutputsAreWritten(t *testing.T) {
	cluster, l := faulty(t)
	streamtest.Fill(t, l, 0, 600)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: l.Topics().Divergences, Err: kerr.NotLeaderForPartition, Count: 5})
	cfg := quick()
	cfg.MaxPollRecords = 40
	m := streamtest.NewModel(streamtest.NewStore(), l.Topics().Divergences)
	m.Work = func(context.Context, *stream.Batch) error {
		cluster.ShufflePartitionLeaders()
		return nil
	}
	mb := streamtest.Join(t, l, cfg, m)
	ends := streamtest.Ends(t, l)
	mb.Await(t, "all is applied", func() bool { return streamtest.Reached(m.Store, ends) })
	if err := mb.Stop(); err != nil {
		t.Fatal(err)
	}
	streamtest.CheckState(t, l, m.Store)
	streamtest.CheckOutputs(t, l, l.Topics().Divergences)
}

// An output that cannot be written ends the member, and nothing of its batch is there.
func TestGroup_OutputRefused(t *testing.T) {
	cluster, l := faulty(t)
	streamtest.Fill(t, l, 0, 30)
	store := streamtest.NewStore()
	for name, record := range map[string]stream.Record{
		"topic":     {Topic: "elsewhere"},
		"partition": {Topic: l.Topics().Outcomes, Partition: 99},
		"size":      {Topic: l.Topics().Outcomes, Value: make([]byte, stream.DefaultMaxRecordBytes+1)},
	} {
		m := streamtest.NewModel(store, l.Topics().Divergences)
		m.Work = func(_ context.Context, b *stream.Batch) error {
			b.Parts[0].Emit(record)
			return nil
		}
		if err := streamtest.Join(t, l, quick(), m).Ended(); err == nil || !strings.Contains(err.Error(), "output of partition") {
			t.Errorf("%s: %v", name, err)
		}
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: l.Topics().Divergences, Err: kerr.TopicAuthorizationFailed})
	err := streamtest.Join(t, l, quick(), streamtest.NewModel(store, l.Topics().Divergences)).Ended()
	if !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "grant this user") {
		t.Errorf("forbidden: %v", err)
	}
	finish(t, l, streamtest.NewModel(store, l.Topics().Divergences))
}

// "Data loss found by the client (OffsetOutOfRange) stops the partition and surfaces,
// never resets": the broker says it while the member reads.
func TestGroup_OutOfRangeStopsThePartition(t *testing.T) {
	cluster, l := faulty(t)
	streamtest.Fill(t, l, 0, 90)
	store := streamtest.NewStore()
	m := streamtest.NewModel(store, l.Topics().Divergences)
	var stopped atomic.Pointer[error]
	m.OnStopped = func(p int32, err error) error {
		if p != 2 {
			t.Errorf("partition %d was stopped: %v", p, err)
		}
		stopped.Store(&err)
		return nil
	}
	mb := streamtest.Join(t, l, quick(), m)
	mb.Await(t, "all is applied", func() bool { return streamtest.Reached(store, []int64{30, 30, 30}) })
	info, _ := l.Topic(l.Topics().Changes)
	lost := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, TopicID: info.ID, Partitions: []int32{2}, Err: kerr.OffsetOutOfRange})
	mb.Await(t, "the partition stops", func() bool { return stopped.Load() != nil })
	if lost.Hits() == 0 {
		t.Fatal("the fault was not met")
	}
	if err := *stopped.Load(); !errors.Is(err, stream.ErrDataLoss) || !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("stopped by %v", err)
	}
	streamtest.Fill(t, l, 90, 30)
	mb.Await(t, "the others go on", func() bool { return streamtest.Reached(store, []int64{40, 40, 0}) })
	if err := mb.Stop(); err != nil {
		t.Fatal(err)
	}
	if st, _ := store.Get(2); st.Next.Offset != 30 {
		t.Fatalf("partition 2 went on to %v", st.Next)
	}
}

// "Topic recreated (new TopicID): detect; stop with reason. Must never continue with
// the same offsets." For members, producers, readers and writers.
func TestRecreatedTopicIsLoud(t *testing.T) {
	cluster, l := faulty(t)
	ctx := streamtest.Soon(t)
	streamtest.Fill(t, l, 0, 90)
	store := streamtest.NewStore()
	mb := streamtest.Join(t, l, quick(), streamtest.NewModel(store, l.Topics().Divergences))
	mb.Await(t, "all is applied", func() bool { return streamtest.Reached(store, []int64{30, 30, 30}) })
	p, err := l.Producer(stream.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Append(ctx, stream.Record{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}

	c, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	if _, err := admin.DeleteTopic(ctx, l.Topics().Changes); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(ctx, streamtest.Partitions, 1, nil, l.Topics().Changes); err != nil {
		t.Fatal(err)
	}

	if err := mb.Ended(); !errors.Is(err, stream.ErrRecreated) {
		t.Errorf("member: %v", err)
	}
	if err := p.Append(ctx, stream.Record{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); !errors.Is(err, stream.ErrRecreated) {
		t.Errorf("producer: %v", err)
	}
	if _, err := l.Read(ctx, l.Topics().Changes, 0, 0, 5, func(stream.Record) error { return nil }); !errors.Is(err, stream.ErrRecreated) {
		t.Errorf("read: %v", err)
	}
}

// I19: a member that the group has given up, because it stalled for longer than the
// session timeout, commits nothing of what it had in hand. Another member, with another
// name, has its partitions by then.
func TestI19_StalledMemberCommitsNothing(t *testing.T) {
	cluster, l := faulty(t)
	streamtest.Fill(t, l, 0, 90)
	stalled := streamtest.NewModel(streamtest.NewStore(), l.Topics().Divergences)
	in, out := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	stalled.Work = func(context.Context, *stream.Batch) error {
		if once.CompareAndSwap(false, true) {
			close(in)
			<-out
		}
		return nil
	}
	cfg := quick()
	cfg.SessionTimeout = 2 * time.Second
	cfg.RebalanceTimeout = 2 * time.Second
	z := streamtest.Join(t, l, cfg, stalled)
	<-in
	// Its heartbeats do not arrive any more.
	silent := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.CoordinatorNotAvailable, Count: -1, When: func(r kmsg.Request) bool {
		hb, ok := r.(*kmsg.HeartbeatRequest)
		return ok && hb.InstanceID != nil && *hb.InstanceID == "a"
	}})
	store := streamtest.NewStore()
	cfg.Instance = "b"
	heir := streamtest.Join(t, l, cfg, streamtest.NewModel(store, l.Topics().Divergences))
	heir.Await(t, "the heir does it all", func() bool { return streamtest.Reached(store, []int64{30, 30, 30}) })
	silent.Remove()
	close(out)
	z.Await(t, "the stalled one gives up its batch", func() bool { _, aborted := stalled.Counts(); return aborted > 0 })
	streamtest.CheckOutputs(t, l, l.Topics().Divergences)
	if err := z.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := heir.Stop(); err != nil {
		t.Fatal(err)
	}
	streamtest.CheckOutputs(t, l, l.Topics().Divergences)
}

// Partitions that come and go while nothing is processed are told to the handler, one
// by one, though the client's session passes on only the first of several rebalances.
func TestGroup_IdleRebalancesAreAllTold(t *testing.T) {
	_, l := faulty(t)
	store := streamtest.NewStore()
	a := streamtest.Join(t, l, quick(), streamtest.NewModel(store, l.Topics().Divergences))
	a.Await(t, "a owns all", func() bool { return len(a.Owned()) == streamtest.Partitions })
	for round := range 3 {
		cfg := quick()
		cfg.Instance, cfg.Leave = "b", true
		b := streamtest.Join(t, l, cfg, streamtest.NewModel(streamtest.NewStore(), l.Topics().Divergences))
		b.Await(t, "b owns some", func() bool { return len(b.Owned()) > 0 })
		ctx := streamtest.Soon(t)
		if err := a.Wait(ctx, func() bool { return len(a.Owned())+len(b.Owned()) == streamtest.Partitions }); err != nil {
			t.Fatalf("round %d: a owns %v, b owns %v", round, a.Owned(), b.Owned())
		}
		if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
		a.Await(t, "a owns all again", func() bool { return slices.Equal(a.Owned(), []int32{0, 1, 2}) })
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if len(a.Owned()) != 0 {
		t.Fatalf("%v are still owned", a.Owned())
	}
}

// A handler that cannot take a partition ends the member with its own error.
func TestGroup_AssignError(t *testing.T) {
	_, l := faulty(t)
	streamtest.Fill(t, l, 0, 3)
	broken := errors.New("state is broken")
	m := streamtest.NewModel(streamtest.NewStore(), "")
	m.Refuse = func(int32) error { return broken }
	if err := streamtest.Join(t, l, quick(), m).Ended(); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if len(m.Owned()) != 0 {
		t.Fatalf("%v are still owned", m.Owned())
	}
}

// With the assignment left to the brokers (KIP-848) a member does the same.
func TestGroup_ServerSide(t *testing.T) {
	_, l := faulty(t)
	streamtest.Fill(t, l, 0, 300)
	store := streamtest.NewStore()
	cfg := quick()
	cfg.ServerSide = true
	cfg.SessionTimeout, cfg.HeartbeatInterval = 0, 0 // the brokers' to say
	for range 2 {
		m := streamtest.Join(t, l, cfg, streamtest.NewModel(store, l.Topics().Divergences))
		ends := streamtest.Ends(t, l)
		m.Await(t, "all is applied", func() bool { return streamtest.Reached(store, ends) })
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		streamtest.Fill(t, l, 300, 300)
	}
}

func TestGroup_Config(t *testing.T) {
	_, l := faulty(t)
	for _, cfg := range []stream.GroupConfig{{}, {Name: "reconcile"}, {Name: "re concile", Instance: "a"}, {Name: "reconcile", Instance: "a", MaxPollRecords: -1}} {
		if _, err := l.Group(cfg, streamtest.NewModel(streamtest.NewStore(), "")); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
