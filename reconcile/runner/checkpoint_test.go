package runner

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trueup-io/trueup/reconcile/state"
)

// checkpointed compares half of a log, copies the state, and goes on with the rest.
func checkpointed(t *testing.T) (b *bench, dir, checkpoint string, half Status, want [][]byte) {
	t.Helper()
	clean := newBench(t)
	clean.write(clean.history(12, 500)...)
	clean.run(t.TempDir(), 0, 0)
	want = clean.published()
	b = newBench(t)
	records := b.history(12, 500)
	b.write(records[:len(records)/2]...)
	dir = filepath.Join(t.TempDir(), "state")
	half = b.run(dir, 0, 0)
	checkpoint = filepath.Join(t.TempDir(), "checkpoint")
	db, id := openState(t, dir)
	must(t, db.Checkpoint(id, checkpoint))
	if err := db.Checkpoint(id, checkpoint); err == nil || !strings.Contains(err.Error(), "new directory") {
		t.Errorf("over another one: %v", err)
	}
	must(t, db.Close())
	b.write(records[len(records)/2:]...)
	return b, dir, checkpoint, half, want
}

func openState(t *testing.T, dir string) (*state.DB, state.Identity) {
	t.Helper()
	id, err := state.ReadIdentity(dir)
	must(t, err)
	db, err := state.Open(state.Config{Dir: dir, Identity: id})
	must(t, err)
	return db, id
}

// restore takes partitions of a checkpoint into a state that may be new.
func restore(t *testing.T, checkpoint, dir string, replace bool, partitions ...int32) ([]int32, error) {
	t.Helper()
	from, id, err := state.OpenCheckpoint(checkpoint)
	must(t, err)
	defer func() { must(t, from.Close()) }()
	db, err := state.Open(state.Config{Dir: dir, Identity: id})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	return db.Restore(from, partitions, replace)
}

// next is where a partition of a state goes on.
func (b *bench) next(dir string, number int32) int64 {
	b.t.Helper()
	db, _ := openState(b.t, dir)
	defer func() { must(b.t, db.Close()) }()
	p, rebuilt, err := openPart(number, b.rules, b.log, db, &sync.Pool{})
	must(b.t, err)
	if rebuilt {
		return -1
	}
	return p.core.Next()
}

// "Checkpoint and restore": on another host, with nothing but a checkpoint, the
// comparison goes on where that was made, and what is published is what one that was
// never moved publishes. The group's offsets are further than the checkpoint by then.
func TestStateGoesOnFromACheckpoint(t *testing.T) {
	b, dir, checkpoint, half, want := checkpointed(t)
	whole := b.run(dir, 50, 0)
	there := filepath.Join(t.TempDir(), "state")
	restored, err := restore(t, checkpoint, there, false)
	if err != nil || !slices.Equal(restored, []int32{0, 1, 2}) {
		t.Fatalf("restored %v (%v)", restored, err)
	}
	for p := range int32(partitions) {
		if got := b.next(there, p); got != half.Next[p] || got == 0 {
			t.Errorf("partition %d goes on at %d, the checkpoint was made at %d", p, got, half.Next[p])
		}
	}
	s := b.run(there, 50, 0)
	if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d events, want %d as without a move", len(got), len(want))
	}
	if s.Records != whole.Records || s.Keys.Equal != whole.Keys.Equal || s.Keys.Diverged != whole.Keys.Diverged {
		t.Errorf("accounts %+v of keys %+v, want %+v of %+v", s.Records, s.Keys, whole.Records, whole.Keys)
	}
}

// "A partition moved between hosts": one is taken out of a checkpoint, beside others
// that this state has and keeps.
func TestAPartitionIsTakenToAnotherHost(t *testing.T) {
	b, _, checkpoint, half, want := checkpointed(t)
	there := filepath.Join(t.TempDir(), "state")
	if _, err := restore(t, checkpoint, there, false, 0, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t, checkpoint, there, false, 1, 2); !errors.Is(err, state.ErrHasState) || !strings.Contains(err.Error(), "partition 2") {
		t.Errorf("over state that is there: %v", err)
	}
	if got := b.next(there, 1); got != 0 {
		t.Errorf("a refused restore brought partition 1, at %d", got)
	}
	if _, err := restore(t, checkpoint, there, false, 7); err == nil || !strings.Contains(err.Error(), "has none of it") {
		t.Errorf("what the checkpoint has not: %v", err)
	}
	if _, err := restore(t, checkpoint, there, true, 1, 2); err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		if got := b.next(there, p); got != half.Next[p] {
			t.Errorf("partition %d goes on at %d, want %d", p, got, half.Next[p])
		}
	}
	b.run(there, 50, 0)
	if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d events, want %d as without a move", len(got), len(want))
	}
}

// A restore that was cut off leaves nothing that is gone on with: the partition is
// made anew from the log.
func TestRestoreThatWasCutOff(t *testing.T) {
	b, _, checkpoint, _, want := checkpointed(t)
	there := filepath.Join(t.TempDir(), "state")
	if _, err := restore(t, checkpoint, there, false); err != nil {
		t.Fatal(err)
	}
	db := openPebble(t, there)
	must(t, db.Set([]byte{0, 1, 'm'}, []byte{0}, pebble.Sync)) // as it stands while partition 1 is copied
	must(t, db.Close())
	if got := b.next(there, 1); got != -1 {
		t.Errorf("half a partition goes on at %d", got)
	}
	b.run(there, 50, 0)
	if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d events, want %d as without a move", len(got), len(want))
	}
}
