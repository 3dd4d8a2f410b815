package runner

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/internal/crash"
	"github.com/trueup-io/trueup/reconcile/changelog"
	"github.com/trueup-io/trueup/reconcile/state"
	"github.com/trueup-io/trueup/stream"
)

// newCopied is a bench with a changelog.
func newCopied(t *testing.T) *bench {
	t.Helper()
	return newBenchOn(t, stream.Config{DataDir: t.TempDir(), Changelog: true})
}

// dump is all that a partition of a state holds that has been worked on.
func dump(t *testing.T, dir string, number int32) map[string]string {
	t.Helper()
	out := holds(t, dir, number)
	if len(out) < 20 {
		t.Fatalf("partition %d holds %d records: the history is too tame", number, len(out))
	}
	return out
}

// holds is all that a partition of a state holds, but where its changelog is.
func holds(t *testing.T, dir string, number int32) map[string]string {
	t.Helper()
	db := openPebble(t, dir)
	defer func() { must(t, db.Close()) }()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{0, byte(number)}, UpperBound: []byte{0, byte(number) + 1}})
	must(t, err)
	out := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		if k := string(it.Key()[2:]); k != "\x00changelog" {
			out[k] = string(it.Value())
		}
	}
	must(t, it.Close())
	return out
}

// sameState says whether two states are the same, byte for byte.
func sameState(t *testing.T, one, other string) {
	t.Helper()
	for p := range int32(partitions) {
		a, b := dump(t, one, p), dump(t, other, p)
		for k, v := range a {
			if b[k] != v {
				t.Errorf("partition %d: %q is %x, restored %x", p, k, v, b[k])
			}
		}
		for k := range b {
			if _, ok := a[k]; !ok {
				t.Errorf("partition %d: %q was not there", p, k)
			}
		}
	}
}

// wholeFrom says that every partition was restored from the changelog, all of it or
// the newest of it.
func wholeFrom(t *testing.T, s Status, whole bool) {
	t.Helper()
	for p := range int32(partitions) {
		if f := s.Changelog.Restored[p]; !f.Restored || f.Whole != whole || f.Records == 0 {
			t.Errorf("partition %d was restored so: %+v; refused: %q", p, f, s.Changelog.Refused[p])
		}
	}
	if !slices.Equal(s.Changelog.Whole, []int32{0, 1, 2}) {
		t.Errorf("the changelog is whole for %v", s.Changelog.Whole)
	}
}

// fromNothing runs a history on one state.
func fromNothing(t *testing.T, seed uint64, n int) [][]byte {
	t.Helper()
	clean := newBench(t)
	clean.write(clean.history(seed, n)...)
	clean.run(t.TempDir(), 0, 0)
	return clean.published()
}

// "A partition moved between hosts": on another host, with nothing but the log and the
// changelog, the comparison goes on where it was; what is published is what one
// that was never moved publishes, each event once.
func TestStateGoesOnFromTheChangelog(t *testing.T) {
	want := fromNothing(t, 12, 500)
	b := newCopied(t)
	records := b.history(12, 500)
	b.write(records[:len(records)/2]...)
	here, there := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "state")
	half := b.run(here, 50, 0)
	moved := b.run(there, 50, 0) // nothing was written meanwhile
	wholeFrom(t, moved, true)
	sameState(t, here, there)
	if moved.Records != half.Records {
		t.Errorf("accounts %+v, want %+v", moved.Records, half.Records)
	}
	b.write(records[len(records)/2:]...)
	elsewhere := filepath.Join(t.TempDir(), "state")
	whole := b.run(elsewhere, 50, 0)
	wholeFrom(t, whole, true)
	if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d events, want %d as without a move", len(got), len(want))
	}
	if n := whole.Records; n.Consumed != int64(len(b.made)) {
		t.Errorf("%d records were written, accounts say %+v", len(b.made), n)
	}
	// Back on the first host, whose state is old: what was added since is added to it.
	back := b.run(here, 50, 0)
	wholeFrom(t, back, false)
	sameState(t, elsewhere, here)
}

