package streamtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/trueup-io/trueup/stream"
)

// Partitions of the topics in the suite.
const Partitions = 3

// Soon ends a test that hangs; no test's outcome depends on it.
func Soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Fill appends n numbered records to the changes topic, one partition after the other,
// and waits until they are durable.
func Fill(t testing.TB, l *stream.Log, first, n int) {
	t.Helper()
	p, err := l.Producer(stream.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := first; i < first+n; i++ {
		r := stream.Record{Partition: int32(i % Partitions), Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "%d", i)}
		if err := p.Append(Soon(t), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(Soon(t)); err != nil {
		t.Fatal(err)
	}
}

// Read returns all committed records of a topic, by partition.
func Read(t testing.TB, l *stream.Log, topic string) [][]stream.Record {
	t.Helper()
	info, ok := l.Topic(topic)
	if !ok {
		t.Fatalf("no topic %q", topic)
	}
	starts, err := l.StartOffsets(Soon(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	all := make([][]stream.Record, info.Partitions)
	for p := range all {
		if _, err := l.Read(Soon(t), topic, int32(p), starts[p], stream.End, func(r stream.Record) error {
			all[p] = append(all[p], r)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Member is a group's member that runs in a test.
type Member struct {
	*Model
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// Join runs a member until the test ends, or Stop is called.
func Join(t testing.TB, l *stream.Log, cfg stream.GroupConfig, m *Model) *Member {
	t.Helper()
	g, err := l.Group(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	mb := &Member{Model: m, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(mb.done)
		mb.err = g.Run(ctx)
	}()
	t.Cleanup(func() { _ = mb.Stop() })
	return mb
}

// Stop has the member stop, and returns what Run returned.
func (m *Member) Stop() error {
	m.cancel()
	return m.Ended()
}

// Ended waits until Run has returned, and returns what it did.
func (m *Member) Ended() error {
	<-m.done
	return m.err
}

// Await waits until cond holds after a call of a handler, or until the member ends.
func (m *Member) Await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(Soon(t))
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-m.done:
			cancel(fmt.Errorf("the member ended: %w", m.err))
		case <-stop:
		}
	}()
	if err := m.Wait(ctx, cond); err != nil {
		t.Fatalf("%s: %v (%v)", what, err, context.Cause(ctx))
	}
}

// Reached says whether a store has applied everything before the given ends.
func Reached(s *Store, ends []int64) bool {
	for p, end := range ends {
		if st, _ := s.Get(int32(p)); st.Next.Offset < end {
			return false
		}
	}
	return true
}

// Digests returns what the states of a topic's partitions have to be.
func Digests(t testing.TB, l *stream.Log) []uint64 {
	t.Helper()
	var digests []uint64
	for _, records := range Read(t, l, l.Topics().Changes) {
		var st State
		for i := range records {
			st = st.apply(&records[i])
		}
		digests = append(digests, st.Digest)
	}
	return digests
}

// CheckOutputs fails unless there is exactly one output for each change, in order.
func CheckOutputs(t testing.TB, l *stream.Log, topic string) {
	t.Helper()
	outputs := Read(t, l, topic)
	for p, changes := range Read(t, l, l.Topics().Changes) {
		if len(outputs[p]) != len(changes) {
			t.Errorf("partition %d: %d changes, %d outputs", p, len(changes), len(outputs[p]))
		}
		for i := range min(len(changes), len(outputs[p])) {
			if want := fmt.Sprintf("%d/%d", p, changes[i].Offset); string(outputs[p][i].Key) != want {
				t.Fatalf("partition %d: output %d is of %s, want %s", p, i, outputs[p][i].Key, want)
			}
		}
	}
}

// CheckState fails unless a store holds exactly what the log says.
func CheckState(t testing.TB, l *stream.Log, s *Store) {
	t.Helper()
	for p, want := range Digests(t, l) {
		if st, _ := s.Get(int32(p)); st.Digest != want {
			t.Errorf("partition %d: state %x at %v, the log says %x", p, st.Digest, st.Next, want)
		}
	}
}

// Ends returns the ends of the changes topic's partitions.
func Ends(t testing.TB, l *stream.Log) []int64 {
	t.Helper()
	ends, err := l.EndOffsets(Soon(t), l.Topics().Changes)
	if err != nil {
		t.Fatal(err)
	}
	return ends
}
