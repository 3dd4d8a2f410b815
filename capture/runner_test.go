package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partitions = 3

// fakeSource is a source of numbered one-row transactions: position n is
// change n. It remembers what it was allowed to forget.
type fakeSource struct {
	last     int // changes that exist
	gap      *GapError
	opened   Resume
	allowed  []Resume
	finished chan struct{} // closed when everything was handed over and may be forgotten
}

func (f *fakeSource) Open(_ context.Context, from Resume, identity string, halted ...string) (Start, error) {
	f.opened = from
	if f.gap != nil {
		return Start{}, f.gap
	}
	if from == "" {
		return Start{Resume: "0", Identity: "fake"}, nil
	}
	if identity != "fake" {
		return Start{}, fmt.Errorf("identity %q", identity)
	}
	return Start{Resume: from, Identity: identity}, nil
}

func (f *fakeSource) Run(ctx context.Context, start Start, epoch uint32, sink Sink, acked func() (Resume, bool)) error {
	var n int
	if _, err := fmt.Sscan(string(start.Resume), &n); err != nil {
		return err
	}
	for n++; n <= f.last; n++ {
		if err := sink.Change(ctx, f.change(n, epoch)); err != nil {
			return err
		}
		if err := f.progress(ctx, sink, n, epoch); err != nil {
			return err
		}
		f.note(acked)
	}
	for ctx.Err() == nil {
		if err := f.progress(ctx, sink, f.last, epoch); err != nil {
			return err
		}
		if r := f.note(acked); r == Resume(fmt.Sprint(f.last)) && f.finished != nil {
			close(f.finished)
			f.finished = nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
	return ctx.Err()
}

func (f *fakeSource) progress(ctx context.Context, sink Sink, n int, epoch uint32) error {
	return sink.Progress(ctx, schemas.Progress{Side: schemas.Legacy, Source: "fake", Epoch: epoch, Pos: pos(n), TS: schemas.Micros(n)},
		Resume(fmt.Sprint(n)))
}

func (f *fakeSource) note(acked func() (Resume, bool)) Resume {
	r, ok := acked()
	if ok && (len(f.allowed) == 0 || f.allowed[len(f.allowed)-1] != r) {
		f.allowed = append(f.allowed, r)
	}
	return r
}

func (f *fakeSource) Close(context.Context) error { return nil }

func pos(n int) string { return fmt.Sprintf("%016X", n) }

func (f *fakeSource) change(n int, epoch uint32) *schemas.Change {
	return &schemas.Change{EventID: schemas.EventID{Source: "fake", Epoch: epoch, Pos: pos(n)}, Side: schemas.Legacy, Entity: "order",
		Key: []string{fmt.Sprint(n % 17)}, Op: schemas.OpUpdate, CommitTS: schemas.Micros(n),
		After:  schemas.Row{{Name: "id", Text: fmt.Sprint(n % 17)}, {Name: "v", Text: fmt.Sprint(n)}},
		Digest: schemas.Digest{byte(n), byte(n >> 8), 1}, Mapping: "v1"}
}

func testRules(t *testing.T) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(`
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
`), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testLog(t *testing.T) *stream.Log {
	t.Helper()
	log, err := stream.Open(t.Context(), stream.Config{Migration: "orders", DataDir: t.TempDir(), Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

func testRunner(t *testing.T, log *stream.Log, path string, newEpoch bool) *Runner {
	t.Helper()
	r, err := NewRunner(RunnerConfig{Side: schemas.Legacy, Source: "fake", Rules: testRules(t), StatePath: path,
		SaveEvery: time.Millisecond, NewEpoch: newEpoch}, log)
	if err != nil {
		t.Fatal(err)
	}
	r.listen = 200 * time.Millisecond
	return r
}

// records returns what the log has, by partition.
func records(t *testing.T, log *stream.Log) [][]*schemas.Record {
	t.Helper()
	out := make([][]*schemas.Record, partitions)
	for p := range int32(partitions) {
		_, err := log.Read(t.Context(), log.Topics().Changes, p, 0, stream.End, func(r stream.Record) error {
			rec, err := schemas.UnmarshalRecord(r.Value)
			out[p] = append(out[p], rec)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// I1: "position sent to slot / saved GTID <= min over partitions of contiguous
// acked prefix"; I2: "every committed row change in scope appears"; I4, I5:
// a key's changes are in one partition, in commit order, and a progress stands
// behind what it completes in every partition.
func TestI1_I2_I4_I5_WhatIsConfirmedIsInTheLog(t *testing.T) {
	const changes = 500
	log, path := testLog(t), filepath.Join(t.TempDir(), "capture.json")
	seen := map[string]int32{}
	next := 1
	for _, last := range []int{200, changes} { // stopped gracefully in between
		r := testRunner(t, log, path, false)
		src := &fakeSource{last: last, finished: make(chan struct{})}
		done := src.finished
		start, err := r.Prepare(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		if want := Resume(fmt.Sprint(next - 1)); start.Resume != want {
			t.Fatalf("goes on after %s, want %s", start.Resume, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx, src, start) }()
		select {
		case <-done:
		case <-ctx.Done():
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if s, err := readSaved(path); err != nil || s.Resume != Resume(fmt.Sprint(last)) {
			t.Fatalf("saved %+v, %v", s, err)
		}
		next = last + 1
	}
	count := 0
	for p, part := range records(t, log) {
		latest := ""
		for _, rec := range part {
			switch {
			case rec.Change != nil:
				c := rec.Change
				count++
				if was, ok := seen[c.Key[0]]; ok && was != int32(p) {
					t.Fatalf("key %s is in partitions %d and %d", c.Key, was, p)
				}
				seen[c.Key[0]] = int32(p)
				if c.Pos <= latest {
					t.Fatalf("change at %s behind %s", c.Pos, latest)
				}
				latest = c.Pos
				if c.Mapping == "" || c.Digest == (schemas.Digest{}) {
					t.Fatal("the source's digest is lost")
				}
			case rec.Progress != nil:
				if rec.Progress.Pos < latest {
					t.Fatalf("progress to %s behind a change at %s", rec.Progress.Pos, latest)
				}
				latest = rec.Progress.Pos
			}
		}
		if want := pos(changes); latest != want {
			t.Fatalf("partition %d is complete up to %s, want %s", p, latest, want)
		}
	}
	if count != changes {
		t.Fatalf("%d changes are in the log, want %d", count, changes)
	}
}

// I7: "if continuity is not proven at (re)connect, stop with a gap record";
// the side stays stopped until an operator accepts it, under a new epoch.
func TestI7_GapIsLoudAndKept(t *testing.T) {
	log, path := testLog(t), filepath.Join(t.TempDir(), "capture.json")
	if _, err := testRunner(t, log, path, false).Prepare(t.Context(), &fakeSource{}); err != nil {
		t.Fatal(err)
	}
	lost := &GapError{Source: "fake", Reason: "the slot is gone", Remedy: "…"}
	for i := range 2 { // the second time without asking the source
		src := &fakeSource{}
		if i == 0 {
			src.gap = lost
		}
		r := testRunner(t, log, path, false)
		_, err := r.Prepare(t.Context(), src)
		var gap *GapError
		if !errors.As(err, &gap) || !strings.Contains(err.Error(), "the slot is gone") || r.Status().Gap == "" {
			t.Fatalf("start %d: %v", i, err)
		}
	}
	for p, part := range records(t, log) {
		if len(part) != 1 || part[0].Gap == nil || part[0].Gap.Epoch != 2 || part[0].Gap.Reason != lost.Reason {
			t.Fatalf("partition %d has %d records", p, len(part))
		}
	}
	r := testRunner(t, log, path, true)
	src := &fakeSource{}
	if _, err := r.Prepare(t.Context(), src); err != nil || src.opened != "" || r.Status().Epoch != 2 {
		t.Fatalf("new epoch: %v, opened from %q, status %+v", err, src.opened, r.Status())
	}
}

// A second process that is to capture a side which is being captured into the same log does not
// declare a gap, which would end what the first one does.
func TestASecondCaptureOfASideDeclaresNothing(t *testing.T) {
	log, dir := testLog(t), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	r, src := testRunner(t, log, filepath.Join(dir, "first.json"), false), &fakeSource{last: 5, finished: make(chan struct{})}
	running := src.finished
	start, err := r.Prepare(ctx, src)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, src, start) }()
	<-running
	path := filepath.Join(dir, "second.json")
	for _, newEpoch := range []bool{false, true} {
		second := &fakeSource{opened: "never"}
		_, err := testRunner(t, log, path, newEpoch).Prepare(t.Context(), second)
		var gap *GapError
		if err == nil || errors.As(err, &gap) || !strings.Contains(err.Error(), "another process captures legacy") || second.opened != "never" {
			t.Errorf("new epoch %v: %v, opened from %q", newEpoch, err, second.opened)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for p, part := range records(t, log) {
		for _, rec := range part {
			if rec.Gap != nil {
				t.Errorf("partition %d has a gap: %+v", p, rec.Gap)
			}
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the second one has left a state: %v", err)
	}
}

// I7: a side whose state file is gone or damaged, and of which the log has changes,
// does not begin as if it were the first time: what was missed since is not known.
func TestI7_LostStateIsAGap(t *testing.T) {
	log, path := testLog(t), filepath.Join(t.TempDir(), "capture.json")
	capture := func(newEpoch bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, src := testRunner(t, log, path, newEpoch), &fakeSource{last: 20, finished: make(chan struct{})}
		done := src.finished
		start, err := r.Prepare(ctx, src)
		if err != nil {
			t.Fatal(err)
		}
		go func() { <-done; cancel() }()
		if err := r.Run(ctx, src, start); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(epoch uint32) {
		t.Helper()
		r, src := testRunner(t, log, path, false), &fakeSource{opened: "never"}
		_, err := r.Prepare(t.Context(), src)
		var gap *GapError
		if !errors.As(err, &gap) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--new-epoch legacy") {
			t.Fatalf("want a gap that names the file and the option: %v", err)
		}
		if src.opened != "never" || r.Status().Gap == "" {
			t.Fatalf("opened from %q, status %+v", src.opened, r.Status())
		}
		for p, part := range records(t, log) {
			if g := part[len(part)-1].Gap; g == nil || g.Epoch != epoch || g.Side != schemas.Legacy {
				t.Fatalf("partition %d ends with %+v, want the gap of epoch %d", p, part[len(part)-1], epoch)
			}
		}
	}
	remove := func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	ends := func(epoch uint32) {
		t.Helper()
		for p, part := range records(t, log) {
			if g := part[len(part)-1].Progress; g == nil || g.Epoch != epoch {
				t.Fatalf("partition %d ends with %+v, want progress of epoch %d", p, part[len(part)-1], epoch)
			}
		}
	}

	capture(false)
	ends(1)
	remove()
	refused(2)
	capture(true)
	ends(2)

	remove()
	capture(true) // asked for at once
	ends(3)

	w, err := log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	other := schemas.AppendRecord(nil, &schemas.Record{Progress: &schemas.Progress{Side: schemas.Target, Source: "other", Epoch: 9, Pos: pos(1), TS: 1}})
	for range 6 { // of the other side alone, more than is looked at first
		var many []stream.Record
		for range 3000 {
			many = append(many, stream.Record{Topic: log.Topics().Changes, Partition: int32(len(many) % partitions), Value: other})
		}
		if err := w.Write(t.Context(), many...); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	refused(4)
	capture(true)
	ends(4)

	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = testRunner(t, log, path, false).Prepare(t.Context(), &fakeSource{})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--new-epoch legacy") {
		t.Fatalf("a damaged file: %v", err)
	}
	capture(true)
	ends(5)
}