// A state that is there before the option is turned on is written whole, some with each
// commit, and says so; nothing is restored before.
func TestChangelogTurnedOnLate(t *testing.T) {
	want := fromNothing(t, 13, 500)
	data := t.TempDir()
	b := newBenchOn(t, stream.Config{DataDir: data})
	records := b.history(13, 500)
	third := len(records) / 3
	b.write(records[:third]...)
	here := filepath.Join(t.TempDir(), "state")
	if s := b.run(here, 0, 0); s.Changelog != nil {
		t.Errorf("a changelog that nobody asked for: %+v", s.Changelog)
	}
	must(t, b.log.Close())
	var err error
	b.log, err = stream.Open(t.Context(), stream.Config{Migration: "orders", DataDir: data, Changelog: true})
	must(t, err)
	b.write(records[third : 2*third]...)
	b.run(here, 0, 0)
	there := filepath.Join(t.TempDir(), "state")
	s := b.run(there, 0, 0)
	wholeFrom(t, s, true)
	sameState(t, here, there)
	b.write(records[2*third:]...)
	b.run(there, 0, 0)
	if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
}

// "The log has lost that range": where the log does not reach back, a host without state
// goes on from the changelog, and not from what the log begins with.
func TestChangelogReachesBackFurtherThanTheLog(t *testing.T) {
	want := fromNothing(t, 14, 400)
	b := newCopied(t)
	records := b.history(14, 400)
	b.write(records[:len(records)/2]...)
	b.run(filepath.Join(t.TempDir(), "state"), 0, 0)
	ends, err := b.log.EndOffsets(t.Context(), b.log.Topics().Changes)
	must(t, err)
	for p, end := range ends {
		b.remove(b.log.Topics().Changes, int32(p), end)
	}
	b.write(records[len(records)/2:]...)
	s := b.run(filepath.Join(t.TempDir(), "state"), 0, 0)
	wholeFrom(t, s, true)
	if n := s.Records; n.Consumed != int64(len(b.made)) {
		t.Errorf("%d records were written, accounts say %+v", len(b.made), n)
	}
	// Evidence of what is gone is gone, so that events are the same but for rows.
	if got := b.published(); len(got) != len(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
}

// remove removes what a partition has before an offset.
func (b *bench) remove(topic string, partition int32, before int64) {
	b.t.Helper()
	b.admin(func(a *kadm.Client) {
		var o kadm.Offsets
		o.AddOffset(topic, partition, before, -1)
		resp, err := a.DeleteRecords(b.t.Context(), o)
		must(b.t, err)
		must(b.t, resp.Error())
	})
}

// lastHead returns what the changelog says of a partition, and where.
func (b *bench) lastHead(partition int32) (h map[string]any, at int64) {
	b.t.Helper()
	_, err := b.log.Read(b.t.Context(), b.log.Topics().Changelog, partition, b.copyStarts(partition), stream.End, func(r stream.Record) error {
		if string(r.Key) == "\x00changelog" {
			h, at = map[string]any{}, r.Offset
			return json.Unmarshal(r.Value, &h)
		}
		return nil
	})
	must(b.t, err)
	return h, at
}

func (b *bench) copyStarts(partition int32) int64 {
	b.t.Helper()
	starts, err := b.log.StartOffsets(b.t.Context(), b.log.Topics().Changelog)
	must(b.t, err)
	return starts[partition]
}

// put writes to the changelog what we did not.
func (b *bench) put(partition int32, key string, value []byte) {
	b.t.Helper()
	w, err := b.log.Writer()
	must(b.t, err)
	must(b.t, w.Write(b.t.Context(), stream.Record{Topic: b.log.Topics().Changelog, Partition: partition, Key: []byte(key), Value: value}))
	must(b.t, w.Close())
}

// "Foreign, newer, incomplete, corrupt: refused with a reason", and the state is made
// from the log, without an event twice.
func TestChangelogThatIsNoneOfOurs(t *testing.T) {
	want := fromNothing(t, 15, 300)
	with := func(key string, value any) func(*bench) {
		return func(b *bench) {
			h, _ := b.lastHead(1)
			h[key] = value
			text, err := json.Marshal(h)
			must(b.t, err)
			b.put(1, "\x00changelog", text)
		}
	}
	for name, c := range map[string]struct {
		spoil func(*bench)
		why   string
	}{
		"another migration's": {with("migration", "payments"), `of migration "payments"`},
		"another log's":       {with("log", "0123"), "of another changes topic"},
		"another partition's": {with("partition", 2), "of partition 2"},
		"another state's":     {with("state", 7), "format 7"},
		"other rules'":        {with("rules", "orders-v0"), "rules orders-v0"},
		"newer":               {with("format", 9), "newer program"},
		"not whole":           {with("whole", false), "not all of the state"},
		"given up":            {with("why", "a record is too large"), "too large"},
		"another generation":  {with("generation", 1), "its beginning is gone"},
		"further than it is":  {with("next", 1_000_000), "says 1000000"},
		"no head":             {func(b *bench) { b.put(1, "\x00changelog", []byte("not JSON")) }, "none of a changelog"},
		"no state": {func(b *bench) {
			b.put(1, "m", []byte("not a partition record"))
			with("writer", "x")(b)
		}, "is as of offset"},
		"cut": {func(b *bench) {
			h, _ := b.lastHead(1)
			b.remove(b.log.Topics().Changelog, 1, int64(h["generation"].(float64))+5)
		}, "its beginning is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newCopied(t)
			records := b.history(15, 300)
			b.write(records[:len(records)/2]...)
			b.run(filepath.Join(t.TempDir(), "state"), 0, 0)
			c.spoil(b)
			b.write(records[len(records)/2:]...)
			there := filepath.Join(t.TempDir(), "state")
			s := b.run(there, 0, 0)
			if why := s.Changelog.Refused[1]; !strings.Contains(why, c.why) {
				t.Errorf("refused for %q, want %q", why, c.why)
			}
			if f := s.Changelog.Restored[1]; f.Restored {
				t.Errorf("and yet restored: %+v", f)
			}
			if !s.Changelog.Restored[0].Restored || !s.Changelog.Restored[2].Restored {
				t.Errorf("the others were not restored: %+v", s.Changelog)
			}
			if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%d events, want %d", len(got), len(want))
			}
			// It was begun anew, and is good again.
			wholeFrom(t, b.run(filepath.Join(t.TempDir(), "state"), 0, 0), true)
		})
	}
}

