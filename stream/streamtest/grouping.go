package streamtest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/stream"
)

// quick has a group notice a rebalance soon.
func quick(instance string) stream.GroupConfig {
	return stream.GroupConfig{Name: "reconcile", Instance: instance, HeartbeatInterval: 100 * time.Millisecond, SessionTimeout: 10 * time.Second}
}

var errKilled = errors.New("killed")

// I15, crash equivalence, and "after Kafka's commit, before the state's commit": a
// process that is killed there, again and again, ends with the state of a clean run
// and with one output per change.
func crashBeforeStateCommit(t *testing.T, l *stream.Log) {
	store := NewStore()
	total := 0
	for round := range 4 {
		Fill(t, l, total, 150)
		total += 150
		model := NewModel(store, l.Topics().Divergences)
		if round < 3 {
			batches := 0
			model.Crash = func(b *stream.Batch) error {
				if b.Parts[0].Replay {
					return nil
				}
				if batches++; batches == 2 { // the first is stored, the second is lost
					return errKilled
				}
				return nil
			}
		}
		cfg := quick("a")
		cfg.MaxPollRecords = 20
		m := Join(t, l, cfg, model)
		if round < 3 {
			if err := m.Ended(); !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			continue
		}
		ends := Ends(t, l)
		m.Await(t, "all is applied", func() bool { return Reached(store, ends) })
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		if replayed, _ := model.Counts(); replayed == 0 {
			t.Fatal("nothing was replayed: the crash was none")
		}
	}
	CheckState(t, l, store)
	CheckOutputs(t, l, l.Topics().Divergences)
}

// "__consumer_offsets reset or deleted: ignored, the state's offset is the authority",
// and "state dir missing: start from earliest, never from the group's offset".
func stateIsTheAuthority(t *testing.T, l *stream.Log) {
	Fill(t, l, 0, 90)
	store := NewStore()
	run := func(store *Store) *Model {
		t.Helper()
		model := NewModel(store, l.Topics().Divergences)
		m := Join(t, l, quick("a"), model)
		ends := Ends(t, l)
		m.Await(t, "all is applied", func() bool { return Reached(store, ends) })
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		return model
	}
	run(store)
	forget(t, l, "a")
	Fill(t, l, 90, 90)
	if replayed, _ := run(store).Counts(); replayed != 0 {
		t.Errorf("%d records were replayed; the state was not behind", replayed)
	}
	CheckState(t, l, store)
	CheckOutputs(t, l, l.Topics().Divergences)

	fresh := NewStore() // the disk is gone
	if replayed, _ := run(fresh).Counts(); replayed != 180 {
		t.Errorf("%d records of 180 were replayed", replayed)
	}
	CheckState(t, l, fresh)
	CheckOutputs(t, l, l.Topics().Divergences)
}

