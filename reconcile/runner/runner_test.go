package runner

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func TestMain(m *testing.M) { servertest.Main(m) }

const partitions = 3

type bench struct {
	t     *testing.T
	rules *schemas.Rules
	log   *stream.Log
	made  []schemas.Record
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchOn(t, stream.Config{DataDir: t.TempDir()})
}

const migration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: orders, owner: team-orders}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      v:  {type: text}
    settleWindow: 1s
`

func newBenchOn(t *testing.T, cfg stream.Config) *bench {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(migration), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t}
	if b.rules, err = m.Rules(); err != nil {
		t.Fatal(err)
	}
	cfg.Migration, cfg.Partitions = "orders", partitions
	b.log, err = stream.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// write puts raw values into the log, each to its partition.
func (b *bench) write(records ...stream.Record) {
	b.t.Helper()
	w, err := b.log.Writer()
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range records {
		records[i].Topic = b.log.Topics().Changes
	}
	for part := range slices.Chunk(records, 500) {
		if err := w.Write(b.t.Context(), part...); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) record(rec schemas.Record) stream.Record {
	b.made = append(b.made, rec)
	r := stream.Record{Partition: rec.Partition, Value: schemas.AppendRecord(nil, &rec)}
	if c := rec.Change; c != nil {
		e, _ := b.rules.Entity(c.Entity)
		r.Key = e.MessageKey(c.Key)
	}
	return r
}

const start = schemas.Micros(1_790_000_000_000_000)

// history is a log in which the target loses and mistakes some writes.
func (b *bench) history(seed uint64, n int) []stream.Record {
	r := rand.New(rand.NewPCG(seed, 9))
	var out []stream.Record
	pos, now := [3]int{}, start
	every := func(rec schemas.Record) {
		for p := range int32(partitions) {
			rec.Partition = p
			out = append(out, b.record(rec))
		}
	}
	every(schemas.Record{Control: &schemas.Control{Rules: "orders-v1", Baseline: schemas.BaselineEmpty}})
	e, _ := b.rules.Entity("order")
	for range n {
		now += schemas.Micros(r.IntN(50_000))
		key, v := []string{fmt.Sprint(r.IntN(300))}, fmt.Sprint(r.IntN(9))
		for _, s := range schemas.Sides {
			if s == schemas.Target && r.IntN(40) == 0 {
				v = "wrong"
			}
			pos[s]++
			out = append(out, b.record(schemas.Record{Partition: stream.Partition(e.PartitionKey(key), partitions), Change: &schemas.Change{
				EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos[s])},
				Side:    s, Entity: "order", Key: key, Op: schemas.OpUpdate, Txn: fmt.Sprint(pos[s]), CommitTS: now,
				After: schemas.Row{{Name: "id", Text: key[0]}, {Name: "v", Text: v}}}}))
		}
		if r.IntN(10) == 0 {
			b.progress(every, pos, now)
		}
	}
	b.progress(every, pos, now+60_000_000)
	return out
}

func (b *bench) progress(every func(schemas.Record), pos [3]int, at schemas.Micros) {
	for _, s := range schemas.Sides {
		every(schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", pos[s]), TS: at}})
	}
}

// run compares until everything in the log is taken, stopping and starting
// again stops times on the way.
func (b *bench) run(dir string, maxBatch, stops int) Status {
	b.t.Helper()
	ends, err := b.log.EndOffsets(b.t.Context(), b.log.Topics().Changes)
	if err != nil {
		b.t.Fatal(err)
	}
	total := int64(0)
	for _, end := range ends {
		total += end
	}
	var s Status
	for stop := range int64(stops + 1) {
		r, err := New(Config{Rules: b.rules, Log: b.log, StateDir: dir, MaxBatch: maxBatch})
		if err != nil {
			b.t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		for {
			s = r.Status()
			taken := int64(0)
			for _, next := range s.Next {
				taken += next
			}
			if taken >= total*(stop+1)/int64(stops+1) && s.Partitions == partitions || ctx.Err() != nil {
				break
			}
			time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the runner says nothing as it goes
		}
		cancel()
		if err := <-done; err != nil {
			b.t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.t.Fatal(err)
		}
	}
	return s
}

// published returns each partition's divergence events as they stand on the topic.
func (b *bench) published() [][]byte {
	b.t.Helper()
	var out [][]byte
	for p := range int32(partitions) {
		_, err := b.log.Read(b.t.Context(), b.log.Topics().Divergences, p, 0, stream.End, func(r stream.Record) error {
			out = append(out, bytes.Clone(r.Value))
			return nil
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return out
}

// I14: "run twice, different batch sizes, restarts"; and what is published is
// what a replay finds.
func TestI14_SameEventsInAnyBatchSizeAndAfterRestarts(t *testing.T) {
	var want [][]byte
	for i, c := range []struct{ batch, stops int }{{20_000, 0}, {7, 0}, {100, 4}} {
		b := newBench(t)
		b.write(b.history(1, 700)...)
		s := b.run(t.TempDir(), c.batch, c.stops)
		if n := s.Records; n.Consumed != int64(len(b.made)) || n.Applied != n.Consumed {
			t.Fatalf("I21: %d records were written, accounts say %+v", len(b.made), n)
		}
		got := b.published()
		if i == 0 {
			want = got
			b.sameAsReplay(got)
		}
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("batches of %d with %d stops: %d events, want %d", c.batch, c.stops, len(got), len(want))
		}
	}
}

func (b *bench) sameAsReplay(events [][]byte) {
	b.t.Helper()
	r, err := replay.New(b.rules)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range b.made {
		if err := r.Step(&b.made[i]); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := r.Finish(); err != nil {
		b.t.Fatal(err)
	}
	var found []*schemas.Divergence
	if err := r.Divergences(func(d *schemas.Divergence) error {
		found = append(found, d)
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		b.t.Fatal(err)
	}
	latest := map[string]schemas.Divergence{}
	for _, line := range events {
		d, err := schemas.ParseDivergenceJSON(line)
		if err != nil {
			b.t.Fatal(err)
		}
		if was, ok := latest[d.ID]; ok {
			latest[d.ID] = replay.Merge(was, *d)
		} else {
			latest[d.ID] = *d
		}
	}
	if len(found) != len(latest) || len(found) < 10 {
		b.t.Fatalf("%d divergences published, %d replayed", len(latest), len(found))
	}
	for i := range found {
		was := latest[found[i].ID]
		if got, want := schemas.AppendDivergenceJSON(nil, &was), schemas.AppendDivergenceJSON(nil, found[i]); !bytes.Equal(got, want) {
			b.t.Fatalf("published %s\nreplayed  %s", got, want)
		}
	}
}

// I23: "a poison event blocks the key (unknown), not the partition; nothing is
// skipped without a record holding position+digest+reason".
func TestI23_QuarantineIsVisible(t *testing.T) {
	b := newBench(t)
	records := b.history(2, 200)
	e, _ := b.rules.Entity("order")
	key := []string{"100000"}
	p := stream.Partition(e.PartitionKey(key), partitions)
	poison := []stream.Record{
		{Partition: p, Key: e.MessageKey(key), Value: []byte("not a record")},
		{Partition: p, Key: e.MessageKey([]string{"100001"}), Value: []byte{}},
		{Partition: p, Value: nil},
	}
	half := len(records) / 2
	b.write(slices.Concat(records[:half], poison, records[half:])...)
	s := b.run(t.TempDir(), 0, 1)
	n := s.Records
	if n.Quarantined != int64(len(poison)) || n.Consumed != int64(len(records)+len(poison)) ||
		n.Consumed != n.Applied+n.Duplicate+n.OutOfScope+n.Quarantined+n.Waiting {
		t.Fatalf("accounts: %+v", n)
	}
	if got := s.Keys.Unknown[schemas.Quarantined]; got != int64(len(poison)) {
		t.Fatalf("%d keys are unknown(quarantined), want %d: %+v", got, len(poison), s.Keys)
	}
	if s.Keys.Compared == 0 {
		t.Fatal("the rest did not go on")
	}
}