// A restore that was cut off, and a state of which the copy does not know, leave nothing
// that is gone on with.
func TestStateThatWentItsOwnWayIsCopiedAnew(t *testing.T) {
	b := newCopied(t)
	records := b.history(16, 400)
	half := len(records) * 9 / 10 // what follows is less to read than all of the state
	b.write(records[:half]...)
	here := filepath.Join(t.TempDir(), "state")
	b.run(here, 0, 0)
	checkpoint := filepath.Join(t.TempDir(), "checkpoint")
	db, id := openState(t, here)
	must(t, db.Checkpoint(id, checkpoint))
	must(t, db.Close())
	first, _ := b.lastHead(0)
	b.write(records[half:]...)
	b.run(here, 0, 0)
	// A checkpoint knows what of the changelog it is, so that what was added is added to it.
	there := filepath.Join(t.TempDir(), "state")
	if _, err := restore(t, checkpoint, there, false); err != nil {
		t.Fatal(err)
	}
	wholeFrom(t, b.run(there, 0, 0), false)
	sameState(t, here, there)
	// One that does not is behind what the group has; what it takes again is not copied,
	// but all of it anew.
	alone := filepath.Join(t.TempDir(), "state")
	if _, err := restore(t, checkpoint, alone, false); err != nil {
		t.Fatal(err)
	}
	forget(t, alone)
	s := b.run(alone, 0, 0)
	if len(s.Changelog.Restored) > 0 {
		t.Errorf("restored %+v", s.Changelog.Restored)
	}
	b.progressAll()
	b.run(alone, 0, 0)
	if last, _ := b.lastHead(0); last["generation"] == first["generation"] || last["whole"] != true {
		t.Errorf("the changelog goes on with %v, it was %v", last, first)
	}
	wholeFrom(t, b.run(filepath.Join(t.TempDir(), "state"), 0, 0), true)
}

// forget takes from a state what it knows of the changelog.
func forget(t *testing.T, dir string) {
	t.Helper()
	db := openPebble(t, dir)
	for p := range byte(partitions) {
		must(t, db.Delete(append([]byte{0, p}, "\x00changelog"...), pebble.Sync))
	}
	must(t, db.Close())
}

// progressAll has something to take in every partition.
func (b *bench) progressAll() {
	b.t.Helper()
	last := b.made[len(b.made)-1]
	var out []stream.Record
	for p := range int32(partitions) {
		last.Partition = p
		out = append(out, b.record(last))
	}
	b.write(out...)
}