// forget deletes the group with its offsets.
func forget(t *testing.T, l *stream.Log, instance string) {
	t.Helper()
	ctx := Soon(t)
	c, err := kgo.NewClient(kgo.SeedBrokers(l.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	group := groupOf(l)
	if _, err := admin.LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs(instance)); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteGroup(ctx, group); err != nil {
		t.Fatal(err)
	}
}

func groupOf(l *stream.Log) string {
	changes := l.Topics().Changes
	return changes[:len(changes)-len("changes")] + "reconcile"
}

// I19, ownership, with two members, each with its own state, that come and go: each
// change has one output, and whoever has a partition at the end has its whole state.
func membersShare(t *testing.T, l *stream.Log) {
	Fill(t, l, 0, 300)
	stores := []*Store{NewStore(), NewStore()}
	cfgs := []stream.GroupConfig{quick("a"), quick("b")}
	for i := range cfgs {
		cfgs[i].MaxPollRecords = 50
		cfgs[i].Leave = true
	}
	a := Join(t, l, cfgs[0], NewModel(stores[0], l.Topics().Divergences))
	a.Await(t, "a works alone", func() bool { return len(a.Owned()) == Partitions && Reached(stores[0], []int64{60, 60, 60}) })
	b := Join(t, l, cfgs[1], NewModel(stores[1], l.Topics().Divergences))
	b.Await(t, "b gets a share", func() bool { return len(b.Owned()) > 0 })
	Fill(t, l, 300, 300)
	ends := Ends(t, l)
	both := func() bool {
		for p, end := range ends {
			best := int64(0)
			for _, s := range stores {
				st, _ := s.Get(int32(p))
				best = max(best, st.Next.Offset)
			}
			if best < end {
				return false
			}
		}
		return true
	}
	// Either may be the one that finishes.
	for !both() {
		ctx, cancel := context.WithTimeout(Soon(t), time.Second)
		_ = a.Wait(ctx, both)
		cancel()
		if Soon(t).Err() != nil {
			t.Fatal("the members do not finish")
		}
	}
	owned := append(a.Owned(), b.Owned()...)
	slices.Sort(owned)
	if !slices.Equal(owned, []int32{0, 1, 2}) {
		t.Fatalf("a owns %v, b owns %v", a.Owned(), b.Owned())
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	b.Await(t, "b takes over", func() bool { return len(b.Owned()) == Partitions && Reached(stores[1], ends) })
	Fill(t, l, 600, 30)
	ends = Ends(t, l)
	b.Await(t, "b goes on", func() bool { return Reached(stores[1], ends) })
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	CheckState(t, l, stores[1])
	CheckOutputs(t, l, l.Topics().Divergences)
}

// I19, "zombie fenced": a process that stalls while another takes its name over can
// write nothing when it wakes up.
func zombieIsFenced(t *testing.T, l *stream.Log) {
	Fill(t, l, 0, 90)
	zombie := NewModel(NewStore(), l.Topics().Divergences)
	stalled, wake := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	zombie.Work = func(context.Context, *stream.Batch) error {
		if first.CompareAndSwap(false, true) {
			close(stalled)
			<-wake
		}
		return nil
	}
	z := Join(t, l, quick("a"), zombie)
	<-stalled
	store := NewStore()
	heir := Join(t, l, quick("a"), NewModel(store, l.Topics().Divergences))
	heir.Await(t, "the heir works", func() bool { return Reached(store, []int64{30, 30, 30}) })
	close(wake)
	if err := z.Ended(); !errors.Is(err, stream.ErrFenced) {
		t.Fatalf("the zombie ended with %v", err)
	}
	Fill(t, l, 90, 30)
	ends := Ends(t, l)
	heir.Await(t, "the heir goes on", func() bool { return Reached(store, ends) })
	if err := heir.Stop(); err != nil {
		t.Fatal(err)
	}
	CheckState(t, l, store)
	CheckOutputs(t, l, l.Topics().Divergences)
}

// I40, "graceful stop loses nothing and re-emits nothing", however often.
func gracefulStop(t *testing.T, l *stream.Log) {
	store := NewStore()
	total := 0
	for range 4 {
		Fill(t, l, total, 200)
		total += 200
		model := NewModel(store, l.Topics().Divergences)
		cfg := quick("a")
		cfg.MaxPollRecords = 30
		m := Join(t, l, cfg, model)
		some := State{Next: stream.At(int64(total)/Partitions - 50)}
		m.Await(t, "some of it is applied", func() bool {
			st, _ := store.Get(0)
			return st.Next.Offset >= some.Next.Offset
		})
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		if len(model.Owned()) != 0 {
			t.Fatalf("%v are still owned", model.Owned())
		}
		if replayed, _ := model.Counts(); replayed != 0 {
			t.Fatalf("%d records were replayed after a graceful stop", replayed)
		}
	}
	m := Join(t, l, quick("a"), NewModel(store, l.Topics().Divergences))
	ends := Ends(t, l)
	m.Await(t, "all is applied", func() bool { return Reached(store, ends) })
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	CheckState(t, l, store)
	CheckOutputs(t, l, l.Topics().Divergences)
}

// A batch that its handler refuses leaves nothing behind, and its error is Run's.
func processErrorWritesNothing(t *testing.T, l *stream.Log) {
	Fill(t, l, 0, 90)
	refused := errors.New("refused")
	store := NewStore()
	model := NewModel(store, l.Topics().Divergences)
	model.Work = func(_ context.Context, b *stream.Batch) error {
		b.Parts[0].Emit(stream.Record{Topic: l.Topics().Outcomes, Key: []byte("never")})
		return refused
	}
	m := Join(t, l, quick("a"), model)
	if err := m.Ended(); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if _, aborted := model.Counts(); aborted != 1 {
		t.Fatalf("aborted %d times", aborted)
	}
	for _, records := range Read(t, l, l.Topics().Outcomes) {
		if len(records) > 0 {
			t.Fatalf("got %v", records)
		}
	}
	m = Join(t, l, quick("a"), NewModel(store, l.Topics().Divergences))
	m.Await(t, "all is applied", func() bool { return Reached(store, []int64{30, 30, 30}) })
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	CheckOutputs(t, l, l.Topics().Divergences)
}