// I19: a zombie, which writes to a partition that has become another's, cannot commit: the
// brokers refuse its transaction, of which nothing is read.
func TestI19_ZombieCannotWriteTheChangelog(t *testing.T) {
	b := newCopied(t)
	records := b.history(17, 300)
	b.write(records[:len(records)/2]...)
	b.run(filepath.Join(t.TempDir(), "state"), 0, 0)
	_, before := b.lastHead(0)
	// It has the name that it had in the group, and the producer's id of before.
	zombie, err := kgo.NewClient(kgo.SeedBrokers(b.log.Brokers()...), kgo.TransactionalID("trueup.orders.reconcile.reconcile-1"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()))
	must(t, err)
	defer zombie.Close()
	must(t, zombie.BeginTransaction())
	write := func(value string) error {
		return zombie.ProduceSync(t.Context(), &kgo.Record{Topic: b.log.Topics().Changelog, Key: []byte("\x00changelog"), Value: []byte(value)}).FirstErr()
	}
	must(t, write(`{"format":1}`))
	b.write(records[len(records)/2:]...)
	there := filepath.Join(t.TempDir(), "state")
	b.run(there, 0, 0) // as another process of this name
	if err := write(`{"format":1}`); err == nil {
		err = zombie.EndTransaction(t.Context(), kgo.TryCommit)
		if err == nil {
			t.Error("the zombie has committed")
		}
	}
	h, at := b.lastHead(0)
	if at <= before || h["migration"] != "orders" {
		t.Errorf("the changelog ends with %v at %d, it was %d", h, at, before)
	}
	last := filepath.Join(t.TempDir(), "state")
	wholeFrom(t, b.run(last, 0, 0), true)
	sameState(t, there, last)
}

// copied returns a state that is what the changelog has.
func (b *bench) copied() string {
	b.t.Helper()
	dir := filepath.Join(b.t.TempDir(), "state")
	topic, _ := b.log.Topic(b.log.Topics().Changes)
	db, err := state.Open(state.Config{Dir: dir, Identity: state.Identity{Migration: "orders", Log: topic.ID.String(), Partitions: partitions}})
	must(b.t, err)
	r := &Runner{cfg: Config{Rules: b.rules, Log: b.log}}
	for p := range int32(partitions) {
		found, err := changelog.Restore(b.t.Context(), changelog.Config{Log: b.log, ID: r.changelogID(p), State: db.Partition(p), Committed: -1})
		must(b.t, err)
		if !found.Restored || !found.Whole {
			b.t.Errorf("partition %d is not in the changelog: %+v", p, found)
		}
	}
	must(b.t, db.Close())
	return dir
}

// "Killed at crash sites around the transaction and the commit of the state", and with it
// the host: what runs under its name elsewhere, with no state, goes on from the
// changelog, and publishes what an undisturbed one does. The copy is the state then.
func TestI15_I40_ReconcilerKilledAndGoneOnWithElsewhere(t *testing.T) {
	t.Parallel()
	const seed, n = 18, 250
	want := undisturbed(t, seed, n)
	for site, hit := range map[string]int{"reconcile.polled": 5, "reconcile.judged": 6, "reconcile.published_before_state": 7, "reconcile.state_of_some": 8,
		"reconcile.state_written": 4, "changelog.before_whole": 2, "changelog.restored": 1} {
		for _, again := range []bool{false, true} { // whether the host comes back with what it had
			b := newCopied(t)
			records := b.history(seed, n)
			half := len(records) / 2
			here, there := b.member("a"), b.member("a")
			b.write(records[:half]...)
			mortal := here
			if strings.HasPrefix(site, "changelog.") {
				here.start()
				b.committed(1, nil)
				here.stop()
				mortal = there
			}
			b.write(records[half:]...)
			mortal.start(crash.KillAt + "=" + site + ":" + strconv.Itoa(hit))
			if b.committed(2, mortal) {
				t.Fatal("nothing is more than all")
			}
			last := there
			if again {
				last = mortal
			}
			last.start()
			b.committed(1, nil)
			last.stop()
			if got := b.published(); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%s, hit %d, again %v: %d events, want %d", site, hit, again, len(got), len(want))
			}
			sameState(t, last.dir, b.copied())
			if strings.Contains(last.said.String(), "replaying") && mortal != there {
				t.Errorf("%s, hit %d, again %v: what the changelog has was read from the log", site, hit, again)
			}
		}
	}
}
